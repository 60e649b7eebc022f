"""Rows in a dask DataFrame: one chunk is a partition."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from itertools import accumulate
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
from dask._expr import Expr
from numpy.typing import NDArray

from dask_gmm.data.answers import checked_answer
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.checks import check_length
from dask_gmm.data.dask_graphs import ChunkGraphs, GraphReader
from dask_gmm.data.frame_columns import (
    column_values,
    frame_names,
    frame_rows,
    refuse_other_columns,
    rows_dtype,
)
from dask_gmm.data.frame_partitions import can_be_paired, optimized, paired
from dask_gmm.data.rows import NanRule, under_nan_rule, unknown_numbers
from dask_gmm.data.source import Answer, Block, Chunk
from dask_gmm.errors import DataError


class DaskFrameSource(BaseSource):
    """Rows in a dask DataFrame, whose partitions are computed inside the tasks that use them.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Of numeric columns. Partitions have unknown lengths.
    features : sequence of str, optional
        The columns that are features; all without it.

    Raises
    ------
    TypeError
        Columns that are not numeric; names of which some are strings and some are not.
    """

    def __init__(self, frame: dd.DataFrame, features: Sequence[str] | None = None) -> None:
        self.whole = frame
        frame = frame if features is None else frame[list(features)]
        refuse_other_columns(frame.dtypes)
        self.frame = frame
        self._keys: tuple[str, ...] | None = None
        self.n_features = len(frame.columns)
        self.dtype = rows_dtype(frame.dtypes)
        self.feature_names = frame_names(tuple(frame.columns))
        self._n_rows: list[int] | None = None
        self._paired: tuple[str, dd.Series] | None = None
        self.nan: NanRule = "error"

    @property
    def numbered(self) -> bool:
        """True where partitions were counted."""
        return self._n_rows is not None

    @property
    def sample_shape(self) -> tuple[int | None]:
        """The number of rows, if it is known."""
        return (None if self._n_rows is None else sum(self._n_rows),)

    @property
    def _first_rows(self) -> list[int] | None:
        return None if self._n_rows is None else list(accumulate(self._n_rows, initial=0))

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The partitions."""
        names = [_name(index) for index in range(self._computed.npartitions)]
        if self._n_rows is None:
            return [Chunk(name, None, None) for name in names]
        row_bytes = self.n_features * self.dtype.itemsize
        return [Chunk(name, n, n * row_bytes) for name, n in zip(names, self._n_rows, strict=True)]

    def __repr__(self) -> str:
        partitions = self._computed.npartitions
        return f"DaskFrameSource({partitions} partitions, {self.n_features} features, {self.dtype})"

    @cached_property
    def _computed(self) -> Expr:
        """The frame, paired with the Series beside it if there is one, as it will be computed."""
        frame = self.frame
        if self._keys:
            names = list(frame.columns)
            frame = self.whole[[*names, *(key for key in self._keys if key not in names)]]
        return optimized(frame) if self._paired is None else paired(frame, self._paired[1])

    @cached_property
    def _graphs(self) -> ChunkGraphs:
        return ChunkGraphs(self._computed)

    def reader(self, indices: Sequence[int]) -> DaskFrameReader:
        """Return a reader with the tasks of the partitions `indices`."""
        starts = self._first_rows
        first_rows = None if starts is None else {index: starts[index] for index in indices}
        column = None if self._paired is None else self._paired[0]
        names = tuple(self.frame.columns)
        graphs = self._graphs.reader(indices)
        return DaskFrameReader(graphs, names, self.dtype, first_rows, column, self.nan, self._keys)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures of persisted partitions that `indices` are computed from."""
        return self._graphs.futures(indices)

    def take_column(self, name: str, values: Any) -> tuple[DaskFrameSource, Any]:
        """Return a source that computes a Series with the frame, if their partitions are the same.

        Raises
        ------
        TypeError
            The Series is not numeric.
        """
        paired = None if self._paired is None or self._paired[0] == name else self._paired
        if not isinstance(values, dd.Series):
            return self._with_paired(paired), values
        refuse_other_columns(pd.Series({name: values.dtype}))
        if paired is None and can_be_paired(self.frame, values):
            return self._with_paired((name, values)), None
        return self._with_paired(paired), values

    def _with_paired(self, paired: tuple[str, dd.Series] | None) -> DaskFrameSource:
        if paired is self._paired:
            return self
        source = copy.copy(self)
        source._paired = paired
        # It makes its own graphs.
        for name in ("_computed", "_graphs"):
            source.__dict__.pop(name, None)
        return source

    def counted(self) -> tuple[DaskFrameSource, Sequence[int]]:
        """Compute the frame to count the rows of each partition."""
        source = copy.copy(self)
        source._n_rows = self._with_paired(None)._graphs.lengths()
        return source, source._n_rows

    def with_nan(self, nan: NanRule) -> DaskFrameSource:
        """Return the same rows under another rule for a NaN or a null."""
        source = copy.copy(self)
        source.nan = nan
        return source

    def to_dask(self) -> dd.DataFrame:
        """Return the frame of the features."""
        return self.frame

    def with_keys(self, names: Sequence[str]) -> DaskFrameSource:
        """Return the same rows with these columns and the index as their keys.

        Raises
        ------
        DataError
            A column that is not there.
        """
        missing = [name for name in names if name not in self.whole.columns]
        if missing:
            raise DataError(f"The dask DataFrame has no column {', '.join(map(repr, missing))}.")
        source = copy.copy(self)
        source._keys = tuple(names)
        for name in ("_computed", "_graphs"):
            source.__dict__.pop(name, None)
        return source

    def apply(self, answer: Answer) -> Any:
        """Return the answer as a lazy Series, or DataFrame of `answer.n_columns`, with the frame's index."""
        index = self.frame._meta.index[:0]
        meta: pd.Series[Any] | pd.DataFrame
        if answer.n_columns is None:
            meta = pd.Series(np.empty(0, answer.dtype), index=index)
        else:
            meta = pd.DataFrame(np.empty((0, answer.n_columns), answer.dtype), index=index)
        return self.frame.map_partitions(_answer_partition, answer, self.dtype, self.nan, meta=meta)


