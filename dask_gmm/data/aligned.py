"""Columns beside the rows of any source: sample weights, and what else is known of each row.

Whatever a column is given as, it becomes a source of one feature whose chunks are those of the rows, so that
a worker reads both with the same number. Sources know nothing of it, except those that have a better way
(`dask_gmm.data.abilities.TakesColumns`), for a column in the same files or partitions, or in memory.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.abilities import CountsRows, HasErrors, HasNanRule, TakesColumns, nan_rule_of
from dask_gmm.data.aligned_grid import column_on_grid
from dask_gmm.data.aligned_table import column_of_table, needs_row_counts
from dask_gmm.data.checks import check_length
from dask_gmm.data.looking import LookingMixin
from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import SAMPLE_WEIGHT, Answer, Block, Reader, Source


def with_weights(source: Source, sample_weight: Any) -> Source:
    """Return the same rows with sample weights; see `with_column`."""
    return with_column(source, SAMPLE_WEIGHT, sample_weight)


def with_column(source: Source, name: str, values: Any) -> Source:
    """Return the same rows with one more column, or with another one of that name, in every block.

    Parameters
    ----------
    source : Source
    name : str
        Of the column in ``Block.columns``; errors use it too.
    values : array-like, dask array, dask Series, Source of one feature, or what the source itself takes
        One value for each row, aligned by sample position: of the shape of the samples, or flat. Where
        the axes of both have names, they are laid out by them. Lazy ones are aligned chunk by chunk; where
        that cannot be, the rows of each chunk are counted first, which reads or computes X once.

    Raises
    ------
    DataError
        Wrong length or dimensions where they are known; otherwise at the first read of the chunk that
        differs. Values are not checked here, but in the first pass.
    ValueError, TypeError
        Values of several dimensions where one is meant, or that are not real numbers.
    """
    columns: dict[str, Source] = {}
    if isinstance(source, AlignedSource):
        columns = {other: column for other, column in source.columns.items() if other != name}
        source = source.source
    if isinstance(source, TakesColumns):
        source, values = source.take_column(name, values)
    if values is not None:
        source, columns[name] = _aligned(source, name, values)
    return AlignedSource(source, columns) if columns else source


def _aligned(source: Source, name: str, values: Any) -> tuple[Source, Source]:
    """Return the source, which may have counted its rows, and the column in its chunks."""
    if source.grid is not None:
        return source, column_on_grid(values, source.grid, source.dims, name)
    n_rows: Sequence[int | None] = [chunk.n_rows for chunk in source.chunks]
    unknown = None in n_rows and len(source.sample_shape) == 1
    if unknown and isinstance(source, CountsRows) and needs_row_counts(values, len(n_rows)):
        source, n_rows = source.counted()
    return source, column_of_table(values, n_rows, name)


def with_nan_rule(source: Source, nan: NanRule) -> Source:
    """Return the same rows under another rule for those that have a NaN or a null; see `HasNanRule`.

    Raises
    ------
    TypeError
        A source of somebody else's that has no way to.
    """
    if not isinstance(source, HasNanRule):
        raise TypeError(f'{type(source).__name__} has no method with_nan, which nan="{nan}" needs.')
    return source.with_nan(nan)


class AlignedSource(LookingMixin):
    """Rows of one source with columns of others beside them; `with_column` makes it.

    Parameters
    ----------
    source : Source
    columns : mapping of str to Source
        Of one feature each, in the same chunks.
    """

    def __init__(self, source: Source, columns: Mapping[str, Source]) -> None:
        self.source, self.columns = source, columns
        self.n_features, self.dtype = source.n_features, source.dtype
        self.feature_names, self.chunks = source.feature_names, source.chunks
        self.sample_shape, self.numbered = source.sample_shape, source.numbered
        self.grid, self.dims = source.grid, source.dims
        self.in_memory, self.stored = source.in_memory, source.stored

    def reader(self, indices: Sequence[int]) -> AlignedReader:
        """Return a reader of the rows and of the columns."""
        columns = {name: column.reader(indices) for name, column in self.columns.items()}
        return AlignedReader(self.source.reader(indices), columns)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that rows or columns are computed from."""
        sources = (self.source, *self.columns.values())
        return {key: future for each in sources for key, future in each.futures(indices).items()}

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a row or a value does, None where only reading would tell."""
        return self.source.fingerprint(*(own.fingerprint() for own in self.columns.values()), *columns)

    @property
    def has_errors(self) -> bool:
        """Whether the rows have errors."""
        return isinstance(self.source, HasErrors) and self.source.has_errors

    @property
    def nan(self) -> NanRule:
        """What becomes of rows with a NaN or a null."""
        return nan_rule_of(self.source)

    def with_nan(self, nan: NanRule) -> Source:
        """Return the same rows and columns under another rule for a NaN or a null."""
        return AlignedSource(with_nan_rule(self.source, nan), self.columns)

    def apply(self, answer: Answer) -> Any:
        """Return the answer for the rows, of which the columns are no part."""
        return self.source.apply(answer)

    def __repr__(self) -> str:
        return f"AlignedSource({self.source!r}, {', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class AlignedReader:
    """Reads rows and their columns together.

    Attributes
    ----------
    rows : Reader
    columns : mapping of str to Reader
    """

    rows: Reader
    columns: Mapping[str, Reader]

    def read(self, index: int) -> Block:
        """Read chunk `index`; raises DataError where a column has more or fewer values than X has rows."""
        block = self.rows.read(index)
        columns = {name: self._column(name, index, block) for name in self.columns}
        return replace(block, columns={**block.columns, **columns})

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        for reader in (self.rows, *self.columns.values()):
            reader.supply(results)

    def _column(self, name: str, index: int, block: Block) -> NDArray[np.float64]:
        values = np.ascontiguousarray(self.columns[name].read(index).rows[:, 0], dtype=np.float64)
        check_length(name, values, block.n_positions, block.name)
        return values if block.kept is None else values[block.kept]
