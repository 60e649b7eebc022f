"""What the first pass learns of the data, in one read: counts, moments, bad values, rows to start from.

Nothing here gets a pass of its own. When a start is given, the survey rides on the first E-step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.checks import check_rows, check_weights
from dask_gmm.data.source import Block
from dask_gmm.errors import DataError
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows drawn uniformly, or all of them where they fit.

    Attributes
    ----------
    rows : ndarray of shape (m, n_features)
        In row order, in the dtype of the data.
    weights : ndarray of shape (m,) or None
    keys : ndarray of shape (m,), uint64, or None
        What decided that a row was drawn; None for all rows.
    """

    rows: NDArray[Any]
    weights: Array | None
    keys: NDArray[np.uint64] | None = None

    def keyed(self, seed: int) -> Sample:
        """Return all rows of a fit with the keys that a survey would have drawn them by."""
        keys = Sampling(len(self.rows), seed, len(self.rows)).keys(np.arange(len(self.rows)))
        return Sample(self.rows, self.weights, keys)

    def narrowed(self, sampling: Sampling) -> Sample:
        """Return what would have been drawn with a smaller limit."""
        if self.keys is None:
            return self
        drawn = np.flatnonzero(self.keys <= sampling.threshold)
        if len(drawn) > sampling.limit:
            smallest = np.argpartition(self.keys[drawn], sampling.limit)[: sampling.limit]
            drawn = drawn[np.sort(smallest)]
        weights = None if self.weights is None else self.weights[drawn]
        return Sample(self.rows[drawn], weights, self.keys[drawn])

    @property
    def total_weight(self) -> float:
        """Sum of the weights; the number of rows where there are none."""
        return float(len(self.rows)) if self.weights is None else float(self.weights.sum())


@dataclass(frozen=True, slots=True)
class Sampling:
    """How rows are drawn: each row number is hashed to a key, and the `limit` smallest keys win.

    So the sample depends on the row numbers and the seed only, not on chunks, workers or order.

    Attributes
    ----------
    limit : int
        Most rows to draw; all rows are taken where there are no more.
    seed : int
        64 bits.
    n_rows : int or None
        Rows in all, where known: then most rows are passed over at once.
    """

    limit: int
    seed: int
    n_rows: int | None

    @property
    def everything(self) -> bool:
        """Whether all rows are known to fit."""
        return self.n_rows is not None and self.n_rows <= self.limit

    @property
    def threshold(self) -> np.uint64:
        """The key above which a row is passed over: surely too large when all rows have been seen."""
        if self.n_rows is None or self.everything:
            return np.uint64(2**64 - 1)
        # Eight standard deviations of the number of keys below it.
        expected = self.limit + 8.0 * np.sqrt(self.limit)
        return np.uint64(min(expected / self.n_rows, 1.0) * (2**64 - 2**12))

    def keys(self, numbers: NDArray[np.int64]) -> NDArray[np.uint64]:
        """Hash row numbers to uniform 64-bit keys.

        SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
        """
        keys = numbers.astype(np.uint64)
        keys *= np.uint64(0x9E3779B97F4A7C15)
        keys += np.uint64(self.seed)
        keys ^= keys >> np.uint64(30)
        keys *= np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(27)
        keys *= np.uint64(0x94D049BB133111EB)
        keys ^= keys >> np.uint64(31)
        return keys


