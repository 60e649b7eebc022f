"""Rows in xarray: a DataArray with a dimension of features, or a Dataset whose variables are the features.

The arrays inside are read as any other; predictions get the dimensions and coordinates of the samples.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import dask.array as da
import numpy as np
import xarray as xr
from dask.array.core import normalize_chunks

from dask_gmm.data.aligned_grid import in_order
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.dask_array import DaskArrayReader, DaskArraySource
from dask_gmm.data.dataset_variables import check_variables
from dask_gmm.data.masks import unmasked_chunks
from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Answer, Chunk, working_dtype
from dask_gmm.errors import DataError

#: The dimension of probabilities.
COMPONENT = "component"

# Blocks of variables in memory; smaller ones cost more than they balance.
_BLOCK_BYTES = 8 << 20


def from_xarray(
    data: xr.DataArray | xr.Dataset,
    feature_dim: Hashable | None = None,
    *,
    nan: NanRule = "error",
) -> LabelledSource:
    """Return the rows of an xarray object; all dimensions but that of the features are samples.

    Parameters
    ----------
    data : xarray.DataArray or xarray.Dataset
        The variables of a Dataset are the features; one that lacks a dimension of the samples is repeated
        along it. Dask arrays in it stay lazy.
    feature_dim : hashable, optional
        The dimension of a DataArray along which the features lie; the last without it. Of a Dataset: each
        entry along it of each variable is a feature, such as the temperatures and salinities of profiles at
        all depths, called ``temperature[10.0]`` and so on by the coordinates; variables without it are one
        feature each.
    nan : {"error", "drop"}, default="error"
        With "drop", rows that contain a NaN count for nothing, and predictions have -1 or NaN there.

    Returns
    -------
    LabelledSource
        Predictions are DataArrays with the dimensions and coordinates of the samples, lazy where `data` is.

    Raises
    ------
    ValueError
        A dimension that does not exist, no sample dimension, no variable. Variables of a Dataset that are
        not over the samples: scalars, cell bounds, grid mappings.
    TypeError
        Values that are not real numbers, such as dates; the error names the variables.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> from dask_gmm import GaussianMixture, from_xarray
    >>> rng = np.random.default_rng(0)
    >>> sea = xr.Dataset({name: (("y", "x"), rng.normal(size=(20, 30))) for name in ("t", "s")})
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(from_xarray(sea))
    >>> gm.predict(sea).dims
    ('y', 'x')
    """
    if isinstance(data, xr.Dataset):
        found = _of_dataset(data) if feature_dim is None else _of_profiles(data, feature_dim)
        return LabelledSource(*found, nan=nan, feature_dim=feature_dim)
    if not isinstance(data, xr.DataArray):
        raise TypeError(f"from_xarray takes a DataArray or a Dataset, got {type(data).__name__}.")
    return LabelledSource(*_of_array(data, feature_dim), nan=nan, feature_dim=feature_dim)


class LabelledSource(BaseSource):
    """Rows in xarray objects; see `from_xarray`, which makes it.

    Parameters
    ----------
    values : dask.array.Array
        With the features along the last axis.
    samples : xarray.DataArray
        Has the dimensions and coordinates of the samples; its values are not used.
    feature_names : tuple of str or None
    in_memory : bool
    nan : {"error", "drop"}
    feature_dim : hashable, optional
        Along which a Dataset has several features for each variable.
    """

    def __init__(
        self,
        values: da.Array,
        samples: xr.DataArray,
        feature_names: tuple[str, ...] | None,
        in_memory: bool,
        nan: NanRule,
        feature_dim: Hashable | None = None,
    ) -> None:
        self.feature_dim = feature_dim
        self._rows = DaskArraySource(values, -1, nan)
        self._samples = samples
        self.feature_names = feature_names
        self.in_memory = in_memory
        self.n_features, self.dtype = self._rows.n_features, self._rows.dtype
        self.sample_shape, self.numbered, self.grid = self._rows.sample_shape, True, self._rows.grid
        self.dims = tuple(map(str, samples.dims))

    @property
    def chunks(self) -> Sequence[Chunk]:
        """The chunks of the values."""
        return self._rows.chunks

    def reader(self, indices: Sequence[int]) -> DaskArrayReader:
        """Return a reader of the chunks `indices`."""
        return self._rows.reader(indices)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures of persisted chunks."""
        return self._rows.futures(indices)

    def take_column(self, name: str, values: Any) -> tuple[LabelledSource, Any]:
        """Return the values of named dimensions in the order of the samples' dimensions.

        Raises
        ------
        DataError
            They belong to other dimensions or coordinates.
        """
        if isinstance(values, xr.DataArray):
            values = self._laid_out(values, name)
        return self, in_order(values, self._samples.dims, name)

    @property
    def nan(self) -> NanRule:
        """What becomes of rows with a NaN."""
        return self._rows.nan

    @property
    def coordinates(self) -> xr.Dataset:
        """The coordinates of the samples, without variables."""
        return xr.Dataset(coords=self._samples.coords)

    def with_nan(self, nan: NanRule) -> LabelledSource:
        """Return the same rows under another rule for a NaN."""
        source = copy.copy(self)
        source._rows = self._rows.with_nan(nan)
        return source

    def with_values(self, values: da.Array) -> LabelledSource:
        """Return a source of other values, features last, on the same samples."""
        return LabelledSource(values, self._samples, None, self.in_memory, "keep")

    def regularly_chunked(self) -> DaskArraySource:
        """Return the same rows in chunks as large as the largest along each axis."""
        return self._rows.regularly_chunked()

    def _laid_out(self, values: xr.DataArray, name: str) -> Any:
        """Return values in the samples' order, repeated along dimensions that they do not have."""
        dims = self._samples.dims
        unknown = [dim for dim in values.dims if dim not in dims]
        if unknown:
            raise DataError(f"{name} has dimensions {unknown}, which the samples {dims} do not have.")
        try:
            _, values = xr.align(self._samples, values, join="exact", copy=False)
        except ValueError as error:
            raise DataError(f"{name} does not belong to the coordinates of X: {error}") from error
        return _unmasked(values).broadcast_like(self._samples).transpose(*dims).data

    def apply(self, answer: Answer) -> xr.DataArray:
        """Return the answer with the samples' dimensions and coordinates; probabilities along 'component'."""
        values: Any = self._rows.apply(answer)
        if self.in_memory:
            values = values.compute(scheduler="threads")
        dims = self._samples.dims if answer.n_columns is None else (*self._samples.dims, COMPONENT)
        attrs = {"long_name": answer.long_name} if answer.long_name else {}
        # Without a name Dask's would be taken, of the values.
        labelled = xr.DataArray(values, dims=dims, coords=self._samples.coords, attrs=attrs)
        return labelled.rename(answer.name or None)

    def __repr__(self) -> str:
        sizes = ", ".join(f"{name}: {size}" for name, size in self._samples.sizes.items())
        return f"LabelledSource({sizes}, features={self.n_features}, {self.dtype})"


