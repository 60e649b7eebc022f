"""Fetching bytes of files by exact ranges.

An fsspec file would ask for the size again and read ahead (s3fs by 50 MB); the footer says which bytes hold
a row group's columns. They are fetched here, all at once, before Arrow decodes them: if Arrow's threads
called back into Python for them, an error would leave threads behind that abort the interpreter at exit.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.data.parquet.files import File
from dask_gmm.errors import DataError

_LOGGER = logging.getLogger("dask_gmm")

# A gap between ranges of so many bytes is fetched too, rather than the ranges by two requests.
_GAP = 1 << 20
# Most footers are shorter, so that one request is enough.
_TAIL = 1 << 16
_MAGIC, _ENCRYPTED_MAGIC = b"PAR1", b"PARE"
# Larger files are not downloaded as a whole for every chunk.
_MOST_WHOLE = 1 << 28


def is_local(fs: Any) -> bool:
    """Tell whether Arrow can map the files of this file system into memory."""
    return isinstance(fs, LocalFileSystem)


@dataclass(frozen=True, slots=True)
class Tail:
    """The end of a file.

    Attributes
    ----------
    footer : bytes
        Without its length and the magic number after it.
    begin : int
        Where the footer begins in the file.
    whole : bool
        The server ignores byte ranges: all of the file came where its end was asked for.
    """

    footer: bytes
    begin: int
    whole: bool


def read_tail(fs: Any, file: File) -> Tail:
    """Return the footer of a file.

    Raises
    ------
    DataError
        There is none, it is encrypted, or the file is large and its server sends nothing but the whole.
    """
    size = os.stat(file.path).st_size if is_local(fs) else file.size
    start = max(size - _TAIL, 0)
    sent = fs.cat_file(file.path, start=start, end=size) if size else b""
    whole = start > 0 and len(sent) == size
    if whole:
        _tell_of_whole_files(file)
    tail = _cut(sent, file.name, size, start, size)
    length, magic = int.from_bytes(tail[-8:-4], "little"), tail[-4:]
    if magic == _ENCRYPTED_MAGIC:
        raise DataError(
            f"{file.name}: its footer is encrypted, and dask_gmm has no keys. Read it with pyarrow's "
            "decryption_properties and write it in clear."
        )
    if magic != _MAGIC or length > size - 12:
        raise DataError(
            f"{file.name}: cannot be read as Parquet. The file is damaged, cut short, was changed since it "
            "was listed or is another kind of file: it does not end in a footer."
        )
    begin = size - 8 - length
    if begin < start:
        tail = _cut(fs.cat_file(file.path, start=begin, end=size), file.name, size, begin, size)
    return Tail(tail[-8 - length : -8], begin, whole)


def fetch_ranges(fs: Any, file: File, ranges: Iterable[tuple[int, int]], whole: bool) -> pa.Buffer:
    """Return the file with these ranges of bytes in place; nothing else of it may be read.

    With `whole` the server ignores byte ranges, so that the file is asked for once.
    """
    merged = [(0, file.size)] if whole else list(_merged(ranges, file.size))
    contents = np.zeros(file.size, dtype=np.uint8)  # pages of memory that are never written take no room
    starts, stops = [start for start, _ in merged], [stop for _, stop in merged]
    parts = fs.cat_ranges([file.path] * len(merged), starts, stops, on_error="raise")
    for start, stop, part in zip(starts, stops, parts, strict=True):
        contents[start:stop] = np.frombuffer(_cut(part, file.name, file.size, start, stop), dtype=np.uint8)
    return pa.py_buffer(contents)


def _cut(sent: bytes, name: str, size: int, start: int, stop: int) -> bytes:
    """Return bytes `start` to `stop` of the file, also where a server sent all of its bytes instead."""
    if len(sent) == stop - start:
        return sent
    if len(sent) == size:
        return sent[start:stop]
    raise DataError(
        f"{name}: {len(sent)} bytes came for bytes {start} to {stop} of {size}. The file was changed since "
        "it was listed; call read_parquet again."
    )


def _tell_of_whole_files(file: File) -> None:
    what = f"{file.name}: its server ignores byte ranges, so that every read downloads the whole file"
    advice = "Copy it to a store that has them, or put simplecache:: before the URL."
    if file.size > _MOST_WHOLE:
        raise DataError(f"{what} of {file.size:,} bytes. {advice}")
    _LOGGER.warning("%s. %s", what, advice)


def _merged(ranges: Iterable[tuple[int, int]], size: int) -> Iterator[tuple[int, int]]:
    start = stop = None
    for following, end in sorted(ranges):
        if stop is None or start is None:
            start, stop = following, end
        elif following <= stop + _GAP:
            stop = max(stop, end)
        else:
            yield start, stop
            start, stop = following, end
    if start is not None and stop is not None:
        yield start, min(stop, size)
