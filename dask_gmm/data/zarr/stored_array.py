"""Zarr arrays that travel as an address, without secrets, and are opened once per process."""

from __future__ import annotations

import gzip
import itertools
import math
import os
import pickle
import zlib
from collections.abc import Mapping
from contextlib import suppress
from functools import cached_property, lru_cache
from typing import Any

import numpy as np
import zarr
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray
from zarr.storage import FsspecStore, LocalStore

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.zarr.checked_store import checked, fast, has_empty_chunk
from dask_gmm.data.zarr.left_out import MissingChunkError, MissingChunks, UnstoredChunks
from dask_gmm.data.zarr.opening import member, open_array
from dask_gmm.data.zarr.unreadable import missing_codec
from dask_gmm.errors import DataError, StoreRefusedError
from dask_gmm.storage.fingerprint import of_parts, version
from dask_gmm.storage.location import Location
from dask_gmm.storage.retries import patiently
from dask_gmm.storage.store_errors import verdict

# What codecs raise for bytes that they cannot decode.
_UNDECODABLE = (ValueError, TypeError, RuntimeError, EOFError, IndexError, zlib.error, gzip.BadGzipFile)

# Where xarray and netCDF keep the names of axes in format 2.
_DIMENSIONS = "_ARRAY_DIMENSIONS"


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
        What the array must look like when it is opened again elsewhere.
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
            self.unchecked = array
        self.layout = layout or _layout(self.unchecked)

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
            array = member(place, component)
            return cls(array, _location(array), array.path, missing_chunks)
        url = os.fspath(place)
        if url.endswith(".zip") and "::" not in url:
            url = f"zip::{url}"
        location = Location(url, storage_options)
        array = patiently(lambda: open_array(location, component or ""), f"{location} cannot be opened")
        return cls(array, location, component or "", missing_chunks)

    @cached_property
    def unchecked(self) -> zarr.Array[Any]:
        """The array as Zarr gives it."""
        assert self.location is not None
        array = open_array(self.location, self.component)
        if _layout(array) != self.layout:
            raise DataError(f"{self!r} changed after it was opened: {self.layout} became {_layout(array)}.")
        return array

    @cached_property
    def checked(self) -> zarr.Array[Any]:
        """The array, reading through a CheckedStore."""
        return checked(self.unchecked, lambda _: self.missing_chunks == "fill")

    @cached_property
    def filled(self) -> zarr.Array[Any]:
        """The same, with the fill value for chunks that were found to be left out."""
        return checked(self.unchecked, self.unstored.left_out.__contains__)

    @cached_property
    def unstored(self) -> UnstoredChunks:
        """Which chunks are not stored, and why."""
        return UnstoredChunks(self.checked, self.chunk_shape, repr(self))

    @cached_property
    def fast(self) -> zarr.Array[Any] | None:
        """The array, reading faster and less carefully where that is possible."""
        return fast(self.unchecked)

    @property
    def name(self) -> str:
        """The last part of its path, by which the group knows it."""
        return self.component or self.unchecked.basename

    @property
    def shape(self) -> tuple[int, ...]:
        """Its shape."""
        return tuple(self.unchecked.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """Its stored dtype."""
        dtype: np.dtype[Any] = self.unchecked.dtype
        return dtype

    @property
    def attributes(self) -> Mapping[str, Any]:
        """What was written about it."""
        attributes: Mapping[str, Any] = self.unchecked.attrs.asdict()
        return attributes

    @property
    def dims(self) -> tuple[str | None, ...]:
        """Names of its axes, as format 3 keeps them, or as xarray and netCDF do in format 2."""
        named = getattr(self.unchecked.metadata, "dimension_names", None) or self.attributes.get(_DIMENSIONS)
        if not isinstance(named, (list, tuple)) or len(named) != len(self.shape):
            return (None,) * len(self.shape)
        return tuple(None if name is None else str(name) for name in named)

    @property
    def missing_value(self) -> Any:
        """The fill value where it stands for missing values, else None.

        It does so in arrays of format 2 that xarray or netCDF wrote; others leave it at zero and mean zero.
        """
        as_netcdf = self.unchecked.metadata.zarr_format == 2 and _DIMENSIONS in self.attributes
        return self.unchecked.fill_value if as_netcdf else None

    @cached_property
    def chunk_shape(self) -> tuple[int, ...]:
        """Shape of what is stored under one key, a shard or a chunk."""
        return tuple(max(n, 1) for n in self.unchecked.shards or self.unchecked.chunks)

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

    def key(self, selection: tuple[slice, ...]) -> str:
        """Return the key, within the store, of the chunk where `selection` begins."""
        array = self.unchecked
        at = tuple(along.start // n for along, n in zip(selection, self.chunk_shape, strict=True))
        encoded = array.metadata.encode_chunk_key(at)
        return f"{array.path}/{encoded}" if array.path else encoded

    def read(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the elements in `selection`, which begins and ends at chunks.

        Raises
        ------
        DataError
            A chunk is missing, cut off or cannot be decoded; names its key.
        ChunkTooLargeError
            A chunk is larger than memory; names its key.
        """
        check_fits(self._decoded_bytes(selection), self._place(selection))
        # What the fast way cannot read, or may be missing, is read once more by the one that tells why.
        with suppress(Exception):
            if self.fast is not None:
                values: NDArray[Any] = np.asarray(self.fast[selection])
                fill = self.unchecked.fill_value
                if self.missing_chunks == "fill" or not has_empty_chunk(values, self.chunk_shape, fill):
                    return values
        try:
            return self._read_checked(selection)
        except DataError:
            raise
        except Exception as error:
            missing = missing_codec(error, repr(self))
            if missing is not None:
                raise missing from error
            # What is not implemented is a RuntimeError, too.
            undecodable = isinstance(error, _UNDECODABLE) and not isinstance(error, NotImplementedError)
            if verdict(error) is not None or not undecodable:
                error.add_note(f"while reading {self._place(selection)}")
                raise
            raise DataError(
                f"Zarr chunk {self._undecodable(selection)} of {self!r} cannot be decoded: {error}. "
                "It is damaged or was cut off; write it again. (If none of them can be decoded, the codecs "
                f"of the metadata, {_coding(self.unchecked)}, are not those that it was written with.)"
            ) from error

    def _read_checked(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        try:
            return np.asarray(self.checked[selection])
        except MissingChunkError:
            if self.missing_chunks == "error":
                raise
        self.unstored.check(selection)
        return np.asarray(self.filled[selection])

    def _decoded_bytes(self, selection: tuple[slice, ...]) -> int:
        """Return the size of the elements in `selection`, or of a chunk: it is decoded whole."""
        n_elements: int = math.prod(along.stop - along.start for along in selection)
        whole: int = math.prod(self.unchecked.chunks)
        return max(n_elements, whole) * self.dtype.itemsize

    def _place(self, selection: tuple[slice, ...]) -> str:
        if "unchecked" not in vars(self):
            return f"the metadata of {self!r}"
        return f"Zarr chunk {self.key(selection)} of {self!r}"

    def _undecodable(self, selection: tuple[slice, ...]) -> str:
        """Return the key of the first chunk in `selection` that cannot be decoded."""
        starts = [range(s.start, s.stop, n) for s, n in zip(selection, self.chunk_shape, strict=True)]
        for start in itertools.product(*starts):
            chunk = tuple(slice(i, i + n) for i, n in zip(start, self.chunk_shape, strict=True))
            try:
                self.checked[chunk]
            except _UNDECODABLE:
                return self.key(chunk)
        return self.key(selection)

    def __repr__(self) -> str:
        place = str(self.location or Location(str(self.unchecked.store))).rstrip("/")
        return f"{place}/{self.component}" if self.component else place

    def __dask_tokenize__(self) -> Any:
        # Without an address two arrays may look alike; the object stands for itself.
        place = id(self.unchecked) if self.location is None else self.location.__dask_tokenize__()
        return place, repr(self), self.layout

    def __reduce__(self) -> tuple[Any, ...]:
        address = self.location, self.component, self.missing_chunks, self.layout
        if self.location is None:
            return StoredArray, (self.unchecked, *address)
        return _from_address, (pickle.dumps(address),)


@lru_cache(maxsize=256)
def _from_address(address: bytes) -> StoredArray:
    # One object for each address, so that a process opens the array once, whatever number of tasks name it.
    return StoredArray(None, *pickle.loads(address))


def _layout(array: zarr.Array[Any]) -> str:
    """Return a text that differs where two arrays are stored differently."""
    # Names and no parameters: those of a codec may be filled in when an array is opened, like the byte order.
    # Texts of any length have no byte order.
    dtype = array.dtype if array.dtype.kind == "T" else array.dtype.newbyteorder("=")
    return f"shape {array.shape}, chunks {array.chunks}, shards {array.shards}, {dtype}, {_coding(array)}"


def _coding(array: zarr.Array[Any]) -> str:
    return ", ".join(type(codec).__name__ for codec in (*array.filters, *array.compressors))


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
