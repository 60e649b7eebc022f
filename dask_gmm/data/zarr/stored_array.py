"""Zarr arrays that travel as an address, without secrets, and are opened once per process."""

from __future__ import annotations

import os
import pickle
from collections.abc import Mapping
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import zarr
from fsspec.implementations.local import LocalFileSystem
from zarr.storage import FsspecStore, LocalStore

from dask_gmm.data.zarr.chunk_reader import ChunkReader
from dask_gmm.data.zarr.left_out import MissingChunks
from dask_gmm.data.zarr.metadata import layout_of
from dask_gmm.data.zarr.opening import open_array, select_array
from dask_gmm.errors import DataError, StoreRefusedError
from dask_gmm.storage.fingerprint import of_parts, version
from dask_gmm.storage.location import Location
from dask_gmm.storage.retries import patiently


class StoredArray:
    """A Zarr array, opened once per process; pickled as its address, without secrets.

    Parameters
    ----------
    array : zarr.Array or None
        None to open it when it is first needed.
    location : Location or None
        Where its store is; None if only the object leads there, which is then pickled with its store.
    component : str
        The array's path in the store.
    missing_chunks : {"auto", "error", "fill"}
        What a chunk that is not stored means; see `dask_gmm.data.zarr.left_out`.
    layout : str, optional
        What the array must look like when it is opened again elsewhere; see `layout_of`.
    """

    def __init__(
        self,
        array: zarr.Array[Any] | None,
        location: Location | None,
        component: str,
        missing_chunks: MissingChunks,
        layout: str | None = None,
    ) -> None:
        self.location, self.component = location, component
        self.missing_chunks = missing_chunks
        if array is not None:
            self.array = array
        self.layout = layout or layout_of(self.array)

    @classmethod
    def open(
        cls,
        place: Any,
        component: str | None,
        storage_options: Mapping[str, Any],
        missing_chunks: MissingChunks,
    ) -> StoredArray:
        """Open the array `component` of `place`, a URL or an open array or group; see `from_zarr`."""
        if isinstance(place, (zarr.Array, zarr.Group)):
            array = select_array(place, component)
            return cls(array, _location(array), array.path, missing_chunks)
        url = os.fspath(place)
        if url.endswith(".zip") and "::" not in url:
            url = f"zip::{url}"
        location = Location(url, storage_options)
        array = patiently(lambda: open_array(location, component or ""), f"{location} cannot be opened")
        return cls(array, location, component or "", missing_chunks)

    def beside(self, name: str) -> StoredArray:
        """Return the array of this name in the same group.

        Raises
        ------
        DataError
            There is none, or no address that leads to it.
        """
        group, _, _ = self.component.rpartition("/")
        component = f"{group}/{name}" if group else name
        location = self.location
        if location is None or not self.component:
            raise DataError(f"{self!r} is not in a group that could have {name!r} beside it.")
        try:
            array = patiently(lambda: open_array(location, component), f"{location} cannot be opened")
        except (ValueError, FileNotFoundError) as error:
            raise DataError(f"There is no array {component!r} beside {self!r}.") from error
        return StoredArray(array, location, component, self.missing_chunks)

    @cached_property
    def array(self) -> zarr.Array[Any]:
        """The array as Zarr opens it, without checks when chunks are read."""
        assert self.location is not None
        array = open_array(self.location, self.component)
        if layout_of(array) != self.layout:
            raise DataError(f"{self!r} changed after it was opened: {self.layout} became {layout_of(array)}.")
        return array

    @cached_property
    def chunk_reader(self) -> ChunkReader:
        """What reads the array's chunks."""
        return ChunkReader(self.array, self.missing_chunks, repr(self))

    @property
    def name(self) -> str:
        """The path in the group, or the last part of the path of the store."""
        return self.component or self.array.basename

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the array."""
        return tuple(self.array.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of its elements as they are stored."""
        dtype: np.dtype[Any] = self.array.dtype
        return dtype

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What was written about the array beside its elements."""
        attributes: Mapping[str, Any] = self.array.attrs.asdict()
        return attributes

    def fingerprint(self) -> str | None:
        """Return a text that changes when a stored chunk does, None where the store cannot list chunks."""
        if self.location is None:
            return None
        try:
            listed = patiently(self._listed, f"{self!r} cannot be listed")
        except (StoreRefusedError, NotImplementedError):
            return None
        return of_parts(listed) if listed else None

    def _listed(self) -> list[tuple[str, str]]:
        assert self.location is not None
        filesystem, path = self.location.open_filesystem()
        root = f"{path}/{self.component}".rstrip("/")
        filesystem.invalidate_cache()
        found = filesystem.find(root, detail=True).items()
        return sorted((name.removeprefix(root), version(info)) for name, info in found)

    def __repr__(self) -> str:
        place = str(self.location or Location(str(self.array.store))).rstrip("/")
        return f"{place}/{self.component}" if self.component else place

    def __dask_tokenize__(self) -> Any:
        # Without an address two arrays may look alike; the object stands for itself.
        place = id(self.array) if self.location is None else self.location.__dask_tokenize__()
        return place, repr(self), self.layout

    def __reduce__(self) -> tuple[Any, ...]:
        address = self.location, self.component, self.missing_chunks, self.layout
        if self.location is None:
            return StoredArray, (self.array, *address)
        return _from_address, (pickle.dumps(address),)


@lru_cache(maxsize=256)
def _from_address(address: bytes) -> StoredArray:
    # One object for each address, so that a process opens the array once, whatever number of tasks name it.
    return StoredArray(None, *pickle.loads(address))


def _location(array: zarr.Array[Any]) -> Location | None:
    """Return where an open array's store is, None if only the store itself leads there."""
    store = array.store
    if type(store) is LocalStore:
        return Location(str(store.root))
    if type(store) is FsspecStore:
        filesystem = getattr(store.fs, "sync_fs", store.fs)
        if type(filesystem) is LocalFileSystem:
            return Location(store.path)
        return Location(filesystem.unstrip_protocol(store.path), filesystem.storage_options)
    return None
