"""Mean and scatter of all rows, whatever the mixture: what a pass knows of the data alone.

The mean is the point that statistics are shifted by, the scatter is the second moment that a tied
covariance needs and that no iteration changes, and both show when stored data change during a fit.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.row_moments import merge_moments

Array = NDArray[np.float64]

# As many numbers NumPy goes through in less time than a machine takes to compile anything for them.
_FEW_NUMBERS = 1 << 14


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
    partial_rows, partial_weight : int, float
        Other rows, of which not all features are known: their number and weight; they are in no moment.
    lowest, highest : ndarray of shape (n_features,), or None
        Smallest and largest value of each feature; None when they were not asked for.
    """

    n_rows: int
    weight: float
    mean: Array
    squares: Array
    scatter: Array | None
    partial_rows: int = 0
    partial_weight: float = 0.0
    lowest: Array | None = None
    highest: Array | None = None

    @classmethod
    def zero(cls, n_features: int, *, scatter: bool, box: bool = False) -> Moments:
        """Return the moments of no rows."""
        empty = np.zeros(n_features)
        moments = cls(0, 0.0, empty, empty, np.zeros((n_features, n_features)) if scatter else None)
        if not box:
            return moments
        return replace(moments, lowest=empty + np.inf, highest=empty - np.inf)

    def with_box_of(self, rows: NDArray[Any]) -> Moments:
        """Return the same with the box of these rows, which the moments have already, in that of all."""
        if self.lowest is None or self.highest is None or not len(rows):
            return self
        lowest = np.minimum(self.lowest, rows.min(axis=0))
        return replace(self, lowest=lowest, highest=np.maximum(self.highest, rows.max(axis=0)))

    @property
    def all_rows(self) -> int:
        """All rows that say something."""
        return self.n_rows + self.partial_rows

    @property
    def all_weight(self) -> float:
        """The weight of all rows that say something."""
        return self.weight + self.partial_weight

    @property
    def deviation(self) -> Array:
        """Standard deviation of each feature, shape (n_features,)."""
        deviation: Array = np.sqrt(self.squares / (self.weight if self.weight > 0.0 else 1.0))
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
        partial = self.partial_rows + other.partial_rows, self.partial_weight + other.partial_weight
        box = self._box_with(other)
        if other.weight == 0.0 or self.weight == 0.0:
            heavier = self if other.weight == 0.0 else other
            return Moments(n_rows, weight, heavier.mean, heavier.squares, heavier.scatter, *partial, *box)
        between = self.weight * (other.weight / weight)
        scatter = None
        with np.errstate(over="ignore", invalid="ignore"):  # what overflows is for the survey to refuse
            difference = other.mean - self.mean
            mean = self.mean + difference * (other.weight / weight)
            squares = self.squares + other.squares + between * difference**2
            if self.scatter is not None and other.scatter is not None:
                scatter = self.scatter + other.scatter + between * np.outer(difference, difference)
        return Moments(n_rows, weight, mean, squares, scatter, *partial, *box)

    def _box_with(self, other: Moments) -> tuple[Array | None, Array | None]:
        if self.lowest is None or self.highest is None:
            return other.lowest, other.highest
        if other.lowest is None or other.highest is None:
            return self.lowest, self.highest
        return np.minimum(self.lowest, other.lowest), np.maximum(self.highest, other.highest)

    def with_rows(self, rows: NDArray[Any], weights: Array | None) -> Moments:
        """Return the moments of these rows, finite and of shape (n, n_features), too."""
        if self.scatter is None and rows.size <= _FEW_NUMBERS:
            return self.merged(_moments_of_few(rows, weights))
        mean, squares = self.mean.copy(), self.squares.copy()
        scatter = np.zeros((0, 0)) if self.scatter is None else self.scatter.copy()
        weight = merge_moments(rows, weights, self.weight, mean, squares, scatter)
        n_rows = self.n_rows + len(rows)
        scatter_or_none = None if self.scatter is None else scatter
        return replace(
            self, n_rows=n_rows, weight=weight, mean=mean, squares=squares, scatter=scatter_or_none
        )

    def with_partial_rows(
        self, rows: NDArray[Any], weights: Array | None, inexact: NDArray[np.bool_] | None = None
    ) -> Moments:
        """Return the moments of these rows too, of which some are known in part.

        Parameters
        ----------
        rows : ndarray of shape (n, n_features)
            A NaN was not observed.
        weights : ndarray of shape (n,), or None
        inexact : ndarray of shape (n,), bool, optional
            Which rows were measured with an error.
        """
        holes = np.isnan(rows)
        whole, told = ~holes.any(axis=1), ~holes.all(axis=1)
        whole = whole if inexact is None else whole & ~inexact
        partial = told & ~whole
        moments = self
        if whole.all():
            moments = self.with_rows(rows, weights)
        elif whole.any():
            moments = self.with_rows(rows[whole], None if weights is None else weights[whole])
        weight = float(partial.sum()) if weights is None else float(weights[partial].sum())
        return replace(
            moments,
            partial_rows=moments.partial_rows + int(partial.sum()),
            partial_weight=moments.partial_weight + weight,
        )


def _moments_of_few(rows: NDArray[Any], weights: Array | None) -> Moments:
    """Return the moments of rows without their scatter, by NumPy."""
    n, d = rows.shape
    weight = float(n) if weights is None else float(weights.sum())
    if weight == 0.0:
        return Moments(n, 0.0, np.zeros(d), np.zeros(d), None)
    # About a row before summing: a mean of large offsets would be rounded at their size.
    origin = rows[0].astype(np.float64)
    weighing = np.ones(n) if weights is None else weights
    with np.errstate(over="ignore", invalid="ignore"):
        apart = rows.astype(np.float64) - origin
        distance = np.einsum("t,tj->j", weighing, apart) / weight
        apart -= distance
        squares = np.einsum("t,tj,tj->j", weighing, apart, apart)
    return Moments(n, weight, origin + distance, squares, None)
