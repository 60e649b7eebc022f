"""Remote files for Arrow, read by exact byte ranges.

An fsspec file would ask for the size again and read ahead (s3fs by 50 MB), while Arrow knows which bytes
it needs and joins neighbouring columns itself.
"""

from __future__ import annotations

import io
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs


class Ranges(pafs.FSSpecHandler):  # type: ignore[misc]
    """Opens a remote file of known size without asking for it again, and reads just the bytes asked for."""

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
        data: bytes = (
            self.fs.cat_file(self.path, start=self.position, end=stop) if stop > self.position else b""
        )
        self.position += len(data)
        return data
