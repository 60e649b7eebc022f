"""Mean and variance of each feature over the values that are there, in one pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.checks import check_rows, check_weights
from dask_gmm.data.source import Block
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class FeatureMoments:
    """Weight, mean and sum of squared deviations of each feature.

    Attributes
    ----------
    n_rows : int
        Rows seen.
    weight, mean, squares : ndarray of shape (n_features,)
        The sum of weights of the rows that have the feature; its mean; sum of w (x - mean)^2.
    """

    n_rows: int
    weight: Array
    mean: Array
    squares: Array

    @classmethod
    def zero(cls, n_features: int) -> FeatureMoments:
        """Return the moments of no rows."""
        return cls(0, *np.zeros((3, n_features)))

    @classmethod
    def of(cls, rows: NDArray[Any], weights: Array | None) -> FeatureMoments:
        """Return the moments of rows, of which a NaN is no value."""
        n_rows, n_features = rows.shape
        here = ~np.isnan(rows)
        if here.all():
            moments = Moments.zero(n_features, scatter=False).with_rows(rows, weights)
            weight = np.full(n_features, moments.weight)
            return cls(n_rows, weight, moments.mean, moments.squares)
        counted = here if weights is None else here * weights[:, np.newaxis]
        weight = counted.sum(axis=0, dtype=np.float64)
        # About a value before summing: a mean of large offsets would be rounded at their size.
        origin = np.where(here, rows, -np.inf).max(axis=0).astype(np.float64)
        origin[~np.isfinite(origin)] = 0.0
        apart = np.where(here, rows - origin, 0.0)
        divisor = np.where(weight > 0.0, weight, 1.0)
        distance = (counted * apart).sum(axis=0) / divisor
        squares = (counted * (apart - distance) ** 2).sum(axis=0)
        return cls(n_rows, weight, origin + distance, squares)

    def merged(self, other: FeatureMoments) -> FeatureMoments:
        """Return the moments of both sets of rows.

        Chan, Golub and LeVeque, Algorithms for Computing the Sample Variance (1983), equation 1.5.
        """
        weight = self.weight + other.weight
        share = other.weight / np.where(weight > 0.0, weight, 1.0)
        difference = np.where(self.weight > 0.0, other.mean - self.mean, other.mean)
        mean = np.where(self.weight > 0.0, self.mean + difference * share, other.mean)
        mean = np.where(other.weight > 0.0, mean, self.mean)
        between = np.where(
            (self.weight > 0.0) & (other.weight > 0.0), self.weight * share * difference**2, 0.0
        )
        squares = self.squares + other.squares + between
        return FeatureMoments(self.n_rows + other.n_rows, weight, mean, squares)


@dataclass(frozen=True)
class FeatureSurvey:
    """The pass as a reduction.

    Attributes
    ----------
    n_features : int
    """

    n_features: int

    def zero(self) -> FeatureMoments:
        """Return the moments of no rows."""
        return FeatureMoments.zero(self.n_features)

    def update(self, value: FeatureMoments, block: Block) -> FeatureMoments:
        """Check a block and add its moments."""
        check_rows(block)
        check_weights(block)
        return value.merged(FeatureMoments.of(block.rows, block.weights))

    def combine(self, values: Sequence[FeatureMoments]) -> FeatureMoments:
        """Merge in the order given."""
        merged = self.zero()
        for value in values:
            merged = merged.merged(value)
        return merged
