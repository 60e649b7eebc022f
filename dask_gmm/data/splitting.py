"""Rows of which the first columns are features, and the others say with what errors these were measured."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.aligned import with_nan_rule
from dask_gmm.data.answers import checked_answer
from dask_gmm.data.feature_number import feature_number
from dask_gmm.data.mapped import MappedSource, map_source
from dask_gmm.data.rows import NanRule, under_nan_rule
from dask_gmm.data.source import Answer, Block, Source, correlation_column, error_column


@dataclass(frozen=True, slots=True)
class Splitting:
    """Takes rows apart that have features, then their errors, then correlations of these.

    Attributes
    ----------
    n_features : int
        Of the rows that come out.
    dtype : dtype
    feature_names : tuple of str or None
    pairs : tuple of (int, int)
        Features whose errors are correlated, in the order of the last columns.
    nan : {'error', 'drop', 'keep'}
        What becomes of rows with a NaN among the features.
    """

    n_features: int
    dtype: np.dtype[Any]
    feature_names: tuple[str, ...] | None
    pairs: tuple[tuple[int, int], ...]
    nan: NanRule = "error"

    @property
    def identity(self) -> str:
        """A text that changes with what is taken apart."""
        return f"{self.n_features} features with errors, {self.pairs}"

    def __call__(self, block: Block) -> Block:
        """Return the block with errors as columns."""
        d = self.n_features
        columns = error_columns(block.rows[:, d:], d, self.pairs)
        rows = np.asarray(block.rows[:, :d], dtype=self.dtype)
        split = replace(block, rows=rows, columns={**block.columns, **columns}, holes=False)
        return under_nan_rule(split, self.nan)


@dataclass(frozen=True, slots=True)
class _OfMeasured:
    """An answer for rows with errors, as a function of blocks where these are features."""

    answer: Answer
    mapping: Splitting

    def __call__(self, block: Block) -> NDArray[Any]:
        return checked_answer(self.mapping(block), self.answer)


class MeasuredSource(MappedSource):
    """Rows of a source that are features, errors and correlations side by side."""

    mapping: Splitting

    has_errors = True

    @property
    def nan(self) -> NanRule:
        """What becomes of rows with a NaN among the features."""
        return self.mapping.nan

    def with_nan(self, nan: NanRule) -> Source:
        """Return the same rows under another rule."""
        return split(self.source, replace(self.mapping, nan=nan))

    def apply(self, answer: Answer) -> Any:
        """Return the answer for the rows with their errors, as the source gives it back.

        Its blocks are checked once they are taken apart: as a feature, an infinite error would be refused,
        and a negative one would not.
        """
        function = _OfMeasured(answer, self.mapping)
        return self.source.apply(replace(answer, function=function, checks=True))

    def _of(self, source: Source) -> Source:
        return split(source, self.mapping)

    def __repr__(self) -> str:
        return f"MeasuredSource({self.source!r}, features={self.n_features}, {self.dtype})"


def split(source: Source, splitting: Splitting) -> MeasuredSource:
    """Return rows with errors of a source that has all of it as features."""
    measured = map_source(with_nan_rule(source, "keep"), splitting, MeasuredSource)
    assert isinstance(measured, MeasuredSource)
    return measured


def split_source(
    source: Source,
    n_features: int,
    correlations: Sequence[tuple[Any, Any]] = (),
    nan: NanRule = "error",
) -> MeasuredSource:
    """Return rows whose features come first, then as many errors, then correlations of the pairs given."""
    names = source.feature_names
    own = None if names is None else names[:n_features]
    pairs = tuple(pair_of(pair, n_features, own) for pair in correlations)
    return split(source, Splitting(n_features, source.dtype, own, pairs, nan))


def error_columns(
    values: NDArray[Any], n_features: int, pairs: Sequence[tuple[int, int]]
) -> dict[str, NDArray[np.float64]]:
    """Return columns of errors, then correlations, by the names that blocks have for them."""
    names = [error_column(j) for j in range(n_features)] + [correlation_column(*pair) for pair in pairs]
    return {
        name: np.ascontiguousarray(values[:, number], dtype=np.float64) for number, name in enumerate(names)
    }


def pair_of(pair: tuple[Any, Any], n_features: int, names: Sequence[str] | None) -> tuple[int, int]:
    """Return the numbers of two features, the smaller one first.

    Raises
    ------
    ValueError
        They are not two features.
    """
    found = []
    for feature in pair:
        number = feature_number(feature, names, n_features)
        if number is None:
            raise ValueError(f"Correlations name {feature!r}, which is no feature: {names or n_features}.")
        found.append(number)
    first, second = sorted(found)
    if first == second:
        raise ValueError(f"Correlations name the pair {pair!r}, which is one feature.")
    return first, second