@dataclass(frozen=True, slots=True)
class Drawn:
    """Candidates for the sample: as many rows as the limit, and their keys."""

    numbers: NDArray[np.int64]
    keys: NDArray[np.uint64]
    rows: NDArray[Any]
    weights: Array | None

    @classmethod
    def joined(cls, parts: Sequence[Drawn], limit: int) -> Drawn:
        """Return the `limit` smallest keys of all parts."""
        keys = np.concatenate([part.keys for part in parts])
        weights = [part.weights for part in parts if part.weights is not None]
        drawn = cls(
            np.concatenate([part.numbers for part in parts]),
            keys,
            np.concatenate([part.rows for part in parts]),
            np.concatenate(weights) if weights else None,
        )
        if len(keys) <= limit:
            return drawn
        return drawn.chosen(np.argpartition(keys, limit)[:limit])

    def chosen(self, which: NDArray[Any]) -> Drawn:
        """Return the rows `which`."""
        weights = None if self.weights is None else self.weights[which]
        return Drawn(self.numbers[which], self.keys[which], self.rows[which], weights)


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a survey found.

    Attributes
    ----------
    moments : Moments
    drawn : list of Drawn
        Candidates of the chunks seen, not yet joined.
    """

    moments: Moments
    drawn: list[Drawn] = field(default_factory=list)

    def sample(self, sampling: Sampling) -> Sample:
        """Return the sample in row order."""
        drawn = Drawn.joined(self.drawn, sampling.limit)
        ordered = drawn.chosen(np.argsort(drawn.numbers, kind="stable"))
        return Sample(ordered.rows, ordered.weights, ordered.keys)


@dataclass(frozen=True)
class Survey:
    """The first pass as a reduction.

    Attributes
    ----------
    n_features : int
    scatter : bool
        Whether the scatter matrix is wanted.
    sampling : Sampling or None
        None when no start has to be found.
    checked : bool
        The rows have been checked already.
    """

    n_features: int
    scatter: bool
    sampling: Sampling | None
    checked: bool = False

    def zero(self) -> Surveyed:
        """Return the survey of no rows."""
        return Surveyed(Moments.zero(self.n_features, scatter=self.scatter))

    def update(self, value: Surveyed, block: Block) -> Surveyed:
        """Check a block, add its moments and draw from it."""
        if not self.checked:
            check_rows(block)
            check_weights(block)
        drawn = list(value.drawn)
        if self.sampling is not None and len(block.rows):
            drawn = self._limited([*drawn, self._draw(block, self.sampling)], self.sampling.limit)
        return Surveyed(value.moments.with_rows(block.rows, block.weights), drawn)

    def combine(self, values: Sequence[Surveyed]) -> Surveyed:
        """Merge in the order given."""
        moments = values[0].moments
        for value in values[1:]:
            moments = moments.merged(value.moments)
        drawn = [part for value in values for part in value.drawn]
        return Surveyed(moments, [] if self.sampling is None else self._limited(drawn, self.sampling.limit))

    @staticmethod
    def _draw(block: Block, sampling: Sampling) -> Drawn:
        numbers = block.numbers()
        keys = sampling.keys(numbers)
        drawn = Drawn(numbers, keys, block.rows, block.weights)
        if sampling.everything:
            return drawn
        return drawn.chosen(np.flatnonzero(keys <= sampling.threshold))

    @staticmethod
    def _limited(drawn: list[Drawn], limit: int) -> list[Drawn]:
        # Joining only now and then keeps the copying linear in the rows.
        if sum(len(part.keys) for part in drawn) <= 2 * limit:
            return drawn
        return [Drawn.joined(drawn, limit)]


def check_enough_rows(
    n_rows: int, n_features: int, n_components: int, estimator: str = "GaussianMixture"
) -> None:
    """Refuse fewer rows than components, or fewer than two, in scikit-learn's words.

    Raises
    ------
    DataError
    """
    if n_rows < 2:
        raise DataError(
            f"Found array with {n_rows} sample(s) (shape=({n_rows}, {n_features})) while a minimum of 2 is "
            f"required by {estimator}."
        )
    if n_rows < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )


def check_squares(moments: Moments) -> None:
    """Refuse rows whose squared deviations from their mean overflow: no covariance can be estimated.

    Raises
    ------
    DataError
        Naming the first such feature.
    """
    finite = np.isfinite(moments.mean) & np.isfinite(moments.squares)
    if not finite.all():
        raise DataError(
            f"Feature {int(np.argmin(finite))} of X has values so large that their squares, of which "
            "covariances are sums, overflow float64. Scale the input data, for instance to unit variance."
        )
