"""What all kernels have in common: their outputs, from the log-joints of a tile."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

import numpy as np
from numba import types
from numpy.typing import NDArray

from dask_gmm.compiled import inlined, read_only
from dask_gmm.model.kernels.softmax import argmax, softmax

Array = NDArray[np.float64]


class Kernel(ABC):
    """A mixture made ready to be evaluated on many rows.

    Calls release the GIL, use one thread, need scratch memory of about 1 MB whatever the number of rows, and
    take rows of any strides without copying them. Results depend on the arguments alone, to the last bit.

    Parameters
    ----------
    n_components, n_features : int
    dtype : {float64, float32}
        Of the arithmetic; statistics are summed in float64 over tiles either way.
    """

    def __init__(self, n_components: int, n_features: int, dtype: Any) -> None:
        self.n_components = n_components
        self.n_features = n_features
        self.dtype = np.dtype(dtype)
        #: Log-joint, in bits, of what is not a component: the same for each row.
        self.background = -np.inf

    @abstractmethod
    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step.

        Parameters
        ----------
        rows : ndarray of shape (n, d), float64 or float32
        weights : ndarray of shape (n,), float64, or None
            Sample weights; rows of weight zero count for nothing.

        Returns
        -------
        log_likelihood : float
            Sum of weight times log density, in nats; NaN if a row of non-zero weight has no density.
        statistics : ndarray of shape (K, ...), float64
            Sums over the rows of weight times responsibility times features of the row, which each kernel
            explains.
        """

    def labels(self, rows: NDArray[Any], out: NDArray[np.int64]) -> None:
        """Write each row's most probable component, the first of equals, to `out`; -1 for the background."""
        self._run(rows, labels=out)

    def log_density(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's log density, in nats, to `out`, shape (n,), of the rows' dtype."""
        self._run(rows, log_density=out)

    def responsibilities(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's posterior probabilities to `out`, shape (n, K), of the rows' dtype."""
        self._run(rows, resp=out)

    def _run(
        self,
        rows: NDArray[Any],
        weights: Array | None = None,
        statistics: Array | None = None,
        labels: NDArray[np.int64] | None = None,
        log_density: NDArray[Any] | None = None,
        resp: NDArray[Any] | None = None,
    ) -> float:
        """Check the arrays, as compiled code does not, and put empty ones in the place of those not given."""
        n = len(rows)
        if rows.dtype not in (np.float64, np.float32) or rows.shape != (n, self.n_features):
            raise ValueError(
                f"rows must be float64 or float32 of shape (n, {self.n_features}); "
                f"got {rows.dtype} of shape {rows.shape}"
            )
        arrays = [
            (weights, (n,), np.float64),
            (labels, (n,), np.int64),
            (log_density, (n,), rows.dtype),
            (resp, (n, self.n_components), rows.dtype),
        ]
        given = [
            np.empty((0,) * len(shape), dtype) if array is None else _checked(array, shape, dtype)
            for array, shape, dtype in arrays
        ]
        return self._call(rows, given, statistics) if n else 0.0

    @abstractmethod
    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        """Call the compiled code; `given` are weights, labels, log_density and resp."""


def _checked(array: NDArray[Any], shape: tuple[int, ...], dtype: Any) -> NDArray[Any]:
    if array.shape != shape or array.dtype != dtype:
        raise ValueError(
            f"expected {np.dtype(dtype)} of shape {shape}; got {array.dtype} of shape {array.shape}"
        )
    return array


def given_types(rows: types.Type) -> list[types.Type]:
    """Return the types of the rows and of the arrays `given` to `Kernel._call`."""
    return [read_only(rows, 2), read_only(types.float64, 1), types.int64[:], rows[:], rows[:, :]]


@inlined
def write_outputs(
    log_joint: NDArray[Any],
    n_components: int,
    start: int,
    count: int,
    width: int,
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    row_values: Array,
    row_sums: NDArray[Any],
) -> float:
    """Write what is wanted of the rows ``start, ..., start + count - 1``, and return their log-likelihood.

    Parameters
    ----------
    log_joint : ndarray of shape (>= n_components, n_rows)
        In bits; turned into responsibilities times weights unless labels are wanted, with 0 in the rows from
        `count` to `width`.
    weights, labels, log_density, resp : ndarray
        As `given` to `Kernel._call`.
    row_values, row_sums : ndarray
        From `tiles.lines_of`; overwritten.

    Returns
    -------
    log_likelihood : float
        Sum of weight times log density over these rows; rows of weight zero count for nothing, whatever their
        density.
    """
    if len(labels):
        argmax(log_joint, n_components, labels[start : start + count], row_sums[0], row_sums[1])
        if row_sums[3, 0] > -np.inf:
            for t in range(count):
                if row_sums[0, t] < row_sums[3, t]:
                    labels[start + t] = -1
        return 0.0
    # Element by element: for each assignment to a slice numba compiles a check of shapes, with its message.
    tile_weights, tile_density = row_values[0], row_values[1]
    for t in range(width):
        tile_weights[t] = 1.0 if t < count else 0.0
    if len(weights):
        for t in range(count):
            tile_weights[t] = weights[start + t]
    softmax(log_joint, n_components, width, tile_weights, tile_density, row_sums)
    if len(log_density):
        for t in range(count):
            log_density[start + t] = tile_density[t]
    if len(resp):
        for k in range(n_components):
            for t in range(count):
                resp[start + t, k] = log_joint[k, t]
    log_likelihood = 0.0
    for t in range(count):
        if tile_weights[t] != 0.0:
            log_likelihood += tile_weights[t] * tile_density[t]
    return log_likelihood
