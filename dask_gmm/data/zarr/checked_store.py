"""Stores and arrays of Zarr that never take a missing or cut-off chunk for data, or that read faster."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.storage import LocalStore, StorePath, WrapperStore

from dask_gmm.data.zarr.bounded_codecs import bound_codecs
from dask_gmm.data.zarr.left_out import MissingChunkError
from dask_gmm.errors import DataError


def with_checks(array: zarr.Array[Any], is_fill: Callable[[str], bool]) -> zarr.Array[Any]:
    """Return `array` reading through a CheckedStore and decoding within bounds, without any request."""
    store = CheckedStore(array.store, is_fill, _ends_in_blosc(array))
    return zarr.Array(zarr.AsyncArray(bound_codecs(array.metadata), StorePath(store, array.path)))


def with_zarrs(array: zarr.Array[Any]) -> zarr.Array[Any] | None:
    """Return `array` decoding with `zarrs`, None where that is not installed or the store is not local.

    It reads files past their store, so that a missing chunk is the fill value.
    """
    if type(array.store) is not LocalStore or find_spec("zarrs") is None:
        return None
    with (
        zarr.config.set({"codec_pipeline.path": "zarrs.ZarrsCodecPipeline"}),
        warnings.catch_warnings(action="ignore"),  # Where it does not know a codec it takes Zarr's.
    ):
        return zarr.Array(zarr.AsyncArray(array.metadata, array.store_path))


def has_empty_chunk(values: NDArray[Any], chunk_shape: tuple[int, ...], fill_value: Any) -> bool:
    """Tell whether a chunk in `values` holds nothing but the fill value, like one that is missing."""
    starts = [range(0, length, n) for length, n in zip(values.shape, chunk_shape, strict=True)]
    for start in itertools.product(*starts):
        chunk = values[tuple(slice(i, i + n) for i, n in zip(start, chunk_shape, strict=True))]
        # Nearly always the first element decides.
        if _is_fill(values[start], fill_value) and np.all(_is_fill(chunk, fill_value)):
            return True
    return False


def _is_fill(values: NDArray[Any], fill_value: Any) -> NDArray[np.bool_]:
    same: NDArray[np.bool_] = (values == fill_value) | (values != values)
    return same


class CheckedStore(WrapperStore[Any]):  # type: ignore[misc]
    """A store that lets no missing or cut-off chunk pass for data, at no extra request.

    Zarr reads a missing chunk as the fill value. Blosc does not look at how many bytes it is given and
    decodes what lies behind the end of a chunk that was cut off.

    Parameters
    ----------
    store : zarr.abc.store.Store
    is_fill : callable
        Tells whether the chunk of a key that is not there stands for the fill value.
    blosc : bool
        What is stored under a key are the bytes of a Blosc buffer.
    """

    # Newer versions of Zarr read synchronously, past `get`, from stores that say that they can.
    _supports_sync_io = False

    def __init__(self, store: Any, is_fill: Callable[[str], bool], blosc: bool = False) -> None:
        super().__init__(store)
        self.is_fill = is_fill
        self.blosc = blosc

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Return the bytes under `key`.

        Raises
        ------
        MissingChunkError
            There are none.
        DataError
            There are too few.
        """
        stored = await super().get(key, prototype, byte_range)
        if stored is None and not self.is_fill(key):
            raise MissingChunkError.of(key, self._store)
        if stored is not None and self.blosc and byte_range is None:
            expected = int.from_bytes(stored[12:16].to_bytes(), "little")  # the header's count of all bytes
            if len(stored) != expected:
                raise DataError(
                    f"Zarr chunk {key} was cut off: it has {len(stored)} bytes of {expected}. Write it again."
                )
        return stored if stored is None else _cut(stored, byte_range)


def _cut(stored: Any, byte_range: Any) -> Any:
    """Return the bytes of the range, also where a web server that ignores ranges sent all bytes."""
    if isinstance(byte_range, RangeByteRequest) and len(stored) > byte_range.end - byte_range.start:
        return stored[byte_range.start : byte_range.end]
    if isinstance(byte_range, SuffixByteRequest) and len(stored) > byte_range.suffix:
        return stored[len(stored) - byte_range.suffix :]
    return stored


def _ends_in_blosc(array: zarr.Array[Any]) -> bool:
    last = array.compressors[-1:]
    return not array.shards and "blosc" in "".join(type(codec).__name__ for codec in last).lower()