class DaskFrameReader:
    """Computes partitions of a dask DataFrame.

    Parameters
    ----------
    graphs : GraphReader
    names : tuple
        Of the columns.
    dtype : dtype
        Of the rows.
    first_rows : mapping of int to int, or None
        The number of each partition's first row, where partitions were counted.
    column : str or None
        The graphs give pairs: of rows, and of this aligned column.
    nan : {'error', 'drop'}
    keys : tuple of str, or None
        Columns that are the rows' keys, with the index; None for no keys.
    """

    def __init__(
        self,
        graphs: GraphReader,
        names: tuple[Any, ...],
        dtype: np.dtype[Any],
        first_rows: Mapping[int, int] | None,
        column: str | None,
        nan: NanRule,
        keys: tuple[str, ...] | None,
    ) -> None:
        self.nan: NanRule = nan
        self.keys = keys
        self.graphs, self.names, self.dtype = graphs, names, dtype
        self.first_rows, self.column = first_rows, column

    def read(self, index: int) -> Block:
        """Compute partition `index`.

        Raises
        ------
        DataError
            Nulls, other columns than announced, or more or fewer values in the aligned column than rows.
        """
        name = _name(index)
        computed = self.graphs.compute(index)
        frame = computed if self.column is None else computed[0]
        announced = (*self.names, *(key for key in self.keys or () if key not in self.names))
        if tuple(frame.columns) != announced:
            raise DataError(
                f"{name} has columns {list(frame.columns)}, but {list(announced)} were announced."
            )
        keys = (
            None if self.keys is None else pa.Table.from_pandas(frame[list(self.keys)], preserve_index=True)
        )
        frame = frame[list(self.names)] if announced != self.names else frame
        rows = frame_rows(frame, self.dtype, name, self.nan)
        columns = {}
        if self.column is not None:
            columns[self.column] = column_values(
                computed[1], np.dtype(np.float64), name, self.column, "error"
            )
            check_length(self.column, columns[self.column], len(rows), name)
        numbers = partial(self._numbers, index, len(rows))
        block = Block(rows=rows, name=name, index=index, numbers=numbers, columns=columns, keys=keys)
        return under_nan_rule(block, self.nan)

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted partitions hold, before the first read."""
        self.graphs.supply(results)

    def _numbers(self, index: int, n_rows: int) -> NDArray[np.int64]:
        if self.first_rows is None:
            return unknown_numbers(index, n_rows)
        return np.arange(self.first_rows[index], self.first_rows[index] + n_rows, dtype=np.int64)


def _name(index: int) -> str:
    return f"partition {index} of the dask DataFrame"


def _answer_partition(frame: pd.DataFrame, answer: Answer, dtype: np.dtype[Any], nan: NanRule) -> Any:
    name = "a partition of the dask DataFrame"
    numbers = partial(unknown_numbers, 0, len(frame))
    block = Block(rows=frame_rows(frame, dtype, name, nan), name=name, index=0, numbers=numbers)
    block = under_nan_rule(block, nan)
    kind = pd.Series if answer.n_columns is None else pd.DataFrame
    return kind(checked_answer(block, answer), index=frame.index)
