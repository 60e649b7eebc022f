"""Rows drawn at random to start from: the same ones for any chunks, workers and order of arrival."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import SAMPLE_WEIGHT, AlignedColumns

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Sample:
    """Rows drawn uniformly, or all of them where they fit.

    Attributes
    ----------
    rows : ndarray of shape (m, n_features)
        In row order, in the dtype of the data.
    columns : mapping of str to ndarray of length m
        The aligned columns of these rows, by name.
    keys : ndarray of shape (m,), uint64, or None
        What decided that a row was drawn; None for all rows.
    """

    rows: NDArray[Any]
    columns: AlignedColumns = field(default_factory=dict)
    keys: NDArray[np.uint64] | None = None

    @property
    def weights(self) -> Array | None:
        """Sample weights of shape (m,), None where all are one."""
        return self.columns.get(SAMPLE_WEIGHT)

    def keyed(self, seed: int) -> Sample:
        """Return all rows of a fit with the keys that a survey would have drawn them by."""
        keys = Sampling(len(self.rows), seed, len(self.rows)).keys(np.arange(len(self.rows)))
        return replace(self, keys=keys)

    def narrowed(self, sampling: Sampling) -> Sample:
        """Return what would have been drawn with a smaller limit."""
        if self.keys is None:
            return self
        drawn = np.flatnonzero(self.keys <= sampling.threshold)
        if len(drawn) > sampling.limit:
            smallest = np.argpartition(self.keys[drawn], sampling.limit)[: sampling.limit]
            drawn = drawn[np.sort(smallest)]
        return Sample(self.rows[drawn], _taken(self.columns, drawn), self.keys[drawn])

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
    """Candidates for the sample: as many rows as the limit, with their aligned columns and keys."""

    numbers: NDArray[np.int64]
    keys: NDArray[np.uint64]
    rows: NDArray[Any]
    columns: AlignedColumns

    @classmethod
    def joined(cls, parts: Sequence[Drawn], limit: int) -> Drawn:
        """Return the `limit` smallest keys of all parts."""
        keys = np.concatenate([part.keys for part in parts])
        drawn = cls(
            np.concatenate([part.numbers for part in parts]),
            keys,
            np.concatenate([part.rows for part in parts]),
            {name: np.concatenate([part.columns[name] for part in parts]) for name in parts[0].columns},
        )
        if len(keys) <= limit:
            return drawn
        return drawn.chosen(np.argpartition(keys, limit)[:limit])

    def chosen(self, which: NDArray[Any]) -> Drawn:
        """Return the rows `which`."""
        return Drawn(self.numbers[which], self.keys[which], self.rows[which], _taken(self.columns, which))


def _taken(columns: AlignedColumns, which: NDArray[Any]) -> AlignedColumns:
    return {name: column[which] for name, column in columns.items()}
