r"""The E-step as two matrix products: log-densities that are linear in quadratic features of a row.

With y = x - shift, a mixture's log-joint log(weight_k) + log N(x | k) is ``theta[k] @ phi(x)`` for

========= ============================================== ==================== ================
type      features phi(x), in this order                 P                    statistics
========= ============================================== ==================== ================
full      1, y_1 .. y_d, y_i y_j for i <= j              (d + 1)(d + 2) / 2   (K, P)
          (row by row, as ``np.triu_indices``)
diag      1, y_1 .. y_d, y_1^2 .. y_d^2                  2 d + 1              (K, P)
spherical 1, y_1 .. y_d, \|y\|^2                         d + 2                (K, P)
tied      1, z_1 .. z_d, \|z\|^2 with z = y @ whitening  d + 2                (K, d + 1)
========= ============================================== ==================== ================

and the statistics of the M-step are ``sum over rows of weight * responsibility_k * phi(x)``; for tied only
those of 1 and y (not z): the sum of the components' second moments is that of all rows and never changes.

It is accurate while components are not far from `shift` in units of their own size: the rounding error of the
log-joint is about kappa times the machine epsilon, kappa the largest squared Mahalanobis distance of `shift`
from a component's mean. Beyond that use `centred`.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import compile_for, inner, rows_of, vector_of
from dask_gmm.model.kernels.products import accumulate, multiply_add, packed, padded_columns, padded_lines
from dask_gmm.model.kernels.softmax import argmax, softmax
from dask_gmm.model.kernels.tiles import (
    lines_per_panel,
    load,
    load_weights,
    rows_per_tile,
    scratch,
    squared_norms,
)

Array = NDArray[np.float64]


class QuadraticKernel:
    """A mixture in quadratic form, made ready for many rows.

    Calls release the GIL, use one thread, need scratch memory of about 1 MB whatever the number of rows, and
    take rows of any strides without copying them. Results depend on the arguments alone, to the last bit.

    Parameters
    ----------
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    shift : ndarray of shape (d,), float64
        Subtracted from the rows in float64, in units of the data.
    theta : ndarray of shape (K, P), float64
        Coefficients of the features in the table above; -inf in the first column for a weight of zero.
    whitening : ndarray of shape (d, d), float64, optional
        For 'tied' only: Cholesky factor of the precision.
    dtype : {float64, float32}
        In which features and products are computed; statistics are summed in float64 over tiles either way.
    """

    def __init__(
        self,
        covariance_type: str,
        shift: Array,
        theta: Array,
        whitening: Array | None = None,
        dtype: Any = np.float64,
    ) -> None:
        self.dtype = np.dtype(dtype)
        self.n_components, n_features = theta.shape
        self._shift = np.ascontiguousarray(shift, np.float64)
        self._theta = packed(theta.T, self.dtype)
        self._whitening = packed(np.zeros((0, 0)) if whitening is None else whitening, self.dtype)
        self._factors = _factors(covariance_type, len(shift))
        self._n_statistics = n_features - (covariance_type == "tied")

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step.

        Parameters
        ----------
        rows : ndarray of shape (n, d), float64 or float32
        weights : ndarray of shape (n,), float64, or None

        Returns
        -------
        log_likelihood : float
            Sum of weight times log density, in nats; NaN if a row of non-zero weight has no finite density.
        statistics : ndarray of shape (K, P), float64
            (K, d + 1) for 'tied'.
        """
        sums = np.zeros((padded_lines(self._n_statistics), padded_columns(self.n_components)))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        return log_likelihood, np.ascontiguousarray(sums[: self._n_statistics, : self.n_components].T)

    def labels(self, rows: NDArray[Any], out: NDArray[np.int64]) -> None:
        """Write each row's most probable component, the first of equals, to `out`, shape (n,)."""
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
        if len(rows) == 0:
            return 0.0
        n_lines = 2 * (rows.shape[1] + 2) + padded_columns(self.n_components)
        n_rows = rows_per_tile(n_lines, self.dtype.itemsize)
        log_likelihood: float = _compiled(rows.dtype, self.dtype)(
            rows,
            np.empty(0) if weights is None else weights,
            self._shift,
            self._whitening,
            self._theta,
            self._factors,
            self.n_components,
            n_rows,
            lines_per_panel(n_rows, self.dtype.itemsize),
            np.empty((0, 0)) if statistics is None else statistics,
            np.empty(0, np.int64) if labels is None else labels,
            np.empty(0, rows.dtype) if log_density is None else log_density,
            np.empty((0, 0), rows.dtype) if resp is None else resp,
        )
        return log_likelihood


