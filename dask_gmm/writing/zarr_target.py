"""Predictions in a Zarr group."""

from __future__ import annotations

import pickle
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any

import zarr
from zarr.codecs import BloscCodec, Crc32cCodec

from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.mixture.prediction import LONG_NAMES
from dask_gmm.storage.location import Location
from dask_gmm.writing.sample_coordinates import write_coordinates
from dask_gmm.writing.target import Column, Identity, Values, continues

if TYPE_CHECKING:
    import pyarrow as pa
    import xarray as xr

_NOTE = "dask_gmm_predictions"

# Labels have few bits that carry information, and writing them should not take longer than computing them.
# With the checksum a bit that flips in the store is noticed when it is read.
_COMPRESSORS = (BloscCodec(cname="lz4", clevel=5, shuffle="bitshuffle"), Crc32cCodec())


@dataclass(frozen=True)
class ZarrTarget:
    """A Zarr group with one array per column, whose chunks are those of the samples.

    Attributes
    ----------
    location : Location
        The group.
    grid : SampleGrid
        The samples, in regular cells.
    columns : tuple of Column
    dims : tuple of str or None
        Names of the samples' dimensions, by which xarray opens the group.
    masked : bool
        Some samples may have been dropped: labels of -1 are marked as missing.
    coordinates : xarray.Dataset or None
        Of the samples.
    kept : tuple of Column
        Arrays of keys, copied.
    """

    location: Location
    grid: SampleGrid
    columns: tuple[Column, ...]
    dims: tuple[str | None, ...] | None = None
    masked: bool = False
    coordinates: xr.Dataset | None = field(default=None, compare=False)
    kept: tuple[Column, ...] = ()

    def prepare(self, identity: Identity, overwrite: bool) -> None:
        """Make the group and its arrays; see `Target.prepare`."""
        filesystem, path = self.location.open_filesystem()
        if filesystem.exists(path) and filesystem.find(path, maxdepth=2):
            group = self._existing_group()
            note = None if group is None else group.attrs.get(_NOTE)
            if not continues(note, identity, overwrite, self.location):
                assert note is not None
                self._remove(note)
        group = _open_group(self.location, "a")
        if group.attrs.get(_NOTE) != identity:
            group.attrs[_NOTE] = dict(identity)
        self._make_arrays(group)
        if self.coordinates is not None:
            write_coordinates(self.location, self.coordinates, dict(group.attrs))

    def __getstate__(self) -> dict[str, Any]:
        # Workers write values only.
        return {**self.__dict__, "coordinates": None}

    def _existing_group(self) -> Any:
        try:
            return _open_group(self.location, "r")
        except (FileNotFoundError, ValueError, zarr.errors.BaseZarrError):
            return None

    def _remove(self, note: Identity) -> None:
        """Remove what was written for this note, and nothing else that may be in the group."""
        group = _open_group(self.location, "r+")
        for name in (*note["outputs"], *note.get("keep", ())):
            if name in group:
                del group[name]

    def _make_arrays(self, group: Any) -> None:
        cell = tuple(starts.step for starts in self.grid.starts if isinstance(starts, range))
        for column in (*self.columns, *self.kept):
            if column.name in group:
                continue
            more = () if column.n_columns is None else (column.n_columns,)
            names = None if self.dims is None else (*self.dims, *("component" for _ in more))
            group.create_array(
                column.name,
                shape=(*self.grid.shape, *more),
                chunks=(*cell, *more),
                dtype=column.dtype,
                fill_value=column.missing,
                dimension_names=names,
                compressors=_COMPRESSORS,
                attributes=self._attributes(column),
            )

    def _attributes(self, column: Column) -> dict[str, Any]:
        """Return what xarray shows, and by which it knows missing labels."""
        told = {"long_name": LONG_NAMES[column.name]} if column.name in LONG_NAMES else {}
        is_label = column in self.columns and column.dtype.kind == "i"
        return told | ({"_FillValue": int(column.missing)} if is_label and self.masked else {})

    def finished(self) -> set[int]:
        """Return the cells that every array has; an empty cell is stored like any other."""
        filesystem, path = self.location.open_filesystem()
        complete = set(range(len(self.grid)))
        for column in (*self.columns, *self.kept):
            array = _open_array(self.location, column.name, "r")
            root = f"{path.rstrip('/')}/{column.name}"
            stored = {name.removeprefix(root).lstrip("/") for name in filesystem.find(root)}
            last = () if column.n_columns is None else (0,)
            encode = array.metadata.encode_chunk_key
            complete = {i for i in complete if encode((*self.grid.position(i), *last)) in stored}
        return complete

    def write(self, index: int, values: Values, keys: pa.Table | None = None) -> None:
        """Write the same cell of each array: a chunk, which the store replaces as a whole."""
        region, shape = self.grid.region(index), self.grid.cell_shape(index)
        for column in self.kept:
            assert keys is not None
            values = {**values, column.name: keys[column.name].to_numpy().astype(column.dtype)}
        for column in (*self.columns, *self.kept):
            array = _opened_once(self.location, column.name, pickle.dumps((column, self.grid)))
            array[region] = values[column.name].reshape(*shape, *values[column.name].shape[1:])


def _open_group(location: Location, mode: Any) -> Any:
    return zarr.open_group(location.url, mode=mode, storage_options=dict(location.storage_options) or None)


def _open_array(location: Location, name: str, mode: Any, **config: Any) -> Any:
    options = dict(location.storage_options) or None
    return zarr.open_array(location.url, path=name, mode=mode, storage_options=options, config=config)


@lru_cache(maxsize=64)
def _opened_once(location: Location, name: str, layout: bytes) -> Any:
    """Return an array to write to; `layout` tells it from one of another shape that it replaced."""
    # A chunk of nothing but the fill value is stored too: what is not there is not finished.
    return _open_array(location, name, "r+", write_empty_chunks=True)
