"""The error for a Zarr group that was given instead of an array: it lists the arrays in the group."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import zarr
from zarr.core.sync import sync

from dask_gmm.storage.redaction import public_url

# Names beyond these are counted only.
_MOST_NAMES = 40
_METADATA = {"zarr.json", ".zgroup", ".zattrs", ".zmetadata"}
# What AnnData writes as groups.
_ENCODED = {
    "csr_matrix": "a sparse matrix, whose rows are in no chunk; write it as a dense array, in chunks of rows",
    "csc_matrix": "a sparse matrix, whose rows are in no chunk; write it as a dense array, in chunks of rows",
    "categorical": "a column of categories, which are no numbers",
    "nullable-integer": "a column of numbers and a mask; write it as floats with NaN",
    "nullable-boolean": "a column of numbers and a mask; write it as floats with NaN",
    "nullable-string-array": "a column of text",
}


def describe_group(group: zarr.Group, component: str | None) -> str:
    """Return the text of the error for a group that has no array `component`, or was itself taken for one."""
    place = public_url(str(group.store_path))
    encoding = str(group.attrs.get("encoding-type", ""))
    if not component and encoding in _ENCODED:
        return f"{place} is not an array, but {_ENCODED[encoding]} (AnnData's {encoding})."
    wanted = f"has no array {component!r}" if component else "is a Zarr group"
    names = _arrays(group)
    if len(names) > _MOST_NAMES:
        names = [*names[:_MOST_NAMES], f"and {len(names) - _MOST_NAMES} more"]
    arrays = ", ".join(names) or "none that it lists"
    return (
        f"{place} {wanted}. Name an array with component=... of from_zarr, or several of one shape that are "
        f"the features; its arrays: {arrays}.{_image(group)}"
    )


def _arrays(group: zarr.Group) -> Sequence[str]:
    """Return the paths of the arrays below a group; of its members where not all can be opened."""
    with suppress(Exception):
        found = group.members(max_depth=None)
        return sorted(repr(name) for name, node in found if isinstance(node, zarr.Array))
    with suppress(Exception):
        return sorted(map(repr, set(sync(_children(group.store, group.path))) - _METADATA))
    return []


async def _children(store: Any, path: str) -> list[str]:
    return [name.rstrip("/") async for name in store.list_dir(path)]


def _image(group: zarr.Group) -> str:
    """Return which array is the image itself and what its axes are, where its attributes follow OME-NGFF."""
    with suppress(Exception):
        attributes = group.attrs.asdict()
        image = attributes.get("ome", attributes)["multiscales"][0]
        axes = [axis["name"] if isinstance(axis, dict) else axis for axis in image["axes"]]
        channel = f", feature_axis={axes.index('c')}" if "c" in axes else ""
        return (
            f" It is an OME-NGFF image of axes ({', '.join(axes)}): "
            f"component={image['datasets'][0]['path']!r}{channel} reads it in full resolution."
        )
    return ""
