"""Sample weights of the samples' shape, cut along the grid of the rows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.aligned import WeightReader, WeightSource, align_weights, check_column
from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import (
    Answer,
    Block,
    Chunk,
    working_dtype,
)
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import of_array


def grid_weights(sample_weight: Any, grid: SampleGrid, dims: Sequence[Any] = ()) -> WeightSource:
    """Return the weights as a source of one feature whose cells are those of `grid`.

    Parameters
    ----------
    sample_weight : array-like, dask array, dask or pandas Series, or Source of one feature
        Of the samples' shape, or flat in their C order.
    grid : SampleGrid
    dims : sequence of str or None
        Names of the samples' axes, where they have some; see `by_name`.

    Raises
    ------
    DataError
        The number of weights is not the number of rows, or they are of other dimensions.
    """
    sample_weight = by_name(sample_weight, dims)
    if hasattr(sample_weight, "reader"):
        if getattr(sample_weight, "grid", None) == grid:
            check_column(sample_weight)
            source: WeightSource = sample_weight
            return source
        sample_weight = _values(sample_weight)
    if hasattr(sample_weight, "to_dask_array"):
        sample_weight = sample_weight.to_dask_array()
    if not isinstance(sample_weight, da.Array):
        refuse_masked(sample_weight, "sample_weight")
        return _GridSlices(_shaped(np.asarray(sample_weight), grid), grid)
    if math.isnan(math.prod(sample_weight.shape)):
        return align_weights(sample_weight, grid.row_counts().tolist())
    from dask_gmm.data.dask_array import DaskArraySource

    return DaskArraySource(_shaped(sample_weight, grid).rechunk(grid.sizes)[..., None])


def by_name(sample_weight: Any, dims: Sequence[Any]) -> Any:
    """Return weights whose axes have names with their axes in the order of `dims`, others as they are.

    Raises
    ------
    DataError
        They are of other dimensions.
    """
    own = tuple(getattr(sample_weight, "dims", ()))
    # Axes that nobody named are called by their number; one axis alone cannot be in another order.
    numbered = tuple(f"dim_{axis}" for axis in range(len(own)))
    nameless = None in own or None in dims or own == numbered
    if nameless or len(own) != len(dims) or len(own) < 2 or own == tuple(dims):
        return sample_weight
    if sorted(map(str, own)) != sorted(map(str, dims)):
        raise DataError(f"sample_weight has the dimensions {own}, the samples of X have {tuple(dims)}.")
    return _values(sample_weight).transpose([own.index(dim) for dim in dims])


def _values(sample_weight: Any) -> Any:
    """Return the weights of a source or xarray object as an array."""
    if hasattr(sample_weight, "reader"):
        sample_weight = sample_weight.apply(Answer(_first_column, np.dtype(np.float64), None, np.nan))
    return sample_weight.data if hasattr(sample_weight, "dims") else sample_weight


def _shaped(weights: Any, grid: SampleGrid) -> Any:
    """Return weights, flat or of the samples' shape, in the samples' shape."""
    working_dtype(weights.dtype, "sample_weight")
    if weights.shape not in ((math.prod(grid.shape),), grid.shape):
        size, rows = math.prod(weights.shape), math.prod(grid.shape)
        if weights.ndim == 1 or size != rows:
            raise DataError(
                f"sample_weight has {size} values, X has {rows} rows: give one weight for each row."
            )
        raise DataError(f"sample_weight has shape {weights.shape}, the samples of X have {grid.shape}.")
    return weights.reshape(grid.shape)


def _first_column(rows: NDArray[Any]) -> NDArray[Any]:
    return rows[:, 0].astype(np.float64)


@dataclass(frozen=True, slots=True)
class _GridSlices:
    """Weights in this process's memory: each group of cells gets its part."""

    weights: NDArray[Any]
    grid: SampleGrid

    n_features = 1

    @property
    def chunks(self) -> Sequence[Chunk]:
        return GridChunks(self.grid, 8, "weights of chunk {}".format)

    def fingerprint(self) -> str | None:
        return of_array(self.weights)

    def reader(self, indices: Sequence[int]) -> WeightReader:
        return _SliceReader({i: self.weights[self.grid.region(i)] for i in indices}, self.grid)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        return {}


@dataclass(frozen=True, slots=True)
class _SliceReader:
    parts: Mapping[int, NDArray[Any]]
    grid: SampleGrid

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the weights are here."""

    def read(self, index: int) -> Block:
        rows = self.parts[index].reshape(-1, 1)
        numbers = partial(self.grid.numbers, index)
        return Block(rows=rows, name=f"weights of chunk {index}", index=index, numbers=numbers)
