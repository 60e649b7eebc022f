"""Chunks of one length, which a Zarr array needs, made of chunks of any lengths."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import closing
from typing import Any, cast

from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.recut import RecutRows
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Block, Source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.writing.chunk_subset import ChosenChunks


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
    lengths = _even(known)
    return cast(Source, RecutRows(source, known, lengths)), _table_grid(lengths)


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


def _even(n_rows: Sequence[int]) -> list[int]:
    """Return the lengths of equal chunks, the last may be shorter, for as many rows."""
    total, length = sum(n_rows), max(n_rows, default=1) or 1
    return [min(length, total - first) for first in range(0, total, length)]


def _is_regular(grid: SampleGrid) -> bool:
    """Tell whether all cells are equal but the last along each axis."""
    return all(isinstance(starts, range) for starts in grid.starts)


class _CountRows:
    """A reduction to the number of rows of each chunk."""

    def zero(self) -> dict[int, int]:
        return {}

    def update(self, value: dict[int, int], block: Block) -> dict[int, int]:
        return {**value, block.index: block.n_positions}

    def combine(self, values: Sequence[dict[int, int]]) -> dict[int, int]:
        return {index: n_rows for value in values for index, n_rows in value.items()}
