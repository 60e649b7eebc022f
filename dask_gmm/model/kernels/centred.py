"""The E-step with every component seen from its own mean: accurate for any offset, spread and scale.

With v = x - mean_k, log N(x | k) is a constant minus half the squared norm of v times a factor of the
precision, and the statistics of the M-step are about the component's mean: the sums over rows of weight
times responsibility_k times

========= ========================================================================= ====================
factors   features of v, in this order                                              shape of the sums
========= ========================================================================= ====================
matrices  1, v_1 .. v_d, v_i v_j for i <= j (row by row, as ``np.triu_indices``)    (K, (d + 1)(d + 2)/2)
vectors   1, v_1 .. v_d, v_1^2 .. v_d^2                                             (K, 2 d + 1)
========= ========================================================================= ====================

For large d it does the same number of operations as `quadratic`, and holds no products of features.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inner, read_only, reordered
from dask_gmm.model.kernels.kernel import Kernel, given_types, write_outputs
from dask_gmm.model.kernels.products import (
    accumulate,
    packed,
    padded_columns,
    padded_lines,
    rows_per_block,
    squared_norms,
)
from dask_gmm.model.kernels.softmax import BITS
from dask_gmm.model.kernels.tiles import lines_of, load, rows_per_tile, scratch

Array = NDArray[np.float64]


class CentredKernel(Kernel):
    """A mixture with every component at its own origin; see `Kernel` for its methods.

    Parameters
    ----------
    means : ndarray of shape (K, d), float64
        Subtracted from the rows in float64.
    factors : ndarray of shape (K, d, d) or (1, d, d), or of shape (K, d), float64
        Upper triangular matrices, one for each component or one for all; or what features are multiplied by.
    peaks : ndarray of shape (K,), float64
        Log-joint at the mean, log(weight_k) + log N(mean_k | k), in nats; -inf for a weight of zero.
    dtype : {float64, float32}
        In which deviations and products are computed.
    """

    def __init__(self, means: Array, factors: Array, peaks: Array, dtype: Any = np.float64) -> None:
        super().__init__(means.shape[0], means.shape[1], dtype)
        self._means = np.ascontiguousarray(means, np.float64)
        self._peaks = BITS * np.asarray(peaks, np.float64)
        self._matrices = factors.ndim == 3
        self._factors = np.ascontiguousarray(
            packed(factors, self.dtype) if self._matrices else factors, self.dtype
        )

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`, and the table above for the statistics."""
        n_lines = self.n_features + 1
        if self._matrices:
            sums = np.zeros((self.n_components, padded_lines(n_lines), padded_columns(n_lines)))
        else:
            sums = np.zeros((self.n_components, 1, 2 * n_lines - 1))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        if self._matrices:
            i, j = np.triu_indices(n_lines)
            return log_likelihood, sums[:, i, j]
        return log_likelihood, sums[:, 0]

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        n, d = rows.shape
        n_rows = rows_per_tile(4 * d + self.n_components, n, self.dtype)
        log_likelihood: float = entry_point(rows.dtype, self.dtype)(
            rows,
            *given,
            np.empty((0, 0, 0)) if statistics is None else statistics,
            self._means,
            self._factors,
            self._peaks,
            self._matrices,
            np.zeros(d),
            *lines_of(n_rows, self.dtype, self.background),
            scratch(d, n_rows, np.dtype(np.float64)),
            scratch(padded_lines(d + 1), n_rows, self.dtype),
            scratch(padded_columns(d + 1), n_rows, self.dtype),
            scratch(self.n_components, n_rows, self.dtype),
        )
        return log_likelihood


@inner
def _deviate(tile: Array, mean: Array, width: int, out: NDArray[Any]) -> None:
    """Write 1 and ``tile - mean``, subtracted in float64, to the lines of `out`."""
    ones = out[0]
    for t in range(width):
        ones[t] = 1.0
    for j in range(len(mean)):
        line, deviation = tile[j], out[1 + j]
        for t in range(width):
            deviation[t] = line[t] - mean[j]


