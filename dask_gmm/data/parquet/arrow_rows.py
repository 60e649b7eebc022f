"""Arrow columns to rows of floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dask_gmm.errors import DataError


def null_error(where: str) -> DataError:
    """Return the error for nulls in the column that `where` names."""
    return DataError(
        f"{where}: there are null values. Fill them or filter them out first, leave such rows out with "
        'nan="drop", or keep them with nan="keep" for an estimator with missing="em".'
    )


def plain_type(kind: pa.DataType) -> pa.DataType:
    """Return the type of values as they are read: a tensor as a list, a category as what it stands for."""
    if isinstance(kind, pa.FixedShapeTensorType):
        return kind.storage_type
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def list_length(column: pa.ChunkedArray, where: str, expected: int | None = None) -> int:
    """Return the length of the lists in a column that has some, by default that of the first.

    Raises
    ------
    DataError
        A list is null or has another length; names the first.
    """
    if column.null_count:
        raise null_error(where)
    lengths = pc.list_value_length(column).to_numpy()
    length = int(lengths[0]) if expected is None else expected
    other = int(np.argmax(lengths != length))
    if lengths[other] != length:
        raise DataError(
            f"{where}: not every list has {length} values: that of row {other} has {lengths[other]}. An "
            "embedding needs lists of one length."
        )
    return length


def nulls_as_nan(column: pa.ChunkedArray, n_features: int | None = None) -> pa.ChunkedArray:
    """Return a numeric column with NaN for nulls, or one of lists of `n_features` with NaN for theirs."""
    if n_features is None:
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if not column.null_count:
            return column
        if pa.types.is_boolean(column.type):
            column = column.cast(pa.int8())
        single = pa.types.is_float32(column.type) or pa.types.is_float16(column.type)
        plain = column if single else _as_numbers(column, "").cast(pa.float64(), safe=False)
        return pc.fill_null(plain, pa.scalar(np.nan, plain.type))
    kind = plain_type(column.type).value_type
    nothing = pa.scalar([None] * n_features, pa.list_(kind))
    whole = [pc.fill_null(chunk.cast(pa.list_(kind)), nothing) for chunk in _storage(column).chunks]
    numbers = [nulls_as_nan(pa.chunked_array([chunk.flatten()])).combine_chunks() for chunk in whole]
    lists = [
        pa.ListArray.from_arrays(pc.subtract(chunk.offsets, chunk.offsets[0]), values)
        for chunk, values in zip(whole, numbers, strict=True)
    ]
    return pa.chunked_array(lists, lists[0].type) if lists else column


def copy_column(column: pa.ChunkedArray, out: NDArray[Any], where: str) -> None:
    """Copy a numeric column into `out` of shape (n,), converting to its dtype."""
    if column.null_count:
        raise null_error(where)
    first = 0
    for chunk in _as_numbers(column, where).chunks:
        out[first : first + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        first += len(chunk)


def _as_numbers(column: Any, where: str) -> Any:
    """Return values that NumPy has a type for."""
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
        if column.null_count:  # a category that is null
            raise null_error(where)
    if not pa.types.is_decimal(column.type):
        return column
    if column.type.bit_width < 128:  # Arrow converts no others
        column = column.cast(pa.decimal128(column.type.precision, column.type.scale))
    return column.cast(pa.float64())


def columns_to_rows(columns: list[pa.ChunkedArray], dtype: np.dtype[Any], where: list[str]) -> NDArray[Any]:
    """Return numeric columns as an array of shape (n, n_columns).

    Fortran order: copying into C order costs more than decoding the pages.
    """
    rows = np.empty((len(columns[0]), len(columns)), dtype=dtype, order="F")
    for number, column in enumerate(columns):
        copy_column(column, rows[:, number], where[number])
    return rows


def lists_to_rows(column: pa.ChunkedArray, n_features: int, dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Return a list column as an array of shape (n, n_features), a view if the dtype stays."""
    column = _storage(column)
    if len(column):
        list_length(column, where, n_features)
    parts = [_flat(chunk, where) for chunk in column.chunks if len(chunk)]
    flat = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
    return flat.astype(dtype, copy=False).reshape(-1, n_features)


def _storage(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Return a column of tensors as one of lists, any other as it is."""
    if not isinstance(column.type, pa.FixedShapeTensorType):
        return column
    return pa.chunked_array([chunk.storage for chunk in column.chunks], column.type.storage_type)


def _flat(chunk: pa.Array, where: str) -> NDArray[Any]:
    values = chunk.flatten()
    if values.null_count:
        raise null_error(where)
    flat: NDArray[Any] = _as_numbers(values, where).to_numpy(zero_copy_only=False)
    return flat
