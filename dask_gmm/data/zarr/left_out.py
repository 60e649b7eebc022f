"""Chunks that are not stored: left out because they hold the fill value alone, or lost.

By default, Zarr stores no chunk that holds nothing but the fill value, and reads any chunk that is not there
as one. Nothing in the store tells which is which, but the chunks around do: what is left out is part of a
region of fill (background of labels, land under a mask, zeros of counts), and such regions do not end at the
borders of chunks. Measurements hold their fill value nowhere. So a chunk was left out if

- all stored chunks next to it, or the nearest one where there is none, hold the fill value somewhere, and
- none of them holds nothing else: a writer that stores such a chunk leaves none out.

Any other chunk that is not there is an error, as it is where the store cannot be listed.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator, Sequence
from functools import cached_property
from threading import Lock
from typing import Any, Literal

import numpy as np
import zarr
from distributed import warn
from numpy.typing import NDArray
from zarr.core.sync import sync

from dask_gmm.data.zarr.metadata import chunk_key
from dask_gmm.errors import DataError
from dask_gmm.storage.redaction import public_url
from dask_gmm.storage.store_errors import verdict

#: What a chunk that is not stored means: the fill value or an error, as is found out ("auto") or given.
MissingChunks = Literal["auto", "error", "fill"]
Position = tuple[int, ...]
_METADATA = (".json", ".zarray", ".zattrs", ".zgroup", ".zmetadata")


class MissingChunkError(DataError):
    """A chunk is not stored."""

    @classmethod
    def of(cls, key: str, store: Any, reason: str = "") -> MissingChunkError:
        """Return the error that names the chunk by its key."""
        return cls(
            f"Zarr chunk {key} is missing from {public_url(str(store))}. {reason}Zarr does not store chunks "
            'that hold only the fill value: if this is one, pass missing_chunks="fill".'
        )


class UnstoredChunks:
    """Tells chunks that were left out from chunks that are lost, by the rule of this module.

    Parameters
    ----------
    array : zarr.Array
        Reading it must fail where a chunk cannot be decoded.
    chunk_shape : tuple of int
        Shape of what is stored under one key.
    name : str
        For the warning.

    Attributes
    ----------
    left_out : set of str
        Keys of the chunks that were found to be left out.
    """

    def __init__(self, array: zarr.Array[Any], chunk_shape: tuple[int, ...], name: str) -> None:
        self._array, self._chunk_shape, self._name = array, chunk_shape, name
        self._known: dict[Position, Literal["all", "some", "none"]] = {}
        self.left_out: set[str] = set()
        # Several threads read one array.
        self._lock = Lock()
        self._warned = False

    def check(self, selection: tuple[slice, ...]) -> None:
        """Refuse lost chunks in `selection`, and note those that were left out; warn of the first.

        Raises
        ------
        MissingChunkError
            Names the chunk, and what says that it was not left out.
        """
        along = zip(selection, self._chunk_shape, strict=True)
        positions = itertools.product(*(range(s.start // n, -(-s.stop // n)) for s, n in along))
        with self._lock:
            for position in positions:
                key = self._key(position)
                if not self._stored[position] and key not in self.left_out:
                    self._check(position)
                    self.left_out.add(key)
            if self.left_out and not self._warned:
                self._warned = True
                self._tell()

    def _tell(self) -> None:
        n_unstored = int((~self._stored).sum())
        # From a worker it reaches the client.
        warn(
            f"{n_unstored} of {self._stored.size} chunks of {self._name} are not stored and were taken for "
            f"the fill value, {self._fill}: Zarr leaves out chunks that hold nothing else, and those next to "
            'them hold it, too. If chunks may be lost, pass missing_chunks="error"; with "fill" nothing is '
            "compared, and nothing is said."
        )

    @property
    def _fill(self) -> Any:
        """The value that Zarr reads where nothing is stored."""
        fill_value = self._array.fill_value
        return np.zeros((), dtype=self._array.dtype)[()] if fill_value is None else fill_value

    def _check(self, position: Position) -> None:
        if not self._stored.any():
            raise self._lost(position, "Nor is any other chunk of the array there. ")
        for neighbour in self._neighbours(position):
            held, key = self._holds_fill(neighbour), self._key(neighbour)
            if held == "none":
                told = f"It is lost: {key} next to it does not hold the fill value, {self._fill}. "
                raise self._lost(position, told)
            if held == "all":
                told = f"It is lost: {key} holds nothing but the fill value and is stored all the same. "
                raise self._lost(position, told)

    def _neighbours(self, position: Position) -> Sequence[Position]:
        """Return the stored chunks next to one, or the nearest."""
        beside = [p for p in _beside(position, self._stored.shape) if self._stored[p]]
        return beside or [tuple(int(along[position]) for along in self._nearest)]

    @cached_property
    def _nearest(self) -> NDArray[np.int32]:
        from scipy.ndimage import distance_transform_edt

        nearest: NDArray[np.int32] = distance_transform_edt(
            ~self._stored, return_distances=False, return_indices=True
        )
        return nearest

    def _holds_fill(self, position: Position) -> Literal["all", "some", "none"]:
        if position not in self._known:
            chunk = np.asarray(self._array[self._region(position)])
            # NaN is not equal to itself.
            same = np.isnan(chunk) if self._fill != self._fill else chunk == self._fill
            self._known[position] = "all" if same.all() else "some" if same.any() else "none"
        return self._known[position]

    @cached_property
    def _stored(self) -> NDArray[np.bool_]:
        """Which chunks the store lists."""
        shape = tuple(math.ceil(n / c) for n, c in zip(self._array.shape, self._chunk_shape, strict=True))
        stored = np.zeros(shape, dtype=np.bool_)
        try:
            sync(_note_listed(self._array.store, self._array.path, stored))
        except Exception as error:
            if verdict(error) == "passing":
                raise
            told = f"The store does not list what it has ({type(error).__name__}). "
            raise self._lost((0,) * len(shape), told) from error
        return stored

    def _lost(self, position: Position, reason: str) -> MissingChunkError:
        store = self._array.store
        return MissingChunkError.of(self._key(position), getattr(store, "_store", store), reason)

    def _key(self, position: Position) -> str:
        return chunk_key(self._array, position)

    def _region(self, position: Position) -> tuple[slice, ...]:
        return tuple(slice(i * n, (i + 1) * n) for i, n in zip(position, self._chunk_shape, strict=True))


def _beside(position: Position, shape: Position) -> Iterator[Position]:
    for axis, n in enumerate(shape):
        for step in (-1, 1):
            if 0 <= position[axis] + step < n:
                yield (*position[:axis], position[axis] + step, *position[axis + 1 :])


async def _note_listed(store: Any, path: str, stored: NDArray[np.bool_]) -> None:
    """Set the elements of `stored` whose positions are in keys below `path`."""
    forget = getattr(getattr(store, "fs", None), "invalidate_cache", None)
    if forget is not None:
        forget()
    prefix = f"{path}/" if path else ""
    async for key in store.list_prefix(prefix):
        name = key.removeprefix(prefix)
        if name.endswith(_METADATA):
            continue
        position = tuple(map(int, re.findall(r"\d+", name)))
        if len(position) == stored.ndim and all(map(int.__lt__, position, stored.shape)):
            stored[position] = True
