"""The reference kernel: plain NumPy, one component at a time, everything about the component's own mean.

It is the definition that the compiled kernels are held to. It keeps full float64 accuracy for any offset,
scale and distance between components.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.observation import Observed
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]

_TILE_BYTES = 1 << 20


class ReferenceKernel:
    """Evaluates one mixture on rows; see `dask_gmm.model.observation.observation.Kernel` for the methods.

    Parameters
    ----------
    density : Density
    """

    exact = True

    def __init__(self, density: Density) -> None:
        self.density = density
        # What each component's moments are about.
        self.origins = density.means

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        rows, weights = observed.rows, observed.weights
        density = self.density
        for start, tile in self._tiles(rows):
            log_prob_norm, log_resp = normalized(self.log_joint(tile))
            resp = np.exp(log_resp)
            weight = float(len(tile))
            if weights is not None:
                tile_weights = weights[start : start + len(tile)]
                weight = float(tile_weights.sum())
                log_prob_norm = _weighted(log_prob_norm, tile_weights)
                resp *= tile_weights[:, np.newaxis]
            np.add(statistics.nk, resp.sum(axis=0), out=statistics.nk)
            for k, mean in enumerate(density.means):
                deviations = tile - mean
                statistics.first[k] += resp[:, k] @ deviations
                density.structure.add_second(
                    statistics.second, deviations, resp[:, k], k, density.precisions_cholesky
                )
            statistics.totals.add(Totals(float(log_prob_norm.sum()), weight, len(tile)))

    def told(self, observed: Observed) -> None:
        return None

    def completed(self, statistics: Statistics, moments: Moments) -> Statistics:
        return statistics

    def log_joint(self, rows: NDArray[Any]) -> Array:
        """Return log(weight_k) + log density_k of each row, shape (n, n_components), in nats.

        Bishop, Pattern Recognition and Machine Learning (2006), equation 2.43, with the precision's
        Cholesky factor P: log N(x) = log det P - (d log 2 pi + |(x - mean) P|^2) / 2.
        """
        density = self.density
        log_joint = np.empty((len(rows), density.n_components))
        for k, mean in enumerate(density.means):
            whitened = density.structure.whitened(rows, mean, density.precisions_cholesky, k)
            log_joint[:, k] = np.einsum("ij,ij->i", whitened, whitened)
        log_joint += density.n_features * math.log(2.0 * math.pi)
        log_joint *= -0.5
        log_joint += density.log_factors
        return log_joint

    def labels(self, observed: Observed, out: NDArray[np.int64]) -> None:
        for start, tile in self._tiles(observed.rows):
            out[start : start + len(tile)] = self.log_joint(tile).argmax(axis=1)

    def log_density(self, observed: Observed, out: NDArray[Any]) -> None:
        for start, tile in self._tiles(observed.rows):
            out[start : start + len(tile)] = normalized(self.log_joint(tile))[0]

    def responsibilities(self, observed: Observed, out: NDArray[Any]) -> None:
        for start, tile in self._tiles(observed.rows):
            out[start : start + len(tile)] = np.exp(normalized(self.log_joint(tile))[1])

    def _tiles(self, rows: NDArray[Any]) -> Iterator[tuple[int, Array]]:
        row_bytes = 8 * (3 * self.density.n_features + 3 * self.density.n_components)
        n_tile = max(64, _TILE_BYTES // row_bytes)
        for start in range(0, len(rows), n_tile):
            yield start, np.asarray(rows[start : start + n_tile], dtype=np.float64)


def normalized(log_joint: Array) -> tuple[Array, Array]:
    """Return log sum exp over the components, shape (n,), and the log responsibilities, shape of the input.

    A row whose every entry is -inf, or which holds a NaN, gives NaN rather than a warning.
    """
    with np.errstate(invalid="ignore"):
        largest = log_joint.max(axis=1, keepdims=True)
        shifted = log_joint - largest
        log_sum = np.log(np.exp(shifted).sum(axis=1, keepdims=True))
        return (largest + log_sum)[:, 0], shifted - log_sum


def _weighted(values: Array, weights: Array) -> Array:
    # A row of weight zero counts for nothing, even where its density underflows to log 0 = -inf.
    return np.multiply(values, weights, out=np.zeros_like(values), where=weights > 0)
