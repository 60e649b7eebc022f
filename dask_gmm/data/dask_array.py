"""Rows in lazy dask arrays: tables, and n-dimensional arrays whose features lie along one axis."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import dask.array as da
import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.answers import checked_answer
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.dask_graphs import ChunkGraphs, GraphReader
from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.masks import unmasked
from dask_gmm.data.rows import (
    NanRule,
    as_rows,
    check_nan_rule,
    check_piece,
    normal_feature_axis,
    under_nan_rule,
    unknown_numbers,
)
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Answer, Block, Chunk, working_dtype


def from_array(
    x: da.Array | NDArray[Any], *, feature_axis: int = -1, nan: NanRule = "error"
) -> DaskArraySource:
    """Return the rows of an array of two or more dimensions, without computing any.

    Parameters
    ----------
    x : dask.array.Array or ndarray
        Predictions are lazy either way.
    feature_axis : int, default=-1
        Axis along which the features lie; all other axes are samples.
    nan : {"error", "drop"}, default="error"
        With "drop", rows that contain a NaN count for nothing, and predictions have -1 or NaN there.

    Returns
    -------
    DaskArraySource

    Raises
    ------
    ValueError
        A one-dimensional array, a feature axis that does not exist, an unknown number of features.
    TypeError
        Not an array, or not one of real numbers in NumPy arrays.
    """
    if isinstance(x, np.ndarray):
        # Without a name of its own Dask would read all values to make one.
        x = da.from_array(x, name=False)
    if not isinstance(x, da.Array):
        raise TypeError(f"from_array takes a dask array or one of NumPy, got {type(x).__name__}.")
    return DaskArraySource(x, feature_axis, nan)


class DaskArraySource(BaseSource):
    """Rows in a dask array; a block is one of its chunks.

    Parameters
    ----------
    x : dask.array.Array
        Chunks may be of unknown length along the sample axes. Chunks along the features are joined.
    feature_axis : int, default=-1
    nan : {"error", "drop"}, default="error"
    """

    def __init__(self, x: da.Array, feature_axis: int = -1, nan: NanRule = "error") -> None:
        check_nan_rule(nan)
        if x.dtype == object:
            # Python numbers, perhaps: only reading tells, as in scikit-learn.
            x = x.astype(np.float64)
        self.nan = nan
        self.feature_axis = normal_feature_axis(feature_axis, x.ndim, "the dask array")
        self.dtype = working_dtype(x.dtype, "the dask array")
        if type(x._meta) not in (np.ndarray, np.ma.MaskedArray):
            raise TypeError(
                f"The dask array consists of {type(x._meta).__name__} objects; it needs NumPy arrays. "
                "Convert it with map_blocks."
            )
        if math.isnan(x.shape[self.feature_axis]):
            raise ValueError("The number of features is not known; call x.compute_chunk_sizes() first.")
        self.x = x.rechunk({self.feature_axis: -1}) if x.numblocks[self.feature_axis] > 1 else x
        self.n_features = int(x.shape[self.feature_axis])
        self._sizes = self.x.chunks[: self.feature_axis] + self.x.chunks[self.feature_axis + 1 :]
        self.numbered = not any(math.isnan(size) for axis in self._sizes for size in axis)
        self.grid = SampleGrid.irregular(self._sizes) if self.numbered else None
        self.sample_shape = tuple(_known(sum(axis)) for axis in self._sizes)

    @cached_property
    def chunks(self) -> Sequence[Chunk]:
        """The array's chunks, in C order."""
        row_bytes = self.n_features * self.dtype.itemsize
        if self.grid is not None:
            return GridChunks(self.grid, row_bytes, partial(_numbered_name, self.grid))
        positions = itertools.product(*(range(len(axis)) for axis in self._sizes))
        counts = [_known(math.prod(sizes)) for sizes in itertools.product(*self._sizes)]
        return [
            Chunk(_name(position), n, None if n is None else n * row_bytes)
            for position, n in zip(positions, counts, strict=True)
        ]

    @cached_property
    def _graphs(self) -> ChunkGraphs:
        return ChunkGraphs(self.x)

    def reader(self, indices: Sequence[int]) -> DaskArrayReader:
        """Return a reader with the tasks of the chunks `indices`."""
        blocks = tuple(len(axis) for axis in self._sizes)
        return DaskArrayReader(
            self._graphs.reader(indices),
            blocks,
            self.grid,
            self.feature_axis,
            self.n_features,
            self.dtype,
            self.nan,
        )

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures of persisted chunks that `indices` are computed from."""
        return self._graphs.futures(indices)

    def counted(self) -> tuple[DaskArraySource, Sequence[int]]:
        """Compute a table to count the rows of each chunk.

        The numbers of the rows stay as they are: which rows a fit draws depends on them.
        """
        return self, self._graphs.lengths(axis=1 - self.feature_axis)

    def regularly_chunked(self) -> DaskArraySource:
        """Return the same rows in chunks as large as the largest along each axis."""
        if self.grid is not None and self.grid.is_regular:
            return self
        if self.grid is None:
            raise ValueError("The chunks of X have unknown sizes; call X.compute_chunk_sizes() first.")
        sizes = {axis: max(sizes) for axis, sizes in enumerate(self.x.chunks)}
        return DaskArraySource(self.x.rechunk(sizes), self.feature_axis, self.nan)

    def with_nan(self, nan: NanRule) -> DaskArraySource:
        """Return the same rows under another rule for a NaN."""
        return DaskArraySource(self.x, self.feature_axis, nan)

    def apply(self, answer: Answer) -> da.Array:
        """Return the answer as a lazy dask array of the samples' shape and chunks."""
        columns = () if answer.n_columns is None else ((answer.n_columns,),)
        return da.map_blocks(
            partial(_answer_piece, self.feature_axis, self.dtype, self.nan, answer),
            self.x,
            chunks=(*self._sizes, *columns),
            drop_axis=self.feature_axis,
            new_axis=len(self._sizes) if columns else None,
            dtype=answer.dtype,
            meta=np.empty((0,) * (len(self._sizes) + len(columns)), dtype=answer.dtype),
        )

    def __repr__(self) -> str:
        return f"DaskArraySource(samples={self.sample_shape}, features={self.n_features}, {self.dtype})"


