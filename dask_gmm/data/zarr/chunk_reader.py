"""Reading whole chunks of an open Zarr array, or saying which of them cannot be read and why."""

from __future__ import annotations

import gzip
import itertools
import math
import zlib
from contextlib import suppress
from functools import cached_property
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.zarr.checked_store import has_empty_chunk, with_checks, with_zarrs
from dask_gmm.data.zarr.left_out import MissingChunkError, MissingChunks, UnstoredChunks
from dask_gmm.data.zarr.metadata import chunk_key, codec_names, stored_shape
from dask_gmm.data.zarr.unreadable import missing_codec_error
from dask_gmm.errors import DataError
from dask_gmm.storage.store_errors import verdict

# What codecs raise for bytes that they cannot decode.
_UNDECODABLE = (ValueError, TypeError, RuntimeError, EOFError, IndexError, zlib.error, gzip.BadGzipFile)


class ChunkReader:
    """Reads chunks of an array: fast where that is possible, then with checks that tell what is wrong.

    Parameters
    ----------
    array : zarr.Array
    missing_chunks : {"auto", "error", "fill"}
        What a chunk that is not stored means; see `dask_gmm.data.zarr.left_out`.
    name : str
        What errors call the array.
    """

    def __init__(self, array: zarr.Array[Any], missing_chunks: MissingChunks, name: str) -> None:
        self._array, self._missing_chunks, self._name = array, missing_chunks, name
        self._chunk_shape = stored_shape(array)

    @cached_property
    def fast(self) -> zarr.Array[Any] | None:
        """The array, reading faster and less carefully; None where that is not possible."""
        return with_zarrs(self._array)

    @cached_property
    def checked(self) -> zarr.Array[Any]:
        """The array, reading through a CheckedStore."""
        return with_checks(self._array, lambda _: self._missing_chunks == "fill")

    @cached_property
    def _filled(self) -> zarr.Array[Any]:
        """The same, with the fill value for chunks that were found to be left out."""
        return with_checks(self._array, self._unstored.left_out.__contains__)

    @cached_property
    def _unstored(self) -> UnstoredChunks:
        """Which chunks are not stored, and why."""
        return UnstoredChunks(self.checked, self._chunk_shape, self._name)

    def read(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the elements in `selection`, which begins and ends at chunks.

        Raises
        ------
        DataError
            A chunk is missing, cut off or cannot be decoded; the message names its key.
        ChunkTooLargeError
            A chunk is larger than memory; the message names its key.
        """
        check_fits(self._decoded_bytes(selection), self._place(selection))
        # What the fast way cannot read, or may be missing, is read once more by the one that tells why.
        with suppress(Exception):
            if self.fast is not None:
                values: NDArray[Any] = np.asarray(self.fast[selection])
                fill = self._array.fill_value
                if self._missing_chunks == "fill" or not has_empty_chunk(values, self._chunk_shape, fill):
                    return values
        try:
            return self._read_checked(selection)
        except DataError:
            raise
        except Exception as error:
            missing = missing_codec_error(error, self._name)
            if missing is not None:
                raise missing from error
            # What is not implemented is a RuntimeError, too.
            undecodable = isinstance(error, _UNDECODABLE) and not isinstance(error, NotImplementedError)
            if verdict(error) is not None or not undecodable:
                error.add_note(f"while reading {self._place(selection)}")
                raise
            raise DataError(
                f"Zarr chunk {self._undecodable(selection)} of {self._name} cannot be decoded: {error}. "
                "It is damaged or was cut off; write it again. (If none of them can be decoded, the codecs "
                f"of the metadata, {codec_names(self._array)}, are not those that it was written with.)"
            ) from error

    def key(self, selection: tuple[slice, ...]) -> str:
        """Return the key, within the store, of the chunk where `selection` begins."""
        position = tuple(along.start // n for along, n in zip(selection, self._chunk_shape, strict=True))
        return chunk_key(self._array, position)

    def _read_checked(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        try:
            return np.asarray(self.checked[selection])
        except MissingChunkError:
            if self._missing_chunks == "error":
                raise
        self._unstored.check(selection)
        return np.asarray(self._filled[selection])

    def _decoded_bytes(self, selection: tuple[slice, ...]) -> int:
        """Return the size of the elements in `selection`, or of a chunk: it is decoded whole."""
        n_elements: int = math.prod(along.stop - along.start for along in selection)
        whole: int = math.prod(self._array.chunks)
        return max(n_elements, whole) * int(self._array.dtype.itemsize)

    def _place(self, selection: tuple[slice, ...]) -> str:
        return f"Zarr chunk {self.key(selection)} of {self._name}"

    def _undecodable(self, selection: tuple[slice, ...]) -> str:
        """Return the key of the first chunk in `selection` that cannot be decoded."""
        starts = [range(s.start, s.stop, n) for s, n in zip(selection, self._chunk_shape, strict=True)]
        for start in itertools.product(*starts):
            chunk = tuple(slice(i, i + n) for i, n in zip(start, self._chunk_shape, strict=True))
            try:
                self.checked[chunk]
            except _UNDECODABLE:
                return self.key(chunk)
        return self.key(selection)
