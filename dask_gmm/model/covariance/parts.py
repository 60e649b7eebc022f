"""What covariance types are given, and what they give: values without rules of their own."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    # Compiled kernels are loaded by the types that use them.
    from dask_gmm.model.kernels.kernel import Kernel

Array = NDArray[np.float64]


class NotPositiveDefiniteError(ValueError):
    """A covariance has no Cholesky factor; `component` is its index (None when all share it)."""

    def __init__(self, component: int | None, smallest_eigenvalue: float) -> None:
        super().__init__(component, smallest_eigenvalue)
        self.component = component
        self.smallest_eigenvalue = smallest_eigenvalue


@dataclass(frozen=True, slots=True)
class SingleRows:
    """Components that start from one row each, all in the dtype of the rows.

    Attributes
    ----------
    rows : ndarray of shape (n_components, n_features)
    weights : ndarray of shape (n_components,)
    nk : ndarray of shape (n_components,)
        Weights plus a tiny number.
    means : ndarray of shape (n_components, n_features)
        Rows times weights over `nk`.
    all_rows : ndarray of shape (n, n_features)
        Those that the components' rows were chosen from.
    all_weights : ndarray of shape (n,), float64, or None
    """

    rows: NDArray[Any]
    weights: NDArray[Any]
    nk: NDArray[Any]
    means: NDArray[Any]
    all_rows: NDArray[Any]
    all_weights: Array | None


class Sums(NamedTuple):
    """Sums over rows: those of `dask_gmm.model.statistics.Statistics`, by the same names."""

    nk: Array
    first: Array
    second: Array
    more: Array


class WithHoles(Protocol):
    """A mixture made ready for rows with holes.

    Attributes
    ----------
    kernel : Kernel
    takes_complete_rows : bool
        Whether it takes rows without holes in less time than it would take to pick them out.
    """

    takes_complete_rows: bool

    @property
    def kernel(self) -> Kernel: ...

    def sums(self, kernel_sums: Array, origins: Array) -> Sums:
        """Return what the kernel has summed, with moments about `origins`."""

    def fill(self, rows: NDArray[Any]) -> Array:
        """Return rows with their expected values in the holes."""
