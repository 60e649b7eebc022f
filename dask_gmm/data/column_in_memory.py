"""A column in this process's memory, cut like the rows that it belongs to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Block
from dask_gmm.storage.fingerprint import extended, of_array


class ColumnInMemory(BaseSource):
    """One value for each row, of which each group of chunks gets its part.

    Parameters
    ----------
    values : ndarray
        Of the shape of the samples.
    grid : SampleGrid
        Of the rows.
    name : str
        What errors call the column.
    """

    n_features = 1
    numbered = True
    grid: SampleGrid

    def __init__(self, values: NDArray[Any], grid: SampleGrid, name: str) -> None:
        self.values, self.grid, self.name = values, grid, name
        self.dtype = np.dtype(np.float64)
        self.sample_shape = grid.shape
        self.chunks = GridChunks(grid, 8, (name + " of chunk {}").format)

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a value does."""
        return extended(of_array(self.values), *columns)

    def reader(self, indices: Sequence[int]) -> ColumnReader:
        """Return a reader that has the values of the chunks `indices`."""
        parts = {index: self.values[self.grid.region(index)] for index in indices}
        return ColumnReader(parts, self.grid, self.name)


@dataclass(frozen=True, slots=True)
class ColumnReader:
    """Gives the parts of a column that travelled with it.

    Attributes
    ----------
    parts : mapping of int to ndarray
    grid : SampleGrid
    name : str
    """

    parts: Mapping[int, NDArray[Any]]
    grid: SampleGrid
    name: str

    def read(self, index: int) -> Block:
        """Return the values of chunk `index`."""
        rows = self.parts[index].reshape(-1, 1).astype(np.float64, copy=False)
        numbers = partial(self.grid.numbers, index)
        return Block(rows=rows, name=f"{self.name} of chunk {index}", index=index, numbers=numbers)

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the values are here."""
