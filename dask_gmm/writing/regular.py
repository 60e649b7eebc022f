"""Chunks of one length, which a Zarr array needs, made of chunks of any lengths."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from itertools import accumulate
from typing import Any, cast

import numpy as np

from dask_gmm.data.collections import DaskArraySource
from dask_gmm.data.grid import SampleGrid
from dask_gmm.data.source import Block, Chunk, Source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.writing.chosen import ChosenChunks


def on_regular_grid(source: Source) -> tuple[Source, Any]:
    """Return the source in chunks that a Zarr array can have, and their grid."""
    grid = getattr(source, "grid", None)
    if grid is not None and _is_regular(grid):
        return source, grid
    unlabelled = getattr(source, "unlabelled", source)
    if isinstance(unlabelled, DaskArraySource):
        return _rechunked(unlabelled)
    if len(source.sample_shape) != 1:
        raise ValueError(
            f"The chunks of {source!r} have several lengths along an axis, and those of a Zarr array must "
            "not: give X as a dask array with regular chunks."
        )
    n_rows = [chunk.n_rows for chunk in source.chunks]
    if None in n_rows:
        counted: dict[int, int]
        everything = cast(Source, ChosenChunks(source, range(len(n_rows))))
        with closing(choose_engine(everything, cache=False)) as engine:
            (counted,) = engine.run([_CountRows()])
        n_rows = [counted[index] for index in range(len(n_rows))]
    known = [n for n in n_rows if n is not None]
    grid = _table_grid(known)
    if grid is not None and len(grid) == len(known):
        return source, grid
    even = EvenRows(source, known)
    return cast(Source, even), _table_grid([chunk.n_rows for chunk in even.chunks if chunk.n_rows])


def _rechunked(source: DaskArraySource) -> tuple[Source, Any]:
    if source.grid is None:
        raise ValueError("The chunks of X have unknown sizes; call X.compute_chunk_sizes() first.")
    sizes = {axis: max(sizes) for axis, sizes in enumerate(source.x.chunks)}
    rechunked = DaskArraySource(source.x.rechunk(sizes), source.feature_axis, source.nan)
    return rechunked, rechunked.grid


def _table_grid(n_rows: Sequence[int]) -> SampleGrid | None:
    """Return the grid of a table with chunks of these lengths, None if they are not regular."""
    grid = SampleGrid.irregular([n_rows]) if n_rows else SampleGrid.regular((0,), (1,))
    return grid if _is_regular(grid) else None


def _is_regular(grid: SampleGrid) -> bool:
    """Tell whether all cells are equal but the last along each axis."""
    return all(isinstance(starts, range) for starts in grid.starts)


class _CountRows:
    """A reduction to the number of rows of each chunk; its blocks are `NumberedBlock`."""

    def start(self) -> dict[int, int]:
        return {}

    def add(self, value: dict[int, int], block: Any) -> dict[int, int]:
        return {**value, block.index: len(block.rows if block.kept is None else block.kept)}

    def merge(self, values: Sequence[dict[int, int]]) -> dict[int, int]:
        return {index: n_rows for value in values for index, n_rows in value.items()}


class EvenRows:
    """A table whose chunks have any lengths, in chunks of one length; the last may be shorter.

    A chunk of the table that lies across a border is read for both sides, unless one reader has both.

    Parameters
    ----------
    source : Source
        With one sample axis.
    n_rows : sequence of int
        Of each of its chunks.
    """

    def __init__(self, source: Source, n_rows: Sequence[int]) -> None:
        self._source = source
        self._starts = list(accumulate(n_rows, initial=0))
        self.length = max(n_rows, default=1) or 1
        # A reader holds the chunk that it cut last.
        self.in_memory, self.stored = source.in_memory, False
        row_bytes = source.n_features * source.dtype.itemsize
        total = self._starts[-1]
        self.chunks = [
            Chunk(f"rows {first} to {stop - 1}", stop - first, (stop - first) * row_bytes)
            for first in range(0, total, self.length)
            for stop in [min(first + self.length, total)]
        ]

    def reader(self, indices: Sequence[int]) -> EvenReader:
        """Return a reader of the even chunks `indices`."""
        parts = {index: self._parts(index) for index in indices}
        return EvenReader(self._source.reader(self._uneven(indices)), parts, self.length)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that they are computed from."""
        return self._source.futures(self._uneven(indices))

    def _uneven(self, indices: Sequence[int]) -> list[int]:
        return sorted({chunk for index in indices for chunk, _, _ in self._parts(index)})

    def _parts(self, index: int) -> list[tuple[int, int, int]]:
        """Return which chunks even chunk `index` is made of, and from which to which of their rows."""
        first = index * self.length
        stop = min(first + self.length, self._starts[-1])
        return list(self._overlaps(first, stop))

    def _overlaps(self, first: int, stop: int) -> Iterator[tuple[int, int, int]]:
        chunk = bisect_right(self._starts, first) - 1
        while chunk < len(self._starts) - 1 and self._starts[chunk] < stop:
            start, end = self._starts[chunk], self._starts[chunk + 1]
            if end > max(start, first):
                yield chunk, max(first - start, 0), min(stop, end) - start
            chunk += 1


class EvenReader:
    """Reads chunks of a table and cuts them anew.

    Parameters
    ----------
    reader : Reader
        Of the table.
    parts : mapping of int to list of (int, int, int)
        For each even chunk the table's chunks, and from which to which of their rows; in ascending order.
    length : int
        Of an even chunk.
    """

    def __init__(self, reader: Any, parts: Mapping[int, list[tuple[int, int, int]]], length: int) -> None:
        self._reader, self._parts, self._length = reader, parts, length
        self._last: tuple[int, Block] | None = None

    def read(self, index: int) -> Block:
        """Read even chunk `index`."""
        pieces, names = [], []
        for chunk, first, stop in self._parts[index]:
            block = self._block(chunk)
            pieces.append(block.rows[first:stop])
            names.append(block.name)
        if index == max(self._parts):
            self._last = None
        rows = pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
        start = index * self._length
        return Block(rows, None, lambda: np.arange(start, start + len(rows)), None, " and ".join(names))

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self._reader.supply(results)

    def _block(self, chunk: int) -> Block:
        # The next even chunk mostly begins where this one ends.
        if self._last is None or self._last[0] != chunk:
            self._last = None
            self._last = chunk, self._reader.read(chunk)
        return self._last[1]
