"""Zarr arrays opened for reading, through obstore where it serves and through fsspec elsewhere."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.errors import NodeNotFoundError
from zarr.storage import FsspecStore, ObjectStore

from dask_gmm.data.zarr.groups import describe_group
from dask_gmm.data.zarr.unreadable import unreadable_error
from dask_gmm.errors import DataError
from dask_gmm.storage.location import Location
from dask_gmm.storage.objects import object_store
from dask_gmm.storage.redaction import public_url

_CACHES = ("simplecache::", "filecache::", "blockcache::")


def open_array(location: Location, component: str) -> zarr.Array[Any]:
    """Open an array for reading: `component` of a group, or the array itself where that is empty.

    Raises
    ------
    DataError
        Its metadata are damaged.
    ValueError
        There is a group without such an array.
    """
    objects = object_store(location)
    if objects is not None:
        # Where it fails, for whatever reason, fsspec may succeed; if not, its errors are the usual ones.
        with suppress(Exception):
            return _open_in(ObjectStore(objects, read_only=True), component, None)
    if location.url.startswith(_CACHES):
        return _open_in(_cached(location), component, None)
    return _open_in(location.url, component, dict(location.storage_options) or None)


def _cached(location: Location) -> FsspecStore:
    """Return the store behind one of fsspec's caches.

    Zarr would take the cache for asynchronous where what it caches is, and wait in the wrong event loop.
    """
    filesystem, path = location.open_filesystem()
    return FsspecStore(AsyncFileSystemWrapper(filesystem, asynchronous=True), path=path, read_only=True)


def _open_in(place: Any, component: str, options: dict[str, Any] | None) -> zarr.Array[Any]:
    name = "/".join(filter(None, (public_url(str(place)).rstrip("/"), component)))
    try:
        node = zarr.open(place, mode="r", path=component, storage_options=options)
    except NodeNotFoundError:
        if not component:
            # Zarr's words hold the path, and so the credentials in it.
            raise FileNotFoundError("there is no Zarr array or group") from None
        node = _group(place, options)
    except Exception as error:
        told = unreadable_error(error, name)
        if told is None:
            raise
        if component:
            raise told from error
        # Perhaps it is only one of a group's arrays that cannot be read.
        node = _group(place, options, told)
        component = ""
    else:
        component = ""
    return select_array(node, component)


def _group(place: Any, options: dict[str, Any] | None, otherwise: DataError | None = None) -> zarr.Group:
    """Return a group, even if its collected metadata cannot be read; raise `otherwise` if there is none."""
    try:
        return zarr.open_group(place, mode="r", storage_options=options)
    except Exception:
        with suppress(Exception):
            return zarr.open_group(place, mode="r", storage_options=options, use_consolidated=False)
        if otherwise is not None:
            raise otherwise from None
        raise


def select_array(node: zarr.Array[Any] | zarr.Group, component: str | None) -> zarr.Array[Any]:
    """Return the array `component` of a group, or the array itself.

    Raises
    ------
    ValueError
        There is no such array: the message lists those that there are.
    DataError
        It cannot be read.
    """
    if isinstance(node, zarr.Group) and component:
        try:
            node, component = node[component], None
        except KeyError:
            pass
        except Exception as error:
            raise (
                unreadable_error(error, f"{public_url(str(node.store_path))}/{component}") or error
            ) from error
    if isinstance(node, zarr.Array) and not component:
        return node
    if isinstance(node, zarr.Array):
        raise ValueError(f"{node.store_path} is an array; it has no component {component!r}.")
    raise ValueError(describe_group(node, component))
