"""Rows with errors that are given beside them, as arrays or collections of the same shape."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dask_gmm.data.abilities import HoldsValues, nan_rule_of
from dask_gmm.data.aligned import with_nan_rule
from dask_gmm.data.checks import check_errors
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.data.imported import is_instance
from dask_gmm.data.in_memory import ArraySource
from dask_gmm.data.masks import masked_as_nan
from dask_gmm.data.source import Block, Source
from dask_gmm.data.splitting import Splitting, error_columns, pair_of, split
from dask_gmm.errors import DataError

#: Correlations of errors by the numbers, or names, of two features.
Correlations = Mapping[tuple[Any, Any], Any]


def with_errors(source: Source, X: Any, X_err: Any, X_corr: Correlations | None) -> Source:
    """Return the same rows with their standard errors.

    Parameters
    ----------
    source : Source
    X
        What it was made of.
    X_err : array-like, dask array or DataFrame, xarray object or source, of the shape of X
        Standard errors: 0 for an exact value, inf for a missing one.
    X_corr : mapping of (feature, feature) to array-like of the samples' shape, optional
        Correlations of errors.

    Raises
    ------
    DataError
        Another shape than X has.
    """
    d, names = source.n_features, source.feature_names
    given = {} if X_corr is None else dict(X_corr)
    pairs = tuple(pair_of(pair, d, names) for pair in given)
    if isinstance(source, ArraySource):
        values = _in_memory(X_err, source.n_given, d, list(given.values()))
        columns = error_columns(values if source.kept is None else values[source.kept], d, pairs)
        numbers = np.arange(len(source.rows))
        check_errors(Block(rows=source.rows, name="X", index=0, numbers=lambda: numbers, columns=columns))
        return ArraySource(source.rows, {**source.columns, **columns}, names, source.kept, holes=source.holes)
    nan = nan_rule_of(source)
    splitting = Splitting(d, source.dtype, names, pairs, nan)
    if is_instance(X, "dask.dataframe", "DataFrame"):
        return split(_of_frames(X, X_err, given), splitting)
    kept: Any = with_nan_rule(source, "keep")
    rows: Any = kept.to_dask()
    rows = da.asarray(getattr(rows, "data", rows) if is_instance(rows, "xarray", "DataArray") else rows)
    parts = [rows, _lazy(X_err, rows, "X_err")]
    for pair, values in given.items():
        parts.append(_lazy(values, rows[..., :1], f"X_corr[{pair}]"))
    together = da.concatenate([part.astype(source.dtype) for part in parts], axis=-1)
    together = together.rechunk({together.ndim - 1: -1})
    if isinstance(kept, HoldsValues):
        return split(kept.with_values(together), splitting)
    return split(DaskArraySource(together), splitting)


def _in_memory(X_err: Any, n_rows: int, n_features: int, correlations: Sequence[Any]) -> NDArray[Any]:
    errors = _array(X_err)
    if errors.shape != (n_rows, n_features):
        raise DataError(f"X_err has shape {errors.shape}, X has {(n_rows, n_features)}: one error a value.")
    columns = [errors]
    for values in correlations:
        column = _array(values)
        if column.shape != (n_rows,):
            raise DataError(f"X_corr has {column.shape} correlations of a pair, X has {n_rows} rows.")
        columns.append(column[:, np.newaxis])
    return np.concatenate(columns, axis=1)


def _array(values: Any) -> NDArray[Any]:
    values = masked_as_nan(values)
    return np.asarray(values.compute() if hasattr(values, "compute") else values, dtype=np.float64)


def _lazy(values: Any, rows: da.Array, name: str) -> da.Array:
    """Return values as a dask array in the chunks of the rows."""
    source = None if isinstance(values, da.Array) else lazy_source(values, "keep")
    if isinstance(values, da.Array):
        array = values
    elif source is None:
        array = da.from_array(_array(values), chunks=-1)
    else:
        lazy: Any = source.to_dask()  # type: ignore[attr-defined]
        array = getattr(lazy, "data", lazy) if is_instance(lazy, "xarray", "DataArray") else lazy
        array = array.to_dask_array(lengths=True) if hasattr(array, "to_dask_array") else array
    array = da.asarray(array)
    if array.ndim == rows.ndim - 1:
        array = array[..., np.newaxis]
    known = not any(np.isnan(size) for size in (*array.shape, *rows.shape))
    if array.ndim != rows.ndim or (known and array.shape != rows.shape):
        raise DataError(f"{name} has shape {array.shape}, X has {rows.shape}: give one number a value.")
    return array.rechunk(rows.chunks) if known else array


def _of_frames(X: Any, X_err: Any, given: Correlations) -> Source:
    from dask_gmm.data.dask_dataframe import DaskFrameSource

    together = X
    if isinstance(X_err, pd.DataFrame) or not is_instance(X_err, "dask.dataframe", "DataFrame"):
        raise DataError("X is a dask DataFrame: give its errors as one, with the same partitions.")
    if len(X_err.columns) != len(X.columns):
        raise DataError(f"X_err has {len(X_err.columns)} columns, X has {len(X.columns)}.")
    for name, error in zip(X.columns, X_err.columns, strict=True):
        together = together.assign(**{f"error of {name}": X_err[error]})
    for pair, values in given.items():
        if not is_instance(values, "dask.dataframe", "Series"):
            raise DataError(
                f"X is a dask DataFrame: give X_corr[{pair}] as a Series with the same partitions."
            )
        together = together.assign(**{f"correlation of {pair}": values})
    return DaskFrameSource(together)
