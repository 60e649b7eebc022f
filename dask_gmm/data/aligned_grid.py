"""A column of samples on a grid: of their shape, or flat, cut along the cells of the rows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.aligned_table import check_one_feature, column_of_table
from dask_gmm.data.column_in_memory import ColumnInMemory
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Answer, Block, Source, is_source, working_dtype
from dask_gmm.errors import DataError


def column_on_grid(values: Any, grid: SampleGrid, dims: Sequence[Any], name: str) -> Source:
    """Return the column as a source of one feature whose cells are those of `grid`.

    Parameters
    ----------
    values : array-like, dask array, dask or pandas Series, or Source of one feature
        Of the samples' shape, or flat in their C order.
    grid : SampleGrid
    dims : sequence of str or None
        Names of the samples' axes, where they have some; see `in_order`.
    name : str
        What errors call the column.

    Raises
    ------
    DataError
        The number of values is not the number of rows, or they are of other dimensions.
    """
    values = in_order(values, dims, name)
    if is_source(values):
        if values.grid == grid:
            check_one_feature(values, name)
            return values
        values = _as_array(values)
    if hasattr(values, "to_dask_array"):
        values = values.to_dask_array()
    if not isinstance(values, da.Array):
        refuse_masked(values, name)
        return ColumnInMemory(_shaped(np.asarray(values), grid, name), grid, name)
    if math.isnan(math.prod(values.shape)):
        return column_of_table(values, grid.row_counts().tolist(), name)
    return DaskArraySource(_shaped(values, grid, name).rechunk(grid.sizes)[..., None])


def in_order(values: Any, dims: Sequence[Any], name: str) -> Any:
    """Return values whose axes have names with their axes in the order of `dims`, others as they are.

    Raises
    ------
    DataError
        They are of other dimensions.
    """
    own = tuple(getattr(values, "dims", ()))
    # Axes that nobody named are called by their number; one axis alone cannot be in another order.
    numbered = tuple(f"dim_{axis}" for axis in range(len(own)))
    nameless = None in own or None in dims or own == numbered
    if nameless or len(own) != len(dims) or len(own) < 2 or own == tuple(dims):
        return values
    if sorted(map(str, own)) != sorted(map(str, dims)):
        raise DataError(f"{name} has the dimensions {own}, the samples of X have {tuple(dims)}.")
    return _as_array(values).transpose([own.index(dim) for dim in dims])


def _as_array(values: Any) -> Any:
    """Return the values of a source or xarray object as an array."""
    if is_source(values):
        values = values.apply(Answer(_first_column, np.dtype(np.float64), None, np.nan))
    return values.data if hasattr(values, "dims") else values


def _shaped(values: Any, grid: SampleGrid, name: str) -> Any:
    """Return values, flat or of the samples' shape, in the samples' shape."""
    working_dtype(values.dtype, name)
    if values.shape not in ((math.prod(grid.shape),), grid.shape):
        size, rows = math.prod(values.shape), math.prod(grid.shape)
        if values.ndim == 1 or size != rows:
            raise DataError(f"{name} has {size} values, X has {rows} rows: give one for each row.")
        raise DataError(f"{name} has shape {values.shape}, the samples of X have {grid.shape}.")
    return values.reshape(grid.shape)


def _first_column(block: Block) -> NDArray[Any]:
    return block.rows[:, 0].astype(np.float64)
