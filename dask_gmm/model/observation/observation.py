"""What has to be said of a way to observe rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


class Observed(Protocol):
    """Rows with all that is known of them, such as a block of `dask_gmm.data`.

    Attributes
    ----------
    rows : ndarray of shape (n, n_features), float64 or float32, of any strides
    weights : ndarray of shape (n,), float64, or None
        Sample weights; rows of weight zero count for nothing, and none means one.
    columns : mapping of str to ndarray of length n
        What else is known of each row, by name.
    """

    @property
    def rows(self) -> NDArray[Any]: ...

    @property
    def weights(self) -> Array | None: ...

    @property
    def columns(self) -> Mapping[str, Array]: ...


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the rows, without their columns."""

    rows: NDArray[Any]
    weights: Array | None
    columns: Mapping[str, Array]

    @classmethod
    def of(cls, observed: Observed, which: NDArray[np.bool_]) -> Part:
        """Take some rows; where these are all, they are not copied."""
        if which.all():
            return cls(observed.rows, observed.weights, {})
        weights = None if observed.weights is None else observed.weights[which]
        return cls(observed.rows[which], weights, {})

    @property
    def totals(self) -> tuple[float, int]:
        """Their weight and number."""
        return float(len(self.rows)) if self.weights is None else float(self.weights.sum()), len(self.rows)


class Kernel(Protocol):
    """One mixture made ready to be evaluated on many rows; calls release the GIL and change nothing of it.

    `tests/model/kernel_contract.py` holds every kernel to what these docstrings promise.

    Attributes
    ----------
    density : Density
    origins : ndarray of shape (n_components, n_features)
        What each component's moments are about.
    exact : bool
        Whether rows truly are where they were observed: then the moments of all components together are those
        of the rows as they are read, by which data that change during a fit are noticed.
    """

    density: Density
    origins: Array
    exact: bool

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        """Add the statistics of rows to `statistics` in place.

        They are moments of where the rows truly are, given what was observed of them: so the M-step needs not
        know how that was. Log-likelihoods are those of `log_density`.

        Parameters
        ----------
        statistics : Statistics
        observed : Observed
        """

    def completed(self, statistics: Statistics, moments: Moments) -> Statistics:
        """Return the sums of a whole pass with what no iteration changes and `accumulate` left out.

        Parameters
        ----------
        statistics : Statistics
            Changed in place.
        moments : Moments
            Of all rows.
        """

    def labels(self, observed: Observed, out: NDArray[np.int64]) -> None:
        """Write each row's most probable component, the first of equals, to `out`, shape (n,)."""

    def told(self, observed: Observed) -> NDArray[np.bool_] | None:
        """Return which rows say something, shape (n,); None where all do. Others count for nothing."""

    def log_density(self, observed: Observed, out: NDArray[Any]) -> None:
        """Write the log density of what was observed of each row, in nats, to `out`, shape (n,)."""

    def responsibilities(self, observed: Observed, out: NDArray[Any]) -> None:
        """Write each row's posterior probabilities to `out`, shape (n, n_components)."""


class Observation(ABC):
    """A way to observe rows: independent of the covariance type and of what is estimated.

    Every kernel gives statistics of the same shape, so that M-steps and merges are one for all. In the limit
    in which all is observed exactly the numbers are those of `complete.Complete`.

    Attributes
    ----------
    takes_holes : bool
        Whether a NaN is a value that was not observed.
    """

    takes_holes: bool = False

    def more_shape(self, density: Density) -> tuple[int, ...]:
        """Return the shape of what its kernels sum besides moments."""
        return (0,)

    @abstractmethod
    def kernel(self, density: Density, dtype: np.dtype[Any]) -> Kernel:
        """Return what runs the E-step, and predicts, for rows that were observed so.

        The choice may depend on the arguments only, so that every worker makes the same one.

        Parameters
        ----------
        density : Density
        dtype : dtype
            Of the products, float32 or float64: usually that of the rows.
        """
