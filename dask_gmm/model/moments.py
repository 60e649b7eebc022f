"""Mean and scatter of all rows, whatever the mixture: what a pass knows of the data alone.

The mean is the point that statistics are shifted by, the scatter is the second moment that a tied
covariance needs and that no iteration changes, and both show when stored data change during a fit.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TILE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class Moments:
    """Weighted count, mean and scatter of rows.

    Attributes
    ----------
    n_rows : int
    weight : float
        Sum of the sample weights.
    mean : ndarray of shape (n_features,)
    squares : ndarray of shape (n_features,)
        Sum of w (x - mean)^2.
    scatter : ndarray of shape (n_features, n_features) or None
        Sum of w (x - mean)(x - mean)^T; None when it was not asked for.
    """

    n_rows: int
    weight: float
    mean: Array
    squares: Array
    scatter: Array | None

    @classmethod
    def zero(cls, n_features: int, *, scatter: bool) -> Moments:
        """Return the moments of no rows."""
        empty = np.zeros(n_features)
        return cls(0, 0.0, empty, empty, np.zeros((n_features, n_features)) if scatter else None)

    @property
    def deviation(self) -> Array:
        """Standard deviation of each feature, shape (n_features,)."""
        deviation: Array = np.sqrt(self.squares / self.weight)
        return deviation

    def scatter_about(self, origin: Array) -> Array:
        """Return the sum of w (x - origin)(x - origin)^T, shape (n_features, n_features)."""
        assert self.scatter is not None
        distance = self.mean - origin
        about: Array = self.scatter + self.weight * np.outer(distance, distance)
        return about

    def merged(self, other: Moments) -> Moments:
        """Return the moments of both sets of rows.

        Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983), equation 1.5.
        """
        weight = self.weight + other.weight
        n_rows = self.n_rows + other.n_rows
        if other.weight == 0.0 or self.weight == 0.0:
            heavier = self if other.weight == 0.0 else other
            return Moments(n_rows, weight, heavier.mean, heavier.squares, heavier.scatter)
        difference = other.mean - self.mean
        mean = self.mean + difference * (other.weight / weight)
        between = self.weight * (other.weight / weight)
        squares = self.squares + other.squares + between * difference**2
        scatter = None
        if self.scatter is not None and other.scatter is not None:
            scatter = self.scatter + other.scatter + between * np.outer(difference, difference)
        return Moments(n_rows, weight, mean, squares, scatter)

    def with_rows(self, rows: NDArray[Any], weights: Array | None) -> Moments:
        """Return the moments of these rows too."""
        moments = self
        for start in range(0, len(rows), _TILE_ROWS):
            tile = np.asarray(rows[start : start + _TILE_ROWS], dtype=np.float64)
            tile_weights = None if weights is None else weights[start : start + _TILE_ROWS]
            moments = moments.merged(_of_tile(tile, tile_weights, scatter=self.scatter is not None))
        return moments


def _of_tile(tile: Array, weights: Array | None, *, scatter: bool) -> Moments:
    weight = float(len(tile)) if weights is None else float(weights.sum())
    if weight == 0.0:
        empty = np.zeros(tile.shape[1])
        return Moments(len(tile), 0.0, empty, empty, None)
    # About the first row before summing: a mean of large offsets would be rounded at their size.
    deviations = tile - tile[0]
    mean_deviation = deviations.mean(axis=0) if weights is None else (weights @ deviations) / weight
    mean = tile[0] + mean_deviation
    deviations -= mean_deviation
    weighted = deviations if weights is None else weights[:, np.newaxis] * deviations
    squares = np.einsum("ij,ij->j", weighted, deviations)
    return Moments(len(tile), weight, mean, squares, weighted.T @ deviations if scatter else None)
