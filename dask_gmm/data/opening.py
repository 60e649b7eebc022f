"""Zarr arrays opened for reading, through obstore where it serves and through fsspec elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from json import JSONDecodeError
from typing import Any

import zarr
from fsspec.core import url_to_fs
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.errors import MetadataValidationError, NodeNotFoundError
from zarr.storage import FsspecStore, ObjectStore

from dask_gmm.data.objects import object_store
from dask_gmm.data.secrets import public_url
from dask_gmm.data.source import DataError

_CACHES = ("simplecache::", "filecache::", "blockcache::")


def open_array(url: str, component: str, storage_options: Mapping[str, Any]) -> zarr.Array[Any]:
    """Open an array for reading: `component` of a group, or the array itself where that is empty.

    Raises
    ------
    DataError
        Its metadata are damaged.
    ValueError
        There is a group without such an array.
    """
    objects = object_store(url, storage_options)
    if objects is not None:
        # Where it fails, for whatever reason, fsspec may succeed; if not, its errors are the usual ones.
        with suppress(Exception):
            return _open_in(ObjectStore(objects, read_only=True), component, None)
    if url.startswith(_CACHES):
        return _open_in(_cached(url, storage_options), component, None)
    return _open_in(url, component, dict(storage_options) or None)


def _cached(url: str, storage_options: Mapping[str, Any]) -> FsspecStore:
    """Return the store behind one of fsspec's caches.

    Zarr would take the cache for asynchronous where what it caches is, and wait in the wrong event loop.
    """
    filesystem, path = url_to_fs(url, **storage_options)
    return FsspecStore(AsyncFileSystemWrapper(filesystem, asynchronous=True), path=path, read_only=True)


def _open_in(place: Any, component: str, options: dict[str, Any] | None) -> zarr.Array[Any]:
    try:
        node = zarr.open(place, mode="r", path=component, storage_options=options)
    except NodeNotFoundError:
        if not component:
            # Zarr's words hold the path, and so the credentials in it.
            raise FileNotFoundError("there is no Zarr array or group") from None
        return member(zarr.open_group(place, mode="r", storage_options=options), component)
    except (JSONDecodeError, UnicodeDecodeError, MetadataValidationError, KeyError, TypeError) as error:
        name = "/".join(filter(None, (public_url(str(place)), component)))
        raise DataError(
            f"The Zarr metadata of {name} cannot be read: {type(error).__name__}: {error}. "
            "They are damaged, or were written by another version."
        ) from error
    return member(node, None)


def member(node: zarr.Array[Any] | zarr.Group, component: str | None) -> zarr.Array[Any]:
    """Return the array `component` of a group, or the array itself; the error lists what there is."""
    if isinstance(node, zarr.Group) and component and component in node:
        node, component = node[component], None
    if isinstance(node, zarr.Array) and not component:
        return node
    if isinstance(node, zarr.Array):
        raise ValueError(f"{node.store_path} is an array; it has no component {component!r}.")
    names = [name for name, found in node.members(max_depth=None) if isinstance(found, zarr.Array)]
    wanted = f"has no array {component!r}" if component else "is a Zarr group"
    place, arrays = public_url(str(node.store_path)), ", ".join(map(repr, sorted(names))) or "none"
    raise ValueError(f"{place} {wanted}. Name an array with component=...; its arrays: {arrays}.")
