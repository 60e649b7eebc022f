"""The choice of the kernel that runs the E-step over rows."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.evaluator import CompiledEvaluator
from dask_gmm.model.quadratic import kappa
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


class Kernel(Protocol):
    """One mixture made ready to be evaluated on many rows.

    The reference, `dask_gmm.model.centred`, explains the methods.

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


# Largest `kappa` for which the quadratic form loses no more than 1e-10 in float64 ...
_KAPPA_DOUBLE = 1e5
# ... and 1e-5 where float32 rows are multiplied in float32.
_KAPPA_SINGLE = 100.0
# Standard deviations, and their inverses, beyond which float32 might overflow.
_REACH_SINGLE = 1e12
# With fewer components than this share of the features, full covariances are faster one by one: measured.
_FEATURES_A_COMPONENT = 12


def _of_usual_size(density: Density) -> bool:
    """Return whether squares of deviations, and of their inverses, are far from the ends of float32."""
    unit, origin = np.eye(density.n_features), np.zeros(density.n_features)
    for k in range(density.n_components):
        whitened = density.structure.whitened(unit, origin, density.precisions_cholesky, k)
        inverses = np.abs(whitened).max(axis=1)
        if not ((inverses < _REACH_SINGLE) & (inverses > 1.0 / _REACH_SINGLE)).all():
            return False
    return True


def choose_kernel(density: Density, dtype: np.dtype[Any]) -> Kernel:
    """Return the fastest kernel that is accurate for this mixture.

    The choice depends on the arguments only, so that every worker makes the same one.

    Parameters
    ----------
    density : Density
    dtype : dtype
        Of the products, float32 or float64: usually that of the rows.
    """
    double = np.dtype(np.float64)
    with np.errstate(over="ignore"):
        distance = kappa(density)
    few = density.covariance_type == "full" and (
        _FEATURES_A_COMPONENT * density.n_components <= density.n_features
    )
    if distance >= _KAPPA_DOUBLE or (few and dtype == double):
        return CompiledEvaluator.centred(density, double)
    precise_enough = dtype == np.float32 and distance < _KAPPA_SINGLE and _of_usual_size(density)
    return CompiledEvaluator.quadratic(density, dtype if precise_enough else double)
