r"""The E-step of rows that were measured with known errors: extreme deconvolution.

With the covariance V of a component and S of a row's errors, T = V + S, u = x - mean and C C^T the Cholesky
factorization of T::

    log N(x) = log N(u | 0, T)
    E[v]     = V T^-1 u = Z^T C^-1 u
    cov v    = V - Z^T Z,    Z = C^-1 V

(Bovy, Hogg and Roweis, Extreme deconvolution, 2011, equations 16 to 18.) A value that is missing leaves out
its line of V, and is a line of the identity in T. The statistics are the sums of 1, v and v v^T about the
components' means, of which nk V is added at the end.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.errors_in_range import Errors, Units
from dask_gmm.model.kernels.lanes import LANES
from dask_gmm.model.kernels.noisy_pass import MOST_WRITTEN_OUT, entry_point
from dask_gmm.model.kernels.softmax import BITS
from dask_gmm.model.kernels.tiles import lines_of

Array = NDArray[np.float64]

# What is kept of all components for a tile, and the most rows of one.
_TILE_BYTES, _MOST_ROWS = 1 << 20, 48


class NoisyKernel:
    """A mixture made ready for rows with errors.

    Parameters
    ----------
    means : ndarray of shape (K, d), float64
    covariances : ndarray of shape (K, d, d), float64
    log_weights : ndarray of shape (K,)
    """

    def __init__(self, means: Array, covariances: Array, log_weights: Array) -> None:
        self.n_components, self.n_features = means.shape
        self._units = Units.of(means, covariances)
        scales = self._units.scales
        self._means = np.ascontiguousarray(means * scales, np.float64)
        self._covariances = np.ascontiguousarray(covariances * np.outer(scales, scales), np.float64)
        self._peaks = BITS * (log_weights - 0.5 * self.n_features * np.log(2.0 * np.pi))

    def statistics(self, rows: NDArray[Any], errors: Errors, weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`, and the statistics of matrices in `centred`."""
        d = self.n_features
        sums = np.zeros((self.n_components, 1 + d + d * (d + 1) // 2, LANES))
        log_likelihood = self._run(rows, errors, weights=weights, statistics=sums)
        summed, scales = sums.sum(axis=2), self._units.scales
        i, j = np.triu_indices(d)
        summed[:, 1 + d :] += summed[:, :1] * self._covariances[:, i, j]
        summed[:, 1 : 1 + d] /= scales
        summed[:, 1 + d :] /= scales[i] * scales[j]
        return log_likelihood, summed

    def labels(self, rows: NDArray[Any], errors: Errors, out: NDArray[np.int64]) -> None:
        """Write each row's most probable component to `out`, shape (n,)."""
        self._run(rows, errors, labels=out)

    def log_density(self, rows: NDArray[Any], errors: Errors, out: NDArray[Any]) -> None:
        """Write each row's log density, in nats, to `out`, shape (n,), of the rows' dtype."""
        self._run(rows, errors, log_density=out)

    def responsibilities(self, rows: NDArray[Any], errors: Errors, out: NDArray[Any]) -> None:
        """Write each row's posterior probabilities to `out`, shape (n, K), of the rows' dtype."""
        self._run(rows, errors, resp=out)

    def denoise(self, rows: NDArray[Any], errors: Errors) -> Array:
        """Return where the rows are expected to be truly, shape (n, d)."""
        denoised = np.zeros((len(rows), self.n_features))
        self._run(rows, errors, denoised=denoised)
        denoised /= self._units.scales
        return denoised

    def _run(
        self,
        rows: NDArray[Any],
        errors: Errors,
        weights: Array | None = None,
        labels: NDArray[np.int64] | None = None,
        log_density: NDArray[Any] | None = None,
        resp: NDArray[Any] | None = None,
        denoised: Array | None = None,
        statistics: Array | None = None,
    ) -> float:
        if not len(rows):
            return 0.0
        d = self.n_features
        rows, errors, more = self._units.rows(rows, errors)
        # Denoising goes by loops, as it is rare.
        written_out = d if d <= MOST_WRITTEN_OUT and denoised is None else 0
        total: float = entry_point(rows.dtype, written_out)(
            rows,
            np.empty(0) if weights is None else weights,
            np.empty(0, np.int64) if labels is None else labels,
            np.empty(0, rows.dtype) if log_density is None else log_density,
            np.empty((0, 0), rows.dtype) if resp is None else resp,
            np.empty((0, 0)) if denoised is None else denoised,
            np.empty((0, 0, 0)) if statistics is None else statistics,
            (
                np.ascontiguousarray(errors.deviations),
                np.ascontiguousarray(errors.correlations),
                np.ascontiguousarray(errors.pairs),
            ),
            (self._means, self._covariances, self._peaks),
            *self._work(len(rows)),
            (0,) * written_out,
        )
        if more is not None:
            if log_density is not None:
                log_density += more.astype(log_density.dtype)
            total += float(more.sum() if weights is None else more @ weights)
        return total

    def _work(self, n: int) -> tuple[Any, ...]:
        d, n_components = self.n_features, self.n_components
        n_triangle = d * (d + 1) // 2
        fitting = _TILE_BYTES // (8 * LANES * n_components * (n_triangle + d))
        n_rows = LANES * max(1, min(fitting, _MOST_ROWS // LANES, -(-n // LANES)))
        tiles = (
            *lines_of(n_rows, np.dtype(np.float64)),
            np.zeros((d, n_rows)),
            np.zeros((d, n_rows)),
            np.zeros((n_triangle, n_rows)),
            np.zeros((n_triangle, n_rows)),
            np.zeros(n_rows),
            np.zeros((n_components, n_triangle + d, n_rows)),
            np.zeros((n_components, n_rows)),
        )
        systems = np.zeros((d * d, LANES)), np.zeros((d, LANES)), np.zeros((1, LANES))
        return tiles, systems, np.zeros(max(n_rows, LANES))