def _of_array(
    array: xr.DataArray, feature_dim: Hashable | None
) -> tuple[da.Array, xr.DataArray, tuple[str, ...] | None, bool]:
    if array.ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {array.ndim}D array instead: a DataArray needs a dimension of features "
            "and at least one of samples."
        )
    dim = array.dims[-1] if feature_dim is None else feature_dim
    if dim not in array.dims:
        raise ValueError(f"feature_dim={dim!r} does not exist: the DataArray has {array.dims}.")
    array = array.transpose(..., dim)
    if array.sizes[dim] == 0:
        raise ValueError(f"There are no features: dimension {dim!r} of the DataArray has length 0.")
    samples = array.isel({dim: 0}, drop=True)
    names = tuple(array.indexes.get(dim, ()))
    texts = bool(names) and all(isinstance(name, str) for name in names)
    return _lazy(array.variable), samples, names if texts else None, array.chunks is None


def _of_dataset(
    dataset: xr.Dataset,
) -> tuple[da.Array, xr.DataArray, tuple[str, ...] | None, bool]:
    check_variables(dataset)
    arrays = xr.broadcast(*map(_unmasked, dataset.data_vars.values()))
    names = tuple(dataset.data_vars)
    values = da.stack([_lazy(array.variable) for array in arrays], axis=-1)
    texts = all(isinstance(name, str) for name in names)
    in_memory = all(array.chunks is None for array in dataset.data_vars.values())
    return values, arrays[0], tuple(map(str, names)) if texts else None, in_memory


def _of_profiles(
    dataset: xr.Dataset, dim: Hashable
) -> tuple[da.Array, xr.DataArray, tuple[str, ...] | None, bool]:
    check_variables(dataset)
    if not any(dim in array.dims for array in dataset.data_vars.values()):
        raise ValueError(f"feature_dim={dim!r} is no dimension of a variable: {tuple(dataset.sizes)}.")
    levels = dataset.indexes.get(dim, range(dataset.sizes[dim]))
    wide = [
        array if dim in array.dims else array.expand_dims({dim: 1})
        for array in map(_unmasked, dataset.data_vars.values())
    ]
    wide = [array.drop_vars([dim], errors="ignore").transpose(..., dim) for array in wide]
    arrays = xr.broadcast(*wide, exclude=[dim])
    names: list[str] = []
    for name, array in dataset.data_vars.items():
        names += [f"{name}[{level}]" for level in levels] if dim in array.dims else [str(name)]
    dims = (*(other for other in arrays[0].dims if other != dim), dim)
    values = da.concatenate([_lazy(array.transpose(*dims).variable) for array in arrays], axis=-1)
    if values.ndim < 2:
        raise ValueError(f"The variables have no dimension of samples beside {dim!r}.")
    samples = arrays[0].transpose(*dims).isel({dim: 0}, drop=True)
    in_memory = all(array.chunks is None for array in dataset.data_vars.values())
    return values, samples, tuple(names), in_memory


def _unmasked(array: xr.DataArray) -> xr.DataArray:
    """Return the array without hidden masks, which broadcasting would leave out."""
    if array.chunks is None:
        return array
    dtype = working_dtype(array.dtype, f"variable {array.name!r}")
    return array.copy(data=unmasked_chunks(array.data, dtype))


def _lazy(variable: xr.Variable) -> da.Array:
    """Return the values as a dask array; what is in memory is cut into views of it."""
    if variable.chunks is not None:
        lazy: da.Array = variable.data
        return lazy
    # Numbers in Python objects have no size that chunks could be made of.
    values = variable.values if variable.dtype != object else variable.values.astype(np.float64)
    chunks = normalize_chunks("auto", values.shape, limit=_BLOCK_BYTES, dtype=values.dtype)
    # Without a name of its own Dask would read all values to make one.
    return da.from_array(values, chunks=chunks, name=False)
