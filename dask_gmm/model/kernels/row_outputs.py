"""Kernels in NumPy, for what is rare: outputs and sums of rows from their log-joints."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.kernel import Kernel

Array = NDArray[np.float64]

_TILE_ROWS = 2048


class RowOutputs(Kernel):
    """A kernel that is given by log-joints and sums of tiles of rows; see `Kernel`."""

    def __init__(self, n_components: int, n_features: int) -> None:
        super().__init__(n_components, n_features, np.float64)

    @abstractmethod
    def log_joint(self, rows: Array) -> Array:
        """Return log(weight_k) + log density_k of each row, shape (n, n_components), in nats."""

    @abstractmethod
    def sums(self, rows: Array, resp: Array) -> Array:
        """Return the sums of `resp`, shape (n, n_components), times features of the rows, by component."""

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step; see `Kernel.statistics`."""
        empty = np.empty((0, self.n_features))
        total, sums = 0.0, self.sums(empty, np.empty((0, self.n_components)))
        for start in range(0, len(rows), _TILE_ROWS):
            tile = np.asarray(rows[start : start + _TILE_ROWS], dtype=np.float64)
            log_density, resp = _normalized(self.log_joint(tile))
            if weights is not None:
                own = weights[start : start + _TILE_ROWS]
                resp = np.where(own[:, np.newaxis] > 0.0, resp * own[:, np.newaxis], 0.0)
                log_density = np.where(own > 0.0, log_density * own, 0.0)
            total += float(log_density.sum())
            sums += self.sums(tile, resp)
        return total, sums

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        _, labels, log_density, resp = given
        for start in range(0, len(rows), _TILE_ROWS):
            part = slice(start, start + _TILE_ROWS)
            joint = self.log_joint(np.asarray(rows[part], dtype=np.float64))
            density, own = _normalized(joint)
            if len(labels):
                labels[part] = joint.argmax(axis=1)
            if len(log_density):
                log_density[part] = density
            if len(resp):
                resp[part] = own
        return 0.0


def _normalized(log_joint: Array) -> tuple[Array, Array]:
    """Return log densities and responsibilities; NaN for a row whose every log-joint is -inf."""
    with np.errstate(invalid="ignore"):
        largest = log_joint.max(axis=1, keepdims=True)
        resp = np.exp(log_joint - largest)
        total = resp.sum(axis=1, keepdims=True)
        return (largest + np.log(total))[:, 0], resp / total
