"""The E-step of factor analysers: covariances of low rank plus a diagonal, each component at its own mean.

With v = x - mean_k, a precision diag(p^2) - G G^T (Woodbury) and u = G^T v, the squared Mahalanobis distance
is |p v|^2 - |u|^2: 2 d q operations for q factors, where a matrix takes d^2. The statistics of the M-step are
sums over rows of weight times responsibility_k times 1, v, v u^T and v^2. A row counts where its
responsibility is not lost in the rounding of one: wide rows belong to few components, so that these sums cost
next to nothing.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inlined, inner, read_only
from dask_gmm.model.kernels.kernel import Kernel, given_types, write_outputs
from dask_gmm.model.kernels.low_rank_sums import add_sums, choose
from dask_gmm.model.kernels.products import (
    packed,
    padded_columns,
    padded_lines,
    rows_per_block,
    squared_products,
)
from dask_gmm.model.kernels.softmax import BITS
from dask_gmm.model.kernels.tiles import lines_of, load, rows_per_tile, scratch

Array = NDArray[np.float64]

# Responsibilities that are kept until all rows of a component are known take so many bytes.
_KEPT_BYTES = 4 << 20


class FactorKernel(Kernel):
    """A mixture of factor analysers; see `Kernel` for its methods.

    Parameters
    ----------
    means : ndarray of shape (K, d), float64
        Subtracted from the rows in float64.
    roots : ndarray of shape (K, d), float64
        p, the inverse standard deviations of the noise.
    projections : ndarray of shape (K, d, q), float64
        G.
    peaks : ndarray of shape (K,), float64
        Log-joint at the mean, log(weight_k) + log N(mean_k | k), in nats; -inf for a weight of zero.
    dtype : {float64, float32}
        In which deviations and products are computed.
    """

    def __init__(
        self, means: Array, roots: Array, projections: Array, peaks: Array, dtype: Any = np.float64
    ) -> None:
        super().__init__(means.shape[0], means.shape[1], dtype)
        self.n_factors = projections.shape[2]
        self._means = np.ascontiguousarray(means, np.float64)
        # In float32 the difference to the first, exact where it is small, less what that leaves of the mean.
        # Means of rows in float64 may be beyond it; then nobody asks.
        with np.errstate(over="ignore", invalid="ignore"):
            high = self._means.astype(np.float32).astype(np.float64)
            self._halves = np.stack([high, self._means - high]).astype(np.float32)
        self._roots = np.ascontiguousarray(roots, self.dtype)
        self._projections = np.ascontiguousarray(packed(projections, self.dtype))
        self._peaks = BITS * np.asarray(peaks, np.float64)

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`.

        The statistics have the shape (K, 1 + d + d (q + 1)): sums of 1, of v, and of v_i times u and v_i, for
        one i after the other.
        """
        d, q = self.n_features, self.n_factors
        sums = np.zeros((self.n_components, padded_lines(d + 1), padded_columns(q + 2)))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        second = sums[:, 1 : d + 1, 1 : q + 2].reshape(self.n_components, -1)
        return log_likelihood, np.concatenate([sums[:, : d + 1, 0], second], axis=1)

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        n, d = rows.shape
        # Rows in float32 are subtracted from in float32.
        tile = np.dtype(np.float32 if rows.dtype == self.dtype == np.float32 else np.float64)
        wholes = np.stack([self._means, np.zeros_like(self._means)])
        n_rows = rows_per_tile(2 * d + 2 * self.n_factors + self.n_components, n, self.dtype)
        n_kept = 0 if statistics is None else self._kept_rows(n, n_rows)
        log_likelihood: float = entry_point(rows.dtype, self.dtype, tile)(
            rows,
            *given,
            np.empty((0, 0, 0)) if statistics is None else statistics,
            self._halves if tile == np.float32 else wholes,
            self._roots,
            self._projections,
            self._peaks,
            np.zeros(d),
            *lines_of(n_rows, self.dtype, self.background),
            scratch(d, n_rows, tile),
            (
                scratch(padded_lines(d + 1), n_rows, self.dtype),
                scratch(padded_columns(self.n_factors), n_rows, self.dtype),
                scratch(padded_columns(self.n_factors + 2), n_rows, self.dtype),
            ),
            scratch(self.n_components, n_rows, self.dtype),
            np.empty((self.n_components, n_kept), self.dtype),
            np.empty(n_kept, np.int64),
            self.n_factors,
        )
        return log_likelihood

    def _kept_rows(self, n: int, n_rows: int) -> int:
        """Return how many rows' responsibilities are kept: whole tiles."""
        tiles: int = max(1, _KEPT_BYTES // (self.n_components * self.dtype.itemsize * n_rows))
        return min(tiles, -(-n // n_rows)) * n_rows


@inner
def _deviate(
    tile: NDArray[Any],
    mean: NDArray[Any],
    rest: NDArray[Any],
    roots: NDArray[Any],
    width: int,
    out: NDArray[Any],
    norms: NDArray[Any],
) -> None:
    """Write ``tile - mean - rest`` to the lines of `out`, and the sums of their squares times `roots`."""
    for t in range(width):
        norms[t] = 0.0
    for j in range(len(mean)):
        line, deviation = tile[j], out[j]
        for t in range(width):
            v = (line[t] - mean[j]) - rest[j]
            deviation[t] = v
            norms[t] += (deviation[t] * roots[j]) ** 2


@inlined
def _evaluate(
    tile: NDArray[Any],
    width: int,
    means: NDArray[Any],
    roots: NDArray[Any],
    projections: NDArray[Any],
    peaks: Array,
    deviations: NDArray[Any],
    explained: NDArray[Any],
    log_joint: NDArray[Any],
) -> None:
    """Write the log-joints of a tile, in bits."""
    d = len(tile)
    for k in range(len(roots)):
        norms = log_joint[k]
        for t in range(width):
            explained[t] = 0.0
        _deviate(tile, means[0, k], means[1, k], roots[k], width, deviations[1 : 1 + d], norms)
        squared_products(projections[k], deviations[1 : 1 + d], width, explained)
        for t in range(width):
            norms[t] = peaks[k] - (0.5 * BITS) * (norms[t] - explained[t])


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    statistics: NDArray[np.float64],
    means: NDArray[Any],
    roots: NDArray[Any],
    projections: NDArray[Any],
    peaks: Array,
    origin: Array,
    row_values: Array,
    row_sums: NDArray[Any],
    tile: NDArray[Any],
    tiles: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    log_joint: NDArray[Any],
    kept: NDArray[Any],
    chosen: NDArray[np.int64],
    n_factors: int,
) -> float:
    """Take the rows tile by tile; sum up component by component once all kept responsibilities are known."""
    n = len(rows)
    n_components, n_rows = log_joint.shape
    block = rows_per_block(log_joint)
    log_likelihood, first = 0.0, 0
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        load(rows, start, count, origin, tile, width)
        _evaluate(tile, width, means, roots, projections, peaks, tiles[0], row_sums[0], log_joint)
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
        if len(statistics) == 0:
            continue
        for k in range(n_components):
            for t in range(count):
                kept[k, start - first + t] = log_joint[k, t]
        if start + n_rows - first < kept.shape[1] and start + count < n:
            continue
        for k in range(n_components):
            n_chosen = choose(kept[k], weights, first, start + count - first, chosen)
            some, own = chosen[:n_chosen], means[:, k]
            add_sums(rows, first, some, own, projections[k], kept[k], tiles, n_factors, statistics[k])
        first = start + n_rows
    return log_likelihood


@cache
def entry_point(rows_dtype: np.dtype[Any], dtype: np.dtype[Any], tile_dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    rows, products, tile = from_dtype(rows_dtype), from_dtype(dtype), from_dtype(tile_dtype)
    return compile_for(
        _pass,
        *given_types(rows),
        types.float64[:, :, ::1],
        read_only(tile, 3, "C"),
        read_only(products, 2, "C"),
        read_only(products, 2, "C"),
        read_only(types.float64, 1, "C"),
        read_only(types.float64, 1, "C"),
        types.float64[:, ::1],
        products[:, ::1],
        tile[:, ::1],
        types.UniTuple(products[:, ::1], 3),
        products[:, ::1],
        products[:, ::1],
        types.int64[::1],
        types.intp,
    )
