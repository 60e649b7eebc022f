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
from dask._expr import Expr
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names

from dask_gmm.data.aligned import WeightedReader, WeightReader, WeightSource, align_weights, needs_row_counts
from dask_gmm.data.answers import checked_answer
from dask_gmm.data.dask_graphs import ChunkGraphs, GraphReader
from dask_gmm.data.frame_partitions import can_be_paired, optimized, paired
from dask_gmm.data.sample_grid import unknown_numbers
from dask_gmm.data.source import SAMPLE_WEIGHT, Answer, Block, Chunk
from dask_gmm.errors import DataError


class DaskFrameSource:
    """Rows in a dask DataFrame, whose partitions are computed inside the tasks that use them.

    Parameters
    ----------
    frame : dask.dataframe.DataFrame
        Of numeric columns. Partitions have unknown lengths.

    Raises
    ------
    TypeError
        Columns that are not numeric; names of which some are strings and some are not.
    """

    in_memory = False
    stored = False

    def __init__(self, frame: dd.DataFrame) -> None:
        _refuse_others(frame.dtypes)
        self.frame = frame
        self.n_features = len(frame.columns)
        self.dtype = _rows_dtype(frame.dtypes)
        self.feature_names = _feature_names(tuple(frame.columns))
        self._n_rows: list[int] | None = None
        self._series: dd.Series | None = None
        self._weights: WeightSource | None = None

    @property
    def numbered(self) -> bool:
        """True where partitions were counted, for weights in memory."""
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
        """The frame, paired with its weights if they are a Series, as it will be computed."""
        if self._series is None:
            return optimized(self.frame)
        return paired(self.frame, self._series)

    @cached_property
    def _graphs(self) -> ChunkGraphs:
        return ChunkGraphs(self._computed)

    def lengths(self) -> list[int]:
        """Compute the frame and return the number of rows of each partition."""
        return self._graphs.lengths()

    def reader(self, indices: Sequence[int]) -> WeightReader:
        """Return a reader with the tasks of the partitions `indices`."""
        starts = self._first_rows
        first_rows = None if starts is None else {index: starts[index] for index in indices}
        paired = self._series is not None
        names = tuple(self.frame.columns)
        reader = DaskFrameReader(self._graphs.reader(indices), names, self.dtype, first_rows, paired)
        return reader if self._weights is None else WeightedReader(reader, self._weights.reader(indices))

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures of persisted partitions that `indices` are computed from."""
        weights = {} if self._weights is None else self._weights.futures(indices)
        return {**self._graphs.futures(indices), **weights}

    def with_weights(self, sample_weight: Any) -> DaskFrameSource:
        """Return the same rows with weights.

        Parameters
        ----------
        sample_weight : dask Series, dask array, Source or array-like
            Dask collections with as many partitions as the frame are aligned with them one by one. For
            others, and for values in memory, the rows of each partition are counted first, which computes
            the frame once.

        Raises
        ------
        DataError
            The lengths do not agree.
        """
        weighted = copy.copy(self)
        weighted._series = weighted._weights = None
        if self._series is not None:
            _forget(weighted)
        if isinstance(sample_weight, dd.Series):
            _refuse_others(pd.Series({"sample_weight": sample_weight.dtype}))
            if can_be_paired(self.frame, sample_weight):
                weighted._series = sample_weight
                _forget(weighted)
                return weighted
        if weighted._n_rows is None and needs_row_counts(sample_weight, weighted._computed.npartitions):
            weighted._n_rows = weighted.lengths()
        weighted._weights = align_weights(sample_weight, [chunk.n_rows for chunk in weighted.chunks])
        return weighted

    def apply(self, answer: Answer) -> Any:
        """Return the answer as a lazy Series, or DataFrame of `answer.n_columns`, with the frame's index."""
        index = self.frame._meta.index[:0]
        meta: pd.Series[Any] | pd.DataFrame
        if answer.n_columns is None:
            meta = pd.Series(np.empty(0, answer.dtype), index=index)
        else:
            meta = pd.DataFrame(np.empty((0, answer.n_columns), answer.dtype), index=index)
        return self.frame.map_partitions(_answer_partition, answer, self.dtype, meta=meta)


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
    paired : bool
        The graphs give pairs of rows and weights.
    """

    def __init__(
        self,
        graphs: GraphReader,
        names: tuple[Any, ...],
        dtype: np.dtype[Any],
        first_rows: Mapping[int, int] | None,
        paired: bool,
    ) -> None:
        self.graphs, self.names, self.dtype = graphs, names, dtype
        self.first_rows, self.paired = first_rows, paired

    def read(self, index: int) -> Block:
        """Compute partition `index`.

        Raises
        ------
        DataError
            Nulls, other columns than announced, or more or fewer weights than rows.
        """
        name = _name(index)
        computed = self.graphs.compute(index)
        frame, series = computed if self.paired else (computed, None)
        if tuple(frame.columns) != self.names:
            raise DataError(
                f"{name} has columns {list(frame.columns)}, but {list(self.names)} were announced."
            )
        rows = _rows(frame, self.dtype, name)
        columns = {}
        if series is not None:
            weights = _values(series, np.dtype(np.float64), name, SAMPLE_WEIGHT)
            if len(weights) != len(rows):
                raise DataError(
                    f"{name}: sample_weight has {len(weights)} values here, X has {len(rows)} rows."
                )
            columns[SAMPLE_WEIGHT] = weights
        numbers = partial(self._numbers, index, len(rows))
        return Block(rows=rows, name=name, index=index, numbers=numbers, columns=columns)

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted partitions hold, before the first read."""
        self.graphs.supply(results)

    def _numbers(self, index: int, n_rows: int) -> NDArray[np.int64]:
        if self.first_rows is None:
            return unknown_numbers(index, n_rows)
        return np.arange(self.first_rows[index], self.first_rows[index] + n_rows, dtype=np.int64)


