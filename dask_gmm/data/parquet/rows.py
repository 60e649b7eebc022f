"""Arrow columns to rows of floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from dask_gmm.data.source import DataError


def null_values(where: str) -> DataError:
    """Return the error for nulls in the column that `where` names."""
    return DataError(f"{where}: there are null values. Fill them or filter them out first.")


def ragged_lists(where: str, n_features: int) -> DataError:
    """Return the error for lists that do not all have `n_features` values."""
    return DataError(
        f"{where}: not every list has {n_features} values. An embedding needs lists of one length."
    )


def column_values(column: pa.ChunkedArray, out: NDArray[Any], where: str) -> None:
    """Copy a numeric column into `out` of shape (n,), converting to its dtype."""
    if column.null_count:
        raise null_values(where)
    if pa.types.is_decimal(column.type):
        column = column.cast(pa.float64())
    first = 0
    for chunk in column.chunks:
        out[first : first + len(chunk)] = chunk.to_numpy(zero_copy_only=False)
        first += len(chunk)


def columns_to_rows(columns: list[pa.ChunkedArray], dtype: np.dtype[Any], where: list[str]) -> NDArray[Any]:
    """Return numeric columns as an array of shape (n, n_columns).

    Fortran order: copying into C order costs more than decoding the pages.
    """
    rows = np.empty((len(columns[0]), len(columns)), dtype=dtype, order="F")
    for number, column in enumerate(columns):
        column_values(column, rows[:, number], where[number])
    return rows


def lists_to_rows(column: pa.ChunkedArray, n_features: int, dtype: np.dtype[Any], where: str) -> NDArray[Any]:
    """Return a list column as an array of shape (n, n_features), a view if the dtype stays."""
    parts = [_flat(chunk, n_features, where) for chunk in column.chunks if len(chunk)]
    flat = parts[0] if len(parts) == 1 else np.concatenate([np.empty(0, dtype), *parts])
    return flat.astype(dtype, copy=False).reshape(-1, n_features)


def _flat(chunk: pa.Array, n_features: int, where: str) -> NDArray[Any]:
    if chunk.null_count:
        raise null_values(where)
    lengths = pc.min_max(pc.list_value_length(chunk)).as_py()
    if lengths["min"] != n_features or lengths["max"] != n_features:
        raise ragged_lists(where, n_features)
    values = chunk.flatten()
    if values.null_count:
        raise null_values(where)
    if pa.types.is_decimal(values.type):
        values = values.cast(pa.float64())
    flat: NDArray[Any] = values.to_numpy(zero_copy_only=False)
    return flat
