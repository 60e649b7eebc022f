"""Remote files for Arrow, by exact byte ranges.

An fsspec file would ask for the size again and read ahead (s3fs by 50 MB); the footer says which bytes hold
a row group's columns. They are fetched here, all at once, before Arrow decodes them: if Arrow's threads
called back into Python for them, an error would leave threads behind that abort the interpreter at exit.
"""

from __future__ import annotations

import io
from collections.abc import Collection, Iterable, Iterator, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.fs as pafs

# Bytes that are fetched for nothing rather than in a request of their own.
_GAP = 1 << 20
# Some old writers leave the header of the dictionary page out of a column's size.
_HEADER = 100


def fetch(fs: Any, path: str, size: int, ranges: Iterable[tuple[int, int]]) -> pa.BufferReader:
    """Return the file with these ranges of bytes in place; nothing else of it may be read."""
    merged = list(_merged(ranges, size))
    contents = np.zeros(size, dtype=np.uint8)  # pages of memory that are never written take no room
    starts, stops = [start for start, _ in merged], [stop for _, stop in merged]
    parts = fs.cat_ranges([path] * len(merged), starts, stops, on_error="raise")
    for start, part in zip(starts, parts, strict=True):
        contents[start : start + len(part)] = np.frombuffer(part, dtype=np.uint8)
    return pa.BufferReader(pa.py_buffer(contents))


def column_ranges(
    metadata: Any, row_groups: Sequence[int], numbers: Collection[int]
) -> Iterator[tuple[int, int]]:
    """Yield where the stored columns `numbers` of the row groups start and stop in the file."""
    for row_group in map(metadata.row_group, row_groups):
        for column in map(row_group.column, numbers):
            dictionary = column.dictionary_page_offset or column.data_page_offset
            start = min(dictionary, column.data_page_offset)
            yield start, start + column.total_compressed_size + _HEADER


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


class RangeHandler(pafs.FSSpecHandler):  # type: ignore[misc]
    """Opens a remote file of known size without asking for it again; for footers."""

    def __init__(self, fs: Any, size: int) -> None:
        super().__init__(fs)
        self.size = size

    def open_input_file(self, path: str) -> pa.PythonFile:
        """Open the file at `path`, which must be the one of this size."""
        return pa.PythonFile(_RangeFile(self.fs, path, self.size), mode="r")


class _RangeFile(io.RawIOBase):
    def __init__(self, fs: Any, path: str, size: int) -> None:
        self.fs, self.path, self.size, self.position = fs, path, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self.position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self.position = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self.position, io.SEEK_END: self.size}[whence]
        return self.position

    def read(self, size: int = -1) -> bytes:
        stop = self.size if size < 0 else min(self.position + size, self.size)
        if stop <= self.position:
            return b""
        data: bytes = self.fs.cat_file(self.path, start=self.position, end=stop)
        self.position += len(data)
        return data