def _name(index: int) -> str:
    return f"partition {index} of the dask DataFrame"


def _answer_partition(frame: pd.DataFrame, answer: Answer, dtype: np.dtype[Any]) -> Any:
    name = "a partition of the dask DataFrame"
    numbers = partial(unknown_numbers, 0, len(frame))
    block = Block(rows=_rows(frame, dtype, name), name=name, index=0, numbers=numbers)
    kind = pd.Series if answer.n_columns is None else pd.DataFrame
    return kind(checked_answer(block, answer), index=frame.index)


def _feature_names(columns: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return names that are all strings, None where none is; scikit-learn refuses a mixture of both."""
    # Equal names are no trouble here, but they are to what scikit-learn looks with.
    names = _get_feature_names(pd.DataFrame(columns=list(dict.fromkeys(columns))))
    return None if names is None else columns


def _refuse_others(dtypes: pd.Series[Any]) -> None:
    is_number, is_complex = pd.api.types.is_numeric_dtype, pd.api.types.is_complex_dtype
    refused = [
        f"{name!r} ({dtype})" for name, dtype in dtypes.items() if not is_number(dtype) or is_complex(dtype)
    ]
    if refused:
        raise TypeError(
            f"Columns of the dask DataFrame that are not numeric: {', '.join(refused)}. Select or convert "
            "columns, for example X[['a', 'b']]."
        )


def _rows_dtype(dtypes: pd.Series[Any]) -> np.dtype[Any]:
    """Return float32 if every column is, nullable or not, else float64."""
    single = all(getattr(dtype, "numpy_dtype", dtype) == np.float32 for dtype in dtypes)
    return np.dtype(np.float32 if single and len(dtypes) else np.float64)


def _forget(source: DaskFrameSource) -> None:
    """Let a copy with other weights make its own graphs."""
    for name in ("_computed", "_graphs"):
        source.__dict__.pop(name, None)


def _rows(frame: pd.DataFrame, dtype: np.dtype[Any], name: str) -> NDArray[Any]:
    """Return a partition as an array of shape (n, n_features), without a copy if all columns have `dtype`."""
    if all(column == dtype for column in frame.dtypes):
        values = frame.to_numpy()
        if values.flags.forc:
            return values
    rows = np.empty(frame.shape, dtype=dtype, order="F")
    for number, (label, column) in enumerate(frame.items()):
        rows[:, number] = _values(column, dtype, name, label)
    return rows


def _values(column: pd.Series[Any], dtype: np.dtype[Any], name: str, label: Any) -> NDArray[Any]:
    """Return a column as an array of `dtype`; a nullable one must have no null."""
    if pd.api.types.is_extension_array_dtype(column.dtype) and column.isna().any():
        raise DataError(
            f"{name}, column {label!r}: there are null values. Fill them or filter them out first."
        )
    return column.to_numpy(dtype=dtype)
