"""The rows of a table in other chunks than its source has."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.source import Block, Chunk, Reader, Source


class RecutRows(BaseSource):
    """A table in chunks of given lengths, made of a source's chunks of other lengths.

    Only the rows: columns are aligned with the new chunks, not cut with the old ones. A chunk of the source
    that lies across a border is read for both sides, unless one reader has both.

    Parameters
    ----------
    source : Source
        With one sample axis.
    n_rows : sequence of int
        Of each of its chunks.
    lengths : sequence of int
        Of the chunks wanted; as many rows in all.
    """

    numbered = True

    def __init__(self, source: Source, n_rows: Sequence[int], lengths: Sequence[int]) -> None:
        self._source = source
        self._starts = list(accumulate(n_rows, initial=0))
        self._bounds = list(accumulate(lengths, initial=0))
        self.n_features, self.dtype = source.n_features, source.dtype
        self.feature_names = source.feature_names
        self.sample_shape, self.dims = (sum(lengths),), source.dims
        # A reader holds the chunk that it cut last: one thread at a time may read.
        self.in_memory, self.stored = source.in_memory, False
        row_bytes = source.n_features * source.dtype.itemsize
        self.chunks = [
            Chunk(f"rows {first} to {first + length - 1}", length, length * row_bytes)
            for first, length in zip(self._bounds, lengths, strict=False)
        ]

    def reader(self, indices: Sequence[int]) -> RecutReader:
        """Return a reader of the new chunks `indices`."""
        parts = {index: self._parts(index) for index in indices}
        firsts = {index: self._bounds[index] for index in indices}
        empty = np.empty((0, self.n_features), dtype=self._source.dtype)
        return RecutReader(self._source.reader(self._uncut(indices)), parts, firsts, empty)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that they are computed from."""
        return self._source.futures(self._uncut(indices))

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return the source's."""
        return self._source.fingerprint(*columns)

    def _uncut(self, indices: Sequence[int]) -> list[int]:
        return sorted({chunk for index in indices for chunk, _, _ in self._parts(index)})

    def _parts(self, index: int) -> list[tuple[int, int, int]]:
        """Return which chunks new chunk `index` is made of, and from which to which of their rows."""
        return list(self._overlaps(*self._bounds[index : index + 2]))

    def _overlaps(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        chunk = bisect_right(self._starts, first) - 1
        while chunk < len(self._starts) - 1 and self._starts[chunk] < stop:
            start, end = self._starts[chunk], self._starts[chunk + 1]
            if end > max(start, first):
                yield chunk, max(first - start, 0), min(stop, end) - start
            chunk += 1


class RecutReader:
    """Reads chunks of a table and cuts them anew.

    Parameters
    ----------
    reader : Reader
        Of the table.
    parts : mapping of int to list of (int, int, int)
        For each new chunk the table's chunks, and from which to which of their rows; in ascending order.
    firsts : mapping of int to int
        The number of each new chunk's first row.
    empty : ndarray of shape (0, n_features)
        What a new chunk without rows is.
    """

    def __init__(
        self,
        reader: Reader,
        parts: Mapping[int, list[tuple[int, int, int]]],
        firsts: Mapping[int, int],
        empty: NDArray[Any],
    ) -> None:
        self._reader, self._parts, self._firsts, self._empty = reader, parts, firsts, empty
        self._last: tuple[int, Block] | None = None

    def read(self, index: int) -> Block:
        """Read new chunk `index`."""
        pieces, names = [], []
        for chunk, first, stop in self._parts[index]:
            block = self._block(chunk)
            pieces.append(block.rows[first:stop])
            names.append(block.name)
        if index == max(self._parts):
            self._last = None
        rows = pieces[0] if len(pieces) == 1 else np.concatenate([self._empty, *pieces])
        start = self._firsts[index]
        return Block(
            rows=rows,
            name=" and ".join(names),
            index=index,
            numbers=lambda: np.arange(start, start + len(rows)),
        )

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self._reader.supply(results)

    def _block(self, chunk: int) -> Block:
        # The next new chunk mostly begins where this one ends.
        if self._last is None or self._last[0] != chunk:
            self._last = None
            self._last = chunk, self._reader.read(chunk)
        return self._last[1]