class DaskArrayReader:
    """Computes chunks of a dask array.

    Parameters
    ----------
    graphs : GraphReader
    blocks : tuple of int
        Number of chunks along each sample axis.
    grid : SampleGrid or None
        None where the sizes of the chunks are not known.
    feature_axis, n_features : int
    dtype : dtype
        Of the rows.
    nan : {'error', 'drop', 'keep'}
    """

    def __init__(
        self,
        graphs: GraphReader,
        blocks: tuple[int, ...],
        grid: SampleGrid | None,
        feature_axis: int,
        n_features: int,
        dtype: np.dtype[Any],
        nan: NanRule,
    ) -> None:
        self.graphs, self.blocks, self.grid = graphs, blocks, grid
        self.feature_axis, self.n_features, self.dtype = feature_axis, n_features, dtype
        self.nan: NanRule = nan

    def read(self, index: int) -> Block:
        """Compute chunk `index`."""
        name = _name(tuple(int(i) for i in np.unravel_index(index, self.blocks)))
        piece = unmasked(self.graphs.compute(index), name)
        shape: list[int | None] = (
            [None] * len(self.blocks) if self.grid is None else [*self.grid.cell_shape(index)]
        )
        shape.insert(self.feature_axis, self.n_features)
        check_piece(piece, shape, name)
        rows = as_rows(piece, self.feature_axis, self.dtype)
        if self.grid is None:
            numbers = partial(unknown_numbers, index, len(rows))
        else:
            numbers = partial(self.grid.numbers, index)
        block = Block(rows=rows, name=name, index=index, numbers=numbers)
        return under_nan_rule(block, self.nan)

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold, before the first read."""
        self.graphs.supply(results)


def _answer_piece(
    feature_axis: int, dtype: np.dtype[Any], nan: NanRule, answer: Answer, piece: NDArray[Any]
) -> NDArray[Any]:
    """Return the answer for one chunk, in the shape of its samples."""
    piece = unmasked(piece, "A chunk of the dask array")
    check_piece(piece, [None] * piece.ndim, "A chunk of the dask array")
    rows = as_rows(piece, feature_axis, dtype)
    block = Block(rows=rows, name="chunk", index=0, numbers=partial(unknown_numbers, 0, len(rows)))
    values = checked_answer(under_nan_rule(block, nan), answer)
    samples = piece.shape[:feature_axis] + piece.shape[feature_axis + 1 :]
    return values.reshape(*samples, *values.shape[1:])


def _name(position: tuple[int, ...]) -> str:
    return f"chunk {position[0] if len(position) == 1 else position} of the dask array"


def _numbered_name(grid: SampleGrid, index: int) -> str:
    return _name(grid.position(index))


def _known(size: float) -> int | None:
    return None if math.isnan(size) else int(size)