@inner
def _add_scaled_norms(v: NDArray[Any], factors: NDArray[Any], width: int, out: NDArray[Any]) -> None:
    """Add the squared norm of each row of v times `factors`, shape (d,), to `out`."""
    for j in range(len(v)):
        line = v[j]
        for t in range(width):
            out[t] += (line[t] * factors[j]) ** 2


@inner
def _add_outer(
    features: NDArray[Any],
    n_features: int,
    resp: NDArray[Any],
    width: int,
    weighted: NDArray[Any],
    out: Array,
) -> None:
    """Add the sum of `resp` times the outer product of the features; `weighted` is for the products."""
    for j in range(n_features):
        line, product = features[j], weighted[j]
        for t in range(width):
            product[t] = line[t] * resp[t]
    accumulate(features, n_features, weighted, width, out, True)


@reordered
def _moments(line: NDArray[Any], resp: NDArray[Any], width: int) -> tuple[float, float]:
    first, second = 0.0, 0.0
    for t in range(width):
        weighted = np.float64(resp[t]) * np.float64(line[t])
        first += weighted
        second += weighted * np.float64(line[t])
    return first, second


@inner
def _add_moments(features: NDArray[Any], d: int, resp: NDArray[Any], width: int, out: Array) -> None:
    """Add the sums of `resp`, of `resp` times each v and of `resp` times each v^2."""
    for j in range(d + 1):
        first, second = _moments(features[j], resp, width)
        out[j] += first
        if j > 0:
            out[d + j] += second


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    statistics: NDArray[np.float64],
    means: Array,
    factors: NDArray[Any],
    peaks: Array,
    matrices: bool,
    origin: Array,
    row_values: Array,
    row_sums: NDArray[Any],
    tile: Array,
    deviations: NDArray[Any],
    weighted: NDArray[Any],
    log_joint: NDArray[Any],
) -> float:
    """Take the rows tile by tile, and the components one by one: log-joints, outputs, statistics."""
    n, d = rows.shape
    n_components, n_rows = log_joint.shape
    block = rows_per_block(deviations)
    log_likelihood = 0.0
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        load(rows, start, count, origin, tile, width)
        for k in range(n_components):
            norms, factor = log_joint[k], factors[min(k, len(factors) - 1)]
            for t in range(width):
                norms[t] = 0.0
            _deviate(tile, means[k], width, deviations)
            if matrices:
                squared_norms(factor, deviations[1 : 1 + d], width, norms)
            else:
                _add_scaled_norms(deviations[1 : 1 + d], factor, width, norms)
            for t in range(width):
                norms[t] = peaks[k] - (0.5 * BITS) * norms[t]
        log_likelihood += write_outputs(
            log_joint,
            n_components,
            start,
            count,
            width,
            weights,
            labels,
            log_density,
            resp,
            row_values,
            row_sums,
        )
        for k in range(len(statistics)):
            _deviate(tile, means[k], width, deviations)
            if matrices:
                _add_outer(deviations, 1 + d, log_joint[k], width, weighted, statistics[k])
            else:
                _add_moments(deviations, d, log_joint[k], width, statistics[k, 0])
    return log_likelihood


@cache
def entry_point(rows_dtype: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    rows, tile = from_dtype(rows_dtype), from_dtype(dtype)
    return compile_for(
        _pass,
        *given_types(rows),
        types.float64[:, :, ::1],
        read_only(types.float64, 2, "C"),
        read_only(tile, 2, "C"),
        read_only(types.float64, 1, "C"),
        types.boolean,
        read_only(types.float64, 1, "C"),
        types.float64[:, ::1],
        tile[:, ::1],
        types.float64[:, ::1],
        tile[:, ::1],
        tile[:, ::1],
        tile[:, ::1],
    )