@cache
def _factors(covariance_type: str, n_features: int) -> NDArray[np.intp]:
    """Return the two lines of a tile (1, y_1 .. y_d, |y|^2) whose product is each feature, shape (P, 2)."""
    linear = [(0, j) for j in range(n_features + 1)]
    if covariance_type == "full":
        return np.stack(np.triu_indices(n_features + 1), axis=1)
    if covariance_type == "diag":
        return np.array(linear + [(j, j) for j in range(1, n_features + 1)], np.intp)
    return np.array([*linear, (0, n_features + 1)], np.intp)


@inner
def _multiply(
    tile: NDArray[Any], factors: NDArray[np.intp], first: int, count: int, width: int, out: NDArray[Any]
) -> None:
    """Write the features ``first, ..., first + count - 1`` of a tile to the lines of `out`."""
    for p in range(count):
        left, right, product = tile[factors[first + p, 0]], tile[factors[first + p, 1]], out[p]
        for t in range(width):
            product[t] = left[t] * right[t]


def _pass(
    rows: NDArray[Any],
    weights: Array,
    shift: Array,
    whitening: NDArray[Any],
    theta: NDArray[Any],
    factors: NDArray[np.intp],
    n_components: int,
    n_rows: int,
    panel_lines: int,
    statistics: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
) -> float:
    """Take rows tile by tile: features, log-joints, and whichever outputs are not empty."""
    n, d = rows.shape
    n_features = len(factors)
    n_statistics = min(n_features, d + 1) if whitening.size else n_features
    columns = theta.size // n_features
    block = 192 // theta.itemsize
    n_rows = min(n_rows, -(-n // block) * block)
    tile = scratch(d + 2, n_rows, theta)
    tile[0] = 1.0
    white = scratch(whitening.size // d + 2, n_rows, theta) if whitening.size else tile
    white[0] = 1.0
    panel = scratch(panel_lines, n_rows, theta)
    log_joint = scratch(columns, n_rows, theta)
    row_weights, row_density = np.zeros(n_rows), np.zeros(n_rows)
    log_likelihood = np.zeros(n_rows)
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        load(rows, start, count, shift, tile[1:], width)
        if whitening.size:
            white[1:] = 0.0
            multiply_add(whitening, d, 0, tile[1:], d, white[1 : len(white) - 1], width)
        squared_norms(white[1 : d + 1], width, white[d + 1])
        log_joint[:] = 0.0
        for first in range(0, n_features, panel_lines):
            used = min(panel_lines, n_features - first)
            _multiply(white, factors, first, used, width, panel)
            multiply_add(theta, n_features, first, panel, used, log_joint, width)
        if labels.size:
            argmax(log_joint, n_components, labels[start : start + count])
            continue
        load_weights(weights, start, count, row_weights, width)
        softmax(log_joint, n_components, width, row_weights, row_density)
        for t in range(count):
            if row_weights[t] != 0.0:
                log_likelihood[t] += row_weights[t] * row_density[t]
        if log_density.size:
            log_density[start : start + count] = row_density[:count]
        if resp.size:
            for t in range(count):
                for k in range(n_components):
                    resp[start + t, k] = log_joint[k, t]
        if statistics.size:
            for first in range(0, n_statistics, panel_lines):
                used = min(panel_lines, n_statistics - first)
                if whitening.size or n_features > panel_lines:
                    _multiply(tile, factors, first, used, width, panel)
                accumulate(panel, used, log_joint, width, statistics, first, False)
    return float(log_likelihood.sum())


@cache
def _compiled(rows_dtype: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    rows, tile = from_dtype(rows_dtype), from_dtype(dtype)
    index = types.intp
    return compile_for(
        _pass,
        rows_of(rows),
        vector_of(types.float64),
        types.float64[::1],
        tile[::1],
        tile[::1],
        index[:, ::1],
        index,
        index,
        index,
        types.float64[:, ::1],
        types.int64[:],
        rows[:],
        rows[:, :],
    )
