"""A masked value is a missing value: what stands behind a mask is never taken for a number."""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dask_gmm.errors import DataError


def unmasked(values: Any, name: str) -> NDArray[Any]:
    """Return what a computation gave as an ndarray, NaN where it is masked.

    Parameters
    ----------
    values : array-like
    name : str
        What errors call it.

    Raises
    ------
    DataError
        Not an array, such as a sparse matrix.
    """
    if np.ma.is_masked(values):
        # Integers have no NaN.
        floating = values if values.dtype.kind in "fcO" else values.astype(np.float64)
        return np.asarray(floating.filled(np.nan))
    array = np.asarray(values)
    if array.ndim == 0:
        raise DataError(f"{name} is a {type(values).__name__}; it needs a NumPy array of numbers.")
    return array


def unmasked_chunks(x: da.Array, dtype: np.dtype[Any]) -> da.Array:
    """Return a lazy array of ndarrays of floating-point `dtype`, NaN where chunks turn out to be masked.

    To be called before they are broadcast, which leaves masks out.
    """
    return x.map_blocks(_unmasked_as, dtype, dtype=dtype, meta=np.empty((0,) * x.ndim, dtype))


def _unmasked_as(values: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    return unmasked(values, "A chunk of the dask array").astype(dtype, copy=False)


def masked_as_nan(values: Any) -> Any:
    """Return a masked array, or a data frame of nullable columns, as one with NaN; all else as it is."""
    if isinstance(values, pd.DataFrame):
        kinds = {
            name: getattr(dtype, "numpy_dtype", np.dtype(np.float64))
            for name, dtype in values.dtypes.items()
            if pd.api.types.is_extension_array_dtype(dtype) and pd.api.types.is_numeric_dtype(dtype)
        }
        return values.astype(
            {name: kind if kind == np.float32 else np.float64 for name, kind in kinds.items()}
        )
    return unmasked(values, "X") if np.ma.is_masked(values) else values


def refuse_masked(values: Any, name: str) -> None:
    """Refuse masked values among numbers in memory.

    Parameters
    ----------
    values : array-like
        Perhaps a list of masked arrays, whose masks NumPy would leave out.
    name : str
        Of the argument.

    Raises
    ------
    DataError
    """
    rows = values if isinstance(values, (list, tuple)) else [values]
    n_masked = sum(int(np.ma.getmaskarray(row).sum()) for row in rows if np.ma.is_masked(row))
    if n_masked:
        raise DataError(
            f"Input {name} contains NaN.\n{n_masked} of its values are masked, and a masked value is a "
            f"missing one. Leave such rows out first, for example {name}[~np.ma.getmaskarray({name})"
            f"{'.any(axis=1)' if name == 'X' else ''}], or fill them."
        )
