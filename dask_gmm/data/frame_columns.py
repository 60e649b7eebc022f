"""Columns of data frames as arrays: which are features, of which dtype, under which names."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.utils.validation import _get_feature_names

from dask_gmm.data.rows import NanRule
from dask_gmm.errors import DataError


def frame_names(columns: tuple[Any, ...]) -> tuple[str, ...] | None:
    """Return names that are all strings, None where none is; scikit-learn refuses a mixture of both."""
    # Equal names are no trouble here, but they are to what scikit-learn looks with.
    names = _get_feature_names(pd.DataFrame(columns=list(dict.fromkeys(columns))))
    return None if names is None else columns


def refuse_other_columns(dtypes: pd.Series[Any]) -> None:
    """Raise TypeError, with their names, where columns are not real numbers."""
    is_number, is_complex = pd.api.types.is_numeric_dtype, pd.api.types.is_complex_dtype
    refused = [
        f"{name!r} ({dtype})" for name, dtype in dtypes.items() if not is_number(dtype) or is_complex(dtype)
    ]
    if refused:
        raise TypeError(
            f"Columns of the dask DataFrame that are not numeric: {', '.join(refused)}. Select or convert "
            "columns, for example X[['a', 'b']]."
        )


def rows_dtype(dtypes: pd.Series[Any]) -> np.dtype[Any]:
    """Return float32 if every column is, nullable or not, else float64."""
    single = all(getattr(dtype, "numpy_dtype", dtype) == np.float32 for dtype in dtypes)
    return np.dtype(np.float32 if single and len(dtypes) else np.float64)


def frame_rows(frame: pd.DataFrame, dtype: np.dtype[Any], name: str, nan: NanRule) -> NDArray[Any]:
    """Return a partition as an array of shape (n, n_features), without a copy if all columns have `dtype`."""
    if all(column == dtype for column in frame.dtypes):
        values = frame.to_numpy()
        if values.flags.forc:
            return values
    rows = np.empty(frame.shape, dtype=dtype, order="F")
    for number, (label, column) in enumerate(frame.items()):
        rows[:, number] = column_values(column, dtype, name, label, nan)
    return rows


def column_values(
    column: pd.Series[Any], dtype: np.dtype[Any], name: str, label: Any, nan: NanRule
) -> NDArray[Any]:
    """Return a column as an array of `dtype`; nulls of a nullable one are NaN unless they are an error."""
    if pd.api.types.is_extension_array_dtype(column.dtype) and column.isna().any():
        if nan != "error":
            return column.to_numpy(dtype=dtype, na_value=np.nan)
        raise DataError(
            f"{name}, column {label!r}: there are null values. Fill them or filter them out first, or leave "
            'such rows out with nan="drop".'
        )
    return column.to_numpy(dtype=dtype)
