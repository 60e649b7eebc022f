"""What the metadata of an open Zarr array tell, the same for both formats."""

from __future__ import annotations

from typing import Any

import zarr

#: Names of axes; None for one without a name.
Dims = tuple[str | None, ...]

# Where xarray and netCDF keep the names of axes in format 2.
_DIMENSIONS = "_ARRAY_DIMENSIONS"


def axis_names(array: zarr.Array[Any]) -> Dims:
    """Return the names of the axes, as format 3 keeps them, or as xarray and netCDF do in format 2."""
    named = getattr(array.metadata, "dimension_names", None) or array.attrs.asdict().get(_DIMENSIONS)
    if not isinstance(named, (list, tuple)) or len(named) != len(array.shape):
        return (None,) * len(array.shape)
    return tuple(None if name is None else str(name) for name in named)


def missing_value(array: zarr.Array[Any]) -> Any:
    """Return the fill value where it stands for missing values, else None.

    It does so in arrays of format 2 that xarray or netCDF wrote. Others leave it at zero and mean zero.
    """
    as_netcdf = array.metadata.zarr_format == 2 and _DIMENSIONS in array.attrs.asdict()
    return array.fill_value if as_netcdf else None


def stored_shape(array: zarr.Array[Any]) -> tuple[int, ...]:
    """Return the shape of what is stored under one key: a shard where there are shards, else a chunk."""
    return tuple(max(n, 1) for n in array.shards or array.chunks)


def chunk_key(array: zarr.Array[Any], position: tuple[int, ...]) -> str:
    """Return the key within the store of the chunk (or shard) at a position in the grid of chunks."""
    encoded: str = array.metadata.encode_chunk_key(position)
    return f"{array.path}/{encoded}" if array.path else encoded


def layout_of(array: zarr.Array[Any]) -> str:
    """Return a text that differs where two arrays are stored differently."""
    # Texts of any length have no byte order.
    dtype = array.dtype if array.dtype.kind == "T" else array.dtype.newbyteorder("=")
    return f"shape {array.shape}, chunks {array.chunks}, shards {array.shards}, {dtype}, {codec_names(array)}"


def codec_names(array: zarr.Array[Any]) -> str:
    """Return the names of the codecs, without parameters.

    Parameters may be filled in when an array is opened, such as the byte order.
    """
    return ", ".join(type(codec).__name__ for codec in (*array.filters, *array.compressors))
