"""Decompressing to no more bytes than a chunk may have.

Sixteen kilobytes may hold gigabytes of zeros. Damaged or hostile chunks are refused before memory is taken.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from collections.abc import Callable, Mapping
from typing import Any

import pyarrow as pa
from dask.utils import format_bytes


class OversizedError(ValueError):
    """Stored bytes decode to more than they should."""


def decode_in_bounds(kind: str, configuration: Mapping[str, Any], stored: Any, most: int) -> bytes | None:
    """Decode with a codec to no more than `most` bytes.

    Parameters
    ----------
    kind : str
        The name of the codec in numcodecs.
    configuration : mapping
        The parameters of the codec.
    stored : buffer
    most : int

    Returns
    -------
    bytes or None
        None where the caller may decode by the codec itself: it keeps to the bound, or no other way is known.

    Raises
    ------
    OversizedError
        There are more bytes.
    ValueError, EOFError, zlib.error, lzma.LZMAError
        The bytes are damaged.
    """
    if kind not in COMPRESSORS:
        return None
    data = memoryview(stored).cast("B")
    if kind in DECLARED:
        first, last = DECLARED[kind]
        if int.from_bytes(data[first:last], "little") > most:
            raise _oversized(int.from_bytes(data[first:last], "little"), most)
        return None
    try:
        decoded = _STREAMS[kind](data, most + 1, configuration)
    except OSError as error:
        # So pyarrow and bz2 call damaged bytes.
        raise ValueError(str(error)) from error
    if len(decoded) > most:
        raise _oversized(None, most)
    return decoded


def _oversized(found: int | None, most: int) -> OversizedError:
    size = f"more than {format_bytes(most)}" if found is None else format_bytes(found)
    return OversizedError(f"it would decode to {size} where the metadata allow {format_bytes(most)}")


def _zlib(data: memoryview, size: int, configuration: Mapping[str, Any]) -> bytes:
    decompressor = zlib.decompressobj()
    decoded = decompressor.decompress(data, size)
    if len(decoded) < size and not decompressor.eof:
        raise EOFError("incomplete or truncated stream")
    return decoded


def _gzip(data: memoryview, size: int, configuration: Mapping[str, Any]) -> bytes:
    return gzip.GzipFile(fileobj=io.BytesIO(data)).read(size)


def _bz2(data: memoryview, size: int, configuration: Mapping[str, Any]) -> bytes:
    return bz2.BZ2File(io.BytesIO(data)).read(size)


def _lzma(data: memoryview, size: int, configuration: Mapping[str, Any]) -> bytes:
    described = {"format": configuration.get("format", 1), "filters": configuration.get("filters")}
    return lzma.LZMAFile(io.BytesIO(data), **described).read(size)


def _zstd(data: memoryview, size: int, configuration: Mapping[str, Any]) -> bytes:
    decoded: bytes = pa.CompressedInputStream(pa.BufferReader(pa.py_buffer(data)), "zstd").read(size)
    return decoded


#: Where in a buffer its decoded size stands; decoding then keeps to that.
DECLARED = {"blosc": (4, 8), "lz4": (0, 4)}
_STREAMS: Mapping[str, Callable[[memoryview, int, Mapping[str, Any]], bytes]] = {
    "bz2": _bz2,
    "gzip": _gzip,
    "lzma": _lzma,
    "zlib": _zlib,
    "zstd": _zstd,
}
#: Names of the codecs whose decoding is bounded.
COMPRESSORS = frozenset({*DECLARED, *_STREAMS})
