"""The cells of a grid as chunks: a rule, whatever their number."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import overload

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Chunk


class GridChunks(Sequence[Chunk]):
    """Describes each cell when it is asked for, so that a million of them cost nothing until then.

    Parameters
    ----------
    grid : SampleGrid
    row_bytes : int
        Of a row in memory.
    name : callable
        Maps the number of a cell to its name.
    """

    def __init__(self, grid: SampleGrid, row_bytes: int, name: Callable[[int], str]) -> None:
        self._grid, self._row_bytes, self._name = grid, row_bytes, name

    def __len__(self) -> int:
        return len(self._grid)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        # A range refuses what is not there, and counts from the end.
        found = range(len(self))[index]
        return [self._chunk(each) for each in found] if isinstance(found, range) else self._chunk(found)

    def _chunk(self, index: int) -> Chunk:
        n_rows = self._grid.n_rows(index)
        return Chunk(self._name(index), n_rows, n_rows * self._row_bytes)

    def byte_counts(self) -> NDArray[np.int64]:
        """Return the bytes of each chunk's rows."""
        return self._grid.row_counts() * self._row_bytes

    def __repr__(self) -> str:
        """Tell all that they depend on."""
        ends = f", {self._name(0)!r} to {self._name(len(self) - 1)!r}" if len(self) else ""
        return f"GridChunks({self._grid!r}, {self._row_bytes} bytes a row{ends})"
