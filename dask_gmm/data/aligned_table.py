"""A column of a table: matched with its rows chunk by chunk, or cut in the same chunks."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np

from dask_gmm.data.abilities import CountsRows
from dask_gmm.data.column_in_memory import ColumnInMemory
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.imported import is_instance
from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.recut import RecutRows
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Source, is_source
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import extended, joined, of_array


def column_of_table(values: Any, n_rows: Sequence[int | None], name: str) -> Source:
    """Return the column as a source whose chunks have `n_rows` rows.

    Parameters
    ----------
    values : array-like, dask array, dask Series, or Source of one feature
        Arrays in memory need known row counts, and so do lazy ones in another number of chunks; else what is
        lazy is aligned chunk by chunk without them.
    n_rows : sequence of int or None
        Rows of each chunk of X, None where unknown.
    name : str
        What errors call the column.

    Raises
    ------
    DataError
        The lengths or chunks do not agree.
    """
    column = _cut_anew(_as_source(values, n_rows, name), n_rows, name)
    _check_chunks(column, n_rows, name)
    return column


def needs_row_counts(values: Any, n_chunks: int) -> bool:
    """Tell whether a column can only be aligned with `n_chunks` chunks whose rows were counted.

    So it is for one in memory, and for a lazy one in another number of chunks.
    """
    if is_instance(values, "dask.dataframe", "Series"):
        return len(_of_series(values, "").chunks) != n_chunks
    if isinstance(values, da.Array):
        return bool(values.ndim == 1 and values.numblocks[0] != n_chunks)
    return not is_source(values) or len(values.chunks) != n_chunks


def check_one_feature(column: Source, name: str) -> None:
    """Raise DataError if a column has several features."""
    if column.n_features != 1:
        raise DataError(f"{name} has {column.n_features} columns; it needs one.")


def _as_source(values: Any, n_rows: Sequence[int | None], name: str) -> Source:
    if isinstance(values, da.Array):
        return _of_dask_array(values, n_rows, name)
    if is_instance(values, "dask.dataframe", "Series"):
        return _of_series(values, name)
    if is_source(values):
        return values
    refuse_masked(values, name)
    array = np.asarray(values)
    if array.dtype.kind == "c":
        raise ValueError(f"Complex data not supported: {name} has dtype {array.dtype}.")
    array = _one_dimensional(array.astype(np.float64), name)
    counts = [count for count in n_rows if count is not None]
    if len(counts) < len(n_rows):
        raise DataError(f"The rows of X are not counted; give {name} as a lazy collection with its chunks.")
    _check_length(len(array), n_rows, name)
    return _TableColumn(array, SampleGrid.irregular([counts]), name)


class _TableColumn(ColumnInMemory):
    """A column of a table in memory."""

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a value or a chunk does; checkpoints have it."""
        parts = (self.values[self.grid.region(index)] for index in range(len(self.grid)))
        return extended(joined(*map(of_array, parts)), *columns)


def _of_dask_array(values: da.Array, n_rows: Sequence[int | None], name: str) -> Source:
    values = _one_dimensional(values, name)
    if None not in n_rows and not math.isnan(values.shape[0]):
        _check_length(len(values), n_rows, name)
        values = values.rechunk((tuple(n_rows),))
    return DaskArraySource(values[:, None])


def _of_series(values: Any, name: str) -> Source:
    # dask.dataframe takes long to import, and whoever has a Series has done so.
    from dask_gmm.data.dask_dataframe import DaskFrameSource

    return DaskFrameSource(values.to_frame(name=name))


def _cut_anew(column: Source, n_rows: Sequence[int | None], name: str) -> Source:
    """Return a column that has another number of chunks in those of X, where its rows are known."""
    wanted = [count for count in n_rows if count is not None]
    if column.n_features != 1 or len(column.chunks) == len(n_rows) or len(wanted) < len(n_rows):
        return column
    counts = [chunk.n_rows for chunk in column.chunks if chunk.n_rows is not None]
    if len(counts) < len(column.chunks):
        if not isinstance(column, CountsRows):
            return column
        column, counted = column.counted()
        counts = [*counted]
    _check_length(sum(counts), n_rows, name)
    return RecutRows(column, counts, wanted)


def _one_dimensional(values: Any, name: str) -> Any:
    if values.ndim != 1:
        raise ValueError(
            f"{name} must be one-dimensional, a value for each row; it has {values.ndim} dimensions."
        )
    return values


def _check_length(length: int, n_rows: Sequence[int | None], name: str) -> None:
    total = sum(count for count in n_rows if count is not None)
    if length != total:
        raise DataError(f"{name} has {length} values, X has {total} rows: give one for each row.")


def _check_chunks(column: Source, n_rows: Sequence[int | None], name: str) -> None:
    check_one_feature(column, name)
    if len(column.chunks) != len(n_rows):
        raise DataError(
            f"{name} has {len(column.chunks)} chunks, X has {len(n_rows)}, and they can only be "
            "matched chunk by chunk. Make it from the same data, for example as one of its columns."
        )
    for chunk, count in zip(column.chunks, n_rows, strict=True):
        if count is not None and chunk.n_rows is not None and count != chunk.n_rows:
            raise DataError(f"{name} has {chunk.n_rows} values in {chunk.name}, where X has {count} rows.")
