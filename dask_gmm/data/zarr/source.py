"""Zarr arrays as a source: made by `from_zarr`, read cell by cell, answered lazily."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray

from dask_gmm.data.answers import checked_answer
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.data.rows import NanRule, check_nan_rule, normal_feature_axis
from dask_gmm.data.sample_grid import SampleGrid, cell_shape_lcm
from dask_gmm.data.source import Answer, Chunk, working_dtype
from dask_gmm.data.splitting import MeasuredSource, split_source
from dask_gmm.data.zarr.left_out import MissingChunks
from dask_gmm.data.zarr.reader import ZarrReader
from dask_gmm.data.zarr.stored_array import StoredArray
from dask_gmm.data.zarr.variables import Variable, on_one_grid
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import joined


def from_zarr(
    url: Any,
    component: str | Sequence[str] | None = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    feature_axis: int = -1,
    nan: NanRule = "error",
    missing_chunks: MissingChunks = "auto",
    decode: bool = True,
    errors: Sequence[str] | None = None,
    correlations: Mapping[tuple[str, str], str] | None = None,
) -> ZarrSource | MeasuredSource:
    """Return the rows of a Zarr array, or of several arrays on one grid, without reading any.

    Packed numbers are unpacked as the CF conventions and xarray do it: ``scale_factor``, ``add_offset`` and
    ``_Unsigned`` among an array's attributes are applied; numbers that equal ``_FillValue`` or
    ``missing_value``, or lie outside ``valid_min``, ``valid_max`` or ``valid_range``, are missing values,
    that is NaN. (Zarr's own fill value is one of them in format 2 where the array has the attribute
    ``_ARRAY_DIMENSIONS``, as xarray and netCDF write it, and only there.)

    Parameters
    ----------
    url : str, path, zarr.Array or zarr.Group
        Local path or fsspec URL of an array or a group, of Zarr format 2 or 3, or of a .zip file of one.
    component : str or sequence of str, optional
        Path of the array in the group. A sequence names arrays of the same shape which are the features;
        all of their axes are samples, in the order in which the first one has them. Where axes have names
        (``dimension_names`` in format 3, ``_ARRAY_DIMENSIONS`` in format 2) the others follow by name.
    storage_options : mapping, optional
        For fsspec. Credentials among them are used in this process only: they are not sent to workers,
        which take theirs from their environment, configuration files or roles. (An open array over a
        store that is neither local nor fsspec's is sent with its store, and with what that holds.)
    feature_axis : int, default=-1
        Axis of a single array along which the features lie; all other axes are samples.
    nan : {"error", "drop", "keep"}, default="error"
        With "drop", rows that contain a NaN count for nothing, and predictions have -1 or NaN there. Both
        others leave NaN to an estimator with ``missing="em"``; for any other it is an error.
    missing_chunks : {"auto", "error", "fill"}, default="auto"
        Zarr does not store a chunk that contains nothing but the fill value, and reads a chunk that was
        lost in the same way. With "auto" a chunk that is not stored is of the first kind where all stored
        chunks next to it (the nearest, if there are none) hold the fill value, but not alone: so it is in
        masks, labels and counts. A warning says how many chunks that are; any other is a DataError. "error"
        takes all for lost, and "fill" none.
    decode : bool, default=True
        False reads the numbers as they are stored, whatever the attributes say.

    errors : sequence of str, optional
        Where `component` is a sequence, the arrays of standard errors, one for each. 0 is an exact value, inf
        a missing one.
    correlations : mapping of (str, str) to str, optional
        Arrays of the correlations between the errors of two components, by these.

    Returns
    -------
    ZarrSource, or MeasuredSource with errors

    Raises
    ------
    ValueError
        A group without a component, or a component that does not exist: the message lists the arrays.
        Components of different shapes or dimensions, a feature axis that does not exist, a one-dimensional
        array.
    TypeError
        An array of a dtype that is not real numbers.
    DataError
        Metadata that cannot be understood.
    """
    if missing_chunks not in ("auto", "error", "fill"):
        raise ValueError(f'missing_chunks must be "auto", "error" or "fill", got {missing_chunks!r}.')
    if errors is not None:
        if component is None or isinstance(component, str) or len(component) != len(errors):
            raise ValueError(f"errors names an array for each component, in their order; got {errors}.")
        pairs = correlations or {}
        wide = from_zarr(
            url,
            [*component, *errors, *pairs.values()],
            storage_options,
            nan="keep",
            missing_chunks=missing_chunks,
            decode=decode,
        )
        return split_source(wide, len(component), list(pairs), nan)
    names = [component] if component is None or isinstance(component, str) else list(component)
    if not names:
        raise ValueError("component is an empty list; name the arrays that are the features.")
    stored = [StoredArray.open(url, name, storage_options or {}, missing_chunks) for name in names]
    variables = [Variable.of(array, decode) for array in stored]
    together = component is not None and not isinstance(component, str)
    return ZarrSource(variables, None if together else feature_axis, nan)


class ZarrSource(BaseSource):
    """Rows in Zarr; made by `from_zarr` or from an open ``zarr.Array``.

    A block is a cell of the chunk grid over the sample axes, with all features: of shards where there
    are shards, and of whole chunks of every array where several arrays have different chunks.

    Parameters
    ----------
    variables : sequence of Variable
        One array, or the arrays that are the features.
    feature_axis : int or None
        None where every array is a feature.
    nan : {"error", "drop"}, default="error"
    keys : sequence of Variable
        Arrays of the samples' shape that are no features, but are read beside them.
    """

    numbered = True
    stored = True
    grid: SampleGrid

    def __init__(
        self,
        variables: Sequence[Variable],
        feature_axis: int | None,
        nan: NanRule = "error",
        keys: Sequence[Variable] = (),
    ) -> None:
        check_nan_rule(nan)
        self.variables = on_one_grid(variables)
        self.nan: NanRule = nan
        first = self.variables[0]
        shape, chunk = first.shape, cell_shape_lcm([v.chunk_shape for v in self.variables])
        if feature_axis is None:
            self.feature_axis = None
            self.feature_names = tuple(v.name for v in self.variables)
            self.n_features = len(self.variables)
        else:
            self.feature_axis = normal_feature_axis(feature_axis, len(shape), f"the Zarr array {first!r}")
            self.feature_names = None
            self.n_features = shape[self.feature_axis]
            shape, chunk = (_without(each, self.feature_axis) for each in (shape, chunk))
        self.keys = tuple(keys)
        self.grid = SampleGrid.regular(shape, cell_shape_lcm([chunk, *(key.chunk_shape for key in keys)]))
        self.sample_shape = self.grid.shape
        self.dims = tuple(dim for axis, dim in enumerate(first.dims) if axis != self.feature_axis)
        self.dtype = np.result_type(*(working_dtype(v.dtype, f"the Zarr array {v!r}") for v in variables))

    def select_features(self, names: Sequence[str]) -> ZarrSource:
        """Return the same rows with these arrays as features; itself where it has not all of them."""
        known = {variable.name: variable for variable in self.variables}
        if self.feature_names is None or self.feature_names == tuple(names) or not set(names) <= set(known):
            return self
        return ZarrSource([known[name] for name in names], None, self.nan, self.keys)

    def with_nan(self, nan: NanRule) -> ZarrSource:
        """Return the same rows under another rule for a NaN."""
        return ZarrSource(self.variables, self.feature_axis, nan, self.keys)

    def with_keys(self, names: Sequence[str]) -> ZarrSource:
        """Return the same rows with these arrays of the same group, of any dtype, as their keys.

        Raises
        ------
        DataError
            An array that is not there, or of another shape than the samples.
        """
        keys = [Variable.of(self.variables[0].stored.beside(name), decode=False) for name in names]
        for key in keys:
            if key.shape != self.sample_shape:
                raise DataError(f"{key!r} has shape {key.shape}, the samples have {self.sample_shape}.")
        return ZarrSource(self.variables, self.feature_axis, self.nan, keys)

    @classmethod
    def from_array(cls, array: zarr.Array[Any], feature_axis: int = -1, nan: NanRule = "error") -> ZarrSource:
        """Return the rows of an open array."""
        source = from_zarr(array, feature_axis=feature_axis, nan=nan)
        assert isinstance(source, ZarrSource)
        return source

    @cached_property
    def chunks(self) -> Sequence[Chunk]:
        """The cells of the grid, in C order, called by the keys of the stored chunks where each begins."""
        return GridChunks(self.grid, self.n_features * self.dtype.itemsize, self._reader.name)

    @property
    def _reader(self) -> ZarrReader:
        may_be_nan = any(v.dtype.kind == "f" for v in self.variables)
        nan: NanRule = self.nan if may_be_nan else "error"
        return ZarrReader(self.variables, self.grid, self.feature_axis, self.dtype, nan, self.keys)

    def reader(self, indices: Sequence[int]) -> ZarrReader:
        """Return a reader of all chunks; it is as small as one of a few."""
        return self._reader

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a stored chunk does, None where only reading would tell."""
        return joined(*(variable.fingerprint() for variable in self.variables), *columns)

    def apply(self, answer: Answer) -> da.Array:
        """Return the answer as a lazy dask array of the samples' shape and chunks."""
        columns = () if answer.n_columns is None else ((answer.n_columns,),)
        return da.map_blocks(
            partial(_answer_cell, PatientReader(self._reader), self.grid, answer),
            chunks=(*self.grid.sizes, *columns),
            dtype=answer.dtype,
            meta=np.empty((0,) * (len(self.sample_shape) + len(columns)), dtype=answer.dtype),
        )

    def __repr__(self) -> str:
        names = ", ".join(map(repr, self.variables))
        return f"ZarrSource({names}, samples={self.sample_shape}, features={self.n_features}, {self.dtype})"


def _answer_cell(
    reader: PatientReader, grid: SampleGrid, answer: Answer, block_id: tuple[int, ...]
) -> NDArray[Any]:
    """Return the answer for one cell, in the cell's shape."""
    position = block_id[: len(grid.shape)]
    index = int(np.ravel_multi_index(position, grid.blocks))
    values = checked_answer(reader.read(index), answer)
    return values.reshape(*grid.cell_shape(index), *values.shape[1:])


def _without(values: tuple[int, ...], axis: int) -> tuple[int, ...]:
    return values[:axis] + values[axis + 1 :]
