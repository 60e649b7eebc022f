"""The choice of the kernel that runs the E-step over rows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.centred import CentredKernel
from dask_gmm.model.density import Density
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


class Kernel(Protocol):
    """One mixture made ready to be evaluated on many rows; `CentredKernel` explains the methods.

    Attributes
    ----------
    density : Density
    origins : ndarray of shape (n_components, n_features)
        What each component's moments are about.
    uses_scatter : bool
        `accumulate` leaves the tied second moment out: summed over components it is the scatter of all
        rows, which no iteration changes.
    """

    density: Density
    origins: Array
    uses_scatter: bool

    def accumulate(self, statistics: Statistics, rows: NDArray[Any], weights: Array | None) -> None:
        """Add the statistics of `rows` to `statistics` in place."""

    def labels(self, rows: NDArray[Any], out: NDArray[np.int64]) -> None:
        """Write each row's most probable component to `out`."""

    def log_density(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's log density to `out`."""

    def responsibilities(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's posterior probabilities to `out`."""


def choose_kernel(density: Density, dtype: np.dtype[Any]) -> Kernel:
    """Return the fastest kernel that is accurate for this mixture.

    The choice depends on the arguments only, so that every worker makes the same one.

    Parameters
    ----------
    density : Density
    dtype : dtype
        Of the rows, float32 or float64.
    """
    return CentredKernel(density)
