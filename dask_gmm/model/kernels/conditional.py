r"""The E-step of rows with holes of any pattern, for covariances that are matrices.

With the precision Lambda = P P^T of a component, u = x - mean with zeros in the holes M, and T T^T the
Cholesky factorization of Lambda_MM::

    E[u_M]   = -Lambda_MM^-1 (Lambda u)_M
    distance = u^T Lambda u - |T^-1 (Lambda u)_M|^2
    log N(x) = that of a whole row at this distance + |M| / 2 log 2 pi - log det T
    cov u_M  = Lambda_MM^-1

(Ghahramani and Jordan, Supervised learning from incomplete data via an EM approach, 1994, written in terms of
what is missing.) T T^T squares the condition of P: where that matters, the same T comes from making the
lines M of P orthogonal, and the distance is the length of what these leave of P^T u.

The statistics are those of `centred`, of what the rows are expected to be: the sums of 1, v and v v^T about
the components' means.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.conditional_pass import BLOCK, entry_point
from dask_gmm.model.kernels.kernel import Kernel
from dask_gmm.model.kernels.lanes import LANES
from dask_gmm.model.kernels.patterns import pattern_order
from dask_gmm.model.kernels.products import packed, padded_columns, padded_lines
from dask_gmm.model.kernels.softmax import BITS
from dask_gmm.model.kernels.tiles import lines_of, scratch

Array = NDArray[np.float64]

_DOUBLE = np.dtype(np.float64)
# Blocks of a tile: at least one and at most so many, while what is kept of them takes no more.
_MOST_BLOCKS, _TILE_BYTES = 9, 1 << 20
# Triangles of all components that are kept between the two halves of a step; larger ones are made again.
_TRIANGLE_BYTES = 1 << 24


class ConditionalKernel(Kernel):
    """A mixture of components with covariance matrices, for rows with holes; see `Kernel` for its methods.

    Parameters
    ----------
    means : ndarray of shape (K, d), float64
    factors : ndarray of shape (K, d, d), float64
        Upper triangular P.
    peaks : ndarray of shape (K,), float64
        Log-joint of a whole row at the mean, in nats; -inf for a weight of zero.
    least_squares : bool
        Whether P is not to be squared.
    """

    def __init__(self, means: Array, factors: Array, peaks: Array, *, least_squares: bool) -> None:
        super().__init__(means.shape[0], means.shape[1], np.float64)
        d, self._padding = self.n_features, padded_columns(self.n_features)
        size = self._padding + 1
        self._means = np.ascontiguousarray(means, np.float64)
        self._peaks = BITS * np.asarray(peaks, np.float64)
        self._least_squares = least_squares
        if least_squares:
            self._matrices = np.zeros((self.n_components, size, d))
            self._matrices[:, :d] = factors
            # v P for each row v.
            self._products = packed(factors, _DOUBLE)
        else:
            precisions = factors @ factors.transpose(0, 2, 1)
            self._matrices = np.zeros((self.n_components, size, size))
            self._matrices[:, :d, :d] = precisions
            self._matrices[:, -1, -1] = 1.0
            self._products = packed(precisions, _DOUBLE)

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`, and the statistics of matrices in `centred`."""
        lines = 1 + self.n_features
        # Wide enough for what paddings add, which is forgotten.
        sums = np.zeros((self.n_components, self._lines, padded_columns(self._padding + 2)))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        i, j = np.triu_indices(lines)
        return log_likelihood, sums[:, i, j]

    def fill(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the rows with their expected values in the holes, shape (n, d), float64.

        A row that is all holes is expected to be the mixture's mean.
        """
        filled = np.empty(rows.shape)
        if len(rows):
            nothing: list[NDArray[Any]] = [np.empty(0), np.empty(0, np.int64), np.empty(0, rows.dtype)]
            self._evaluate(rows, [*nothing, np.empty((0, 0), rows.dtype)], None, filled)
        return filled

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        return self._evaluate(rows, given, statistics, np.empty((0, 0)))

    def _evaluate(
        self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None, filled: Array
    ) -> float:
        """Take the rows in the order of their holes."""
        n_rows = self._tile_rows(len(rows))
        order = pattern_order(rows, n_rows, BLOCK)
        ordered = [array[order.rows] if len(array) else array for array in (*given, filled)]
        *arrays, ordered_filled = ordered
        total: float = entry_point(rows.dtype)(
            rows[order.rows],
            *arrays,
            ordered_filled,
            np.empty((0, 0, 0)) if statistics is None else statistics,
            order.starts,
            order.same,
            (self._means, self._matrices, self._products, self._peaks),
            self._least_squares,
            order.most,
            *self._work(n_rows, order.most),
        )
        for array, output in zip((*given[1:], filled), ordered[1:], strict=True):
            if len(array):
                array[order.rows] = output
        return total

    def _tile_rows(self, n: int) -> int:
        """Return how many rows are worked on at once."""
        row_bytes = 8 * self.n_components * self._lines
        blocks = min(_TILE_BYTES // (row_bytes * BLOCK), _MOST_BLOCKS, -(-n // BLOCK))
        return max(1, blocks) * BLOCK

    def _work(self, n_rows: int, most: int) -> tuple[Any, ...]:
        """Return memory for tiles, and for the systems of eight rows."""
        d, n_components = self.n_features, self.n_components
        n_triangle = max(1, most * (most + 1) // 2)
        keeps = 8 * n_components * n_triangle * n_rows <= _TRIANGLE_BYTES
        tiles = (
            *lines_of(n_rows, _DOUBLE),
            np.zeros((d, n_rows)),
            np.zeros((d, n_rows)),
            np.zeros((max(1, most), n_rows), np.uintp),
            np.zeros((n_components, self._lines, n_rows)),
            scratch(self._padding + 1, n_rows, _DOUBLE),
            np.zeros((n_components if keeps else 1, n_triangle, n_rows)),
            scratch(padded_columns(self._padding + 2), n_rows, _DOUBLE),
            scratch(n_components, n_rows, _DOUBLE),
        )
        systems = (
            np.zeros((max(1, most), LANES)),
            np.zeros((max(1, most), n_rows)),
            np.zeros((n_triangle, LANES)),
            np.zeros((max(1, most) * d if self._least_squares else 1, LANES)),
            np.zeros(LANES),
        )
        return tiles, systems

    @property
    def _lines(self) -> int:
        """Lines of a tile: ones, v, and what is filled in for paddings."""
        return padded_lines(self._padding + 2)
