"""Chunks of one length, which a Zarr array needs, made of chunks of any lengths."""

from __future__ import annotations

from collections.abc import Sequence

from dask_gmm.data.abilities import Rechunkable
from dask_gmm.data.aligned import AlignedSource
from dask_gmm.data.recut import RecutRows
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Block, Source
from dask_gmm.engine.one_pass import one_pass


def on_regular_grid(source: Source) -> tuple[Source, SampleGrid]:
    """Return the rows in chunks that a Zarr array can have, and their grid.

    Raises
    ------
    ValueError
        The chunks have unknown sizes, or several along an axis, and cannot be cut anew.
    """
    if source.grid is not None and source.grid.is_regular:
        return source, source.grid
    # Predictions do not depend on the columns.
    rows = source.source if isinstance(source, AlignedSource) else source
    if isinstance(rows, Rechunkable):
        rechunked = rows.regularly_chunked()
        assert rechunked.grid is not None
        return rechunked, rechunked.grid
    if len(rows.sample_shape) != 1:
        raise ValueError(
            f"The chunks of {rows!r} have several lengths along an axis, and those of a Zarr array must "
            "not: give X as a dask array with regular chunks."
        )
    n_rows = _row_counts(rows)
    grid = SampleGrid.irregular([n_rows])
    if n_rows and grid.is_regular:
        return rows, grid
    lengths = _even(n_rows)
    regular = RecutRows(rows, n_rows, lengths)
    return regular, SampleGrid.regular((sum(n_rows),), (max(lengths, default=1),))


def _row_counts(source: Source) -> list[int]:
    """Return the number of rows of each chunk, of which a pass counts them all if one is not known."""
    known = [chunk.n_rows for chunk in source.chunks if chunk.n_rows is not None]
    if len(known) == len(source.chunks):
        return known
    counted = one_pass(source, _CountRows())
    return [counted[index] for index in range(len(source.chunks))]


def _even(n_rows: Sequence[int]) -> list[int]:
    """Return the lengths of equal chunks, the last may be shorter, for as many rows."""
    total, length = sum(n_rows), max(n_rows, default=1) or 1
    return [min(length, total - first) for first in range(0, total, length)]


class _CountRows:
    """A reduction to the number of rows of each chunk."""

    def zero(self) -> dict[int, int]:
        return {}

    def update(self, value: dict[int, int], block: Block) -> dict[int, int]:
        return {**value, block.index: block.n_positions}

    def combine(self, values: Sequence[dict[int, int]]) -> dict[int, int]:
        return {index: n_rows for value in values for index, n_rows in value.items()}
