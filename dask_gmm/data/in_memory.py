"""Rows in this process's memory: a NumPy array, cut into blocks that are views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.parallel import Threads
from dask_gmm.data.rows import NanRule
from dask_gmm.data.scheduler import computed
from dask_gmm.data.source import SAMPLE_WEIGHT, AlignedColumns, Answer, Block, Chunk, error_column
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import extended, of_array

# As many blocks balance any usual number of threads, ...
_BLOCKS = 64
# ... unless they would take less than about a millisecond, for some 30 microseconds of Python, ...
_LEAST_BYTES = 1 << 20
# ... or a thread that ends last would let the others wait.
_MOST_BYTES = 16 << 20


class ArraySource(BaseSource):
    """A validated array in memory.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float32 or float64
    columns : mapping of str to ndarray of shape (n,), float64, optional
        Aligned columns by name.
    feature_names : tuple of str, optional
    kept : ndarray of shape (m,), bool, optional
        Which positions these rows have among the m that were given; without it, all.
    holes : bool
        Whether a NaN means that a value was not observed.
    """

    numbered = True
    in_memory = True

    def __init__(
        self,
        rows: NDArray[Any],
        columns: AlignedColumns | None = None,
        feature_names: tuple[str, ...] | None = None,
        kept: NDArray[np.bool_] | None = None,
        *,
        holes: bool = False,
    ) -> None:
        self.rows, self.kept, self.holes = rows, kept, holes
        self.columns = {} if columns is None else columns
        self.feature_names = feature_names
        self.n_features = int(rows.shape[1])
        self.dtype = rows.dtype
        self.sample_shape = (len(rows),)
        row_bytes = max(1, self.n_features * rows.itemsize)
        block_bytes = min(max(_LEAST_BYTES, rows.nbytes // _BLOCKS), _MOST_BYTES)
        # An even number of equal blocks, for two threads or four.
        n_blocks = 2 * round(rows.nbytes / block_bytes / 2) or 1
        self._block_rows = max(1, -(-len(rows) // n_blocks))
        self.chunks = [
            Chunk(
                f"rows {part.start} to {part.stop - 1}",
                part.stop - part.start,
                row_bytes * (part.stop - part.start),
            )
            for part in _parts(len(rows), self._block_rows)
        ]

    def reader(self, indices: Sequence[int]) -> ArraySource:
        """Return the source itself: nothing travels."""
        return self

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the rows are here."""

    @property
    def has_errors(self) -> bool:
        """Whether errors are among the columns."""
        return error_column(0) in self.columns

    @property
    def n_given(self) -> int:
        """Number of positions: of rows, and of those that were dropped."""
        return len(self.rows if self.kept is None else self.kept)

    @property
    def weights(self) -> NDArray[np.float64] | None:
        """Sample weights of shape (n,), None where all are one."""
        return self.columns.get(SAMPLE_WEIGHT)

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a value does."""
        return extended(of_array(self.rows), *map(of_array, self.columns.values()), *columns)

    def read(self, index: int) -> Block:
        """Return a view of block `index`."""
        first = index * self._block_rows
        return self._part(slice(first, first + self._block_rows), index)

    def _part(self, part: slice, index: int) -> Block:
        rows = self.rows[part]
        return Block(
            rows=rows,
            name=self.chunks[index].name,
            index=index,
            numbers=lambda: np.arange(part.start, part.start + len(rows)),
            columns={name: column[part] for name, column in self.columns.items()},
            holes=self.holes,
        )

    def take_column(self, name: str, values: Any) -> tuple[ArraySource, None]:
        """Return the same rows with the column; a lazy one is computed."""
        if hasattr(values, "compute"):
            values = computed(values)
        refuse_masked(values, name)
        column = np.asarray(values, dtype=np.float64)
        if column.ndim != 1:
            raise ValueError(f"{name} must be one-dimensional, got an array of {column.ndim} dimensions.")
        if len(column) != len(self.rows):
            raise DataError(
                f"{name} has {len(column)} values, X has {len(self.rows)} rows: give one for each row."
            )
        columns = {**self.columns, name: column}
        return ArraySource(self.rows, columns, self.feature_names, self.kept, holes=self.holes), None

    @property
    def nan(self) -> NanRule:
        """What became of rows with a NaN."""
        return "keep" if self.holes else "error" if self.kept is None else "drop"

    def with_nan(self, nan: NanRule) -> ArraySource:
        """Return the rows with holes, or without those that have a NaN; answers have their positions."""
        if nan != "drop":
            return ArraySource(self.rows, self.columns, self.feature_names, self.kept, holes=nan == "keep")
        kept = ~np.isnan(self.rows).any(axis=1)
        columns = {name: column[kept] for name, column in self.columns.items()}
        return ArraySource(self.rows[kept], columns, self.feature_names, kept)

    def apply(self, answer: Answer) -> NDArray[Any]:
        """Return the answer for all rows, block by block on this process's threads."""
        shape = (len(self.rows),) if answer.n_columns is None else (len(self.rows), answer.n_columns)
        result = np.empty(shape, dtype=answer.dtype)
        # The result of a block is held twice for a moment: it too should be small.
        row_bytes = self.n_features * self.rows.itemsize + (answer.n_columns or 1) * answer.dtype.itemsize
        parts = _parts(len(self.rows), max(1, _LEAST_BYTES // row_bytes))

        def fill(number: int) -> None:
            part = parts[number]
            result[part] = answer.function(self._part(part, part.start // self._block_rows))

        with closing(Threads()) as threads:
            threads.run(len(parts), fill)
        if self.kept is None:
            return result
        filled = np.full((len(self.kept), *shape[1:]), answer.missing, dtype=answer.dtype)
        filled[self.kept] = result
        return filled


def _parts(n_rows: int, block_rows: int) -> list[slice]:
    return [slice(first, min(first + block_rows, n_rows)) for first in range(0, n_rows, block_rows)]
