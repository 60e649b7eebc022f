"""Arrays that are features, with their numbers unpacked and their axes in one order."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.zarr.cf_packing import Unpacking, unpacking_of
from dask_gmm.data.zarr.metadata import Dims, axis_names, missing_value, stored_shape
from dask_gmm.data.zarr.stored_array import StoredArray
from dask_gmm.storage.fingerprint import of_parts


@dataclass(frozen=True, slots=True)
class Variable:
    """A stored array as its metadata say that it is meant.

    Attributes
    ----------
    stored : StoredArray
    unpacking : Unpacking or None
        None where the numbers are what is stored.
    axes : tuple of int
        The stored axes in the order in which this variable has them.
    """

    stored: StoredArray
    unpacking: Unpacking | None
    axes: tuple[int, ...]

    @classmethod
    def of(cls, stored: StoredArray, decode: bool) -> Variable:
        """Return an array with its axes as they are stored.

        Raises
        ------
        DataError
            An attribute that should be a number is none.
        """
        unpacking = None
        if decode:
            fill_value = missing_value(stored.array)
            unpacking = unpacking_of(
                stored.dtype, stored.attributes, fill_value, f"the Zarr array {stored!r}"
            )
        return cls(stored, unpacking, tuple(range(len(stored.shape))))

    @property
    def name(self) -> str:
        """The name by which the group knows the array."""
        return self.stored.name

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape, in the order of `axes`."""
        return self._moved(self.stored.shape)

    @property
    def chunk_shape(self) -> tuple[int, ...]:
        """The shape of what is stored under one key, a shard or a chunk, in the order of `axes`."""
        return self._moved(stored_shape(self.stored.array))

    @property
    def dims(self) -> Dims:
        """The names of the axes, in the order of `axes`."""
        return self._moved(axis_names(self.stored.array))

    @property
    def dtype(self) -> np.dtype[Any]:
        """The dtype of the numbers, once unpacked."""
        return self.stored.dtype if self.unpacking is None else self.unpacking.dtype

    @property
    def marks_missing(self) -> bool:
        """Whether stored numbers stand for missing values."""
        return self.unpacking is not None and self.unpacking.marks_missing

    def along(self, dims: Dims) -> Variable:
        """Return the variable with its axes in the order of `dims`.

        Raises
        ------
        ValueError
            It has axes of other names. Axes without a name stay where they are.
        """
        if len(dims) != len(self.dims):
            return self
        if None not in self.dims and None not in dims and len(set(dims)) == len(dims):
            if set(dims) == set(self.dims):
                return replace(self, axes=tuple(self.axes[self.dims.index(dim)] for dim in dims))
        elif all(None in pair or len(set(pair)) == 1 for pair in zip(dims, self.dims, strict=True)):
            return self
        raise ValueError(f"{self!r} has the dimensions {_listed(self.dims)}, not {_listed(dims)}")

    def key(self, selection: tuple[slice, ...]) -> str:
        """Return the key, within the store, of the chunk where `selection` begins."""
        return self.stored.chunk_reader.key(self._as_stored(selection))

    def read(self, selection: tuple[slice, ...]) -> NDArray[Any]:
        """Return the numbers in `selection`, which begins and ends at chunks; see `ChunkReader.read`."""
        values = self.stored.chunk_reader.read(self._as_stored(selection))
        numbers = values if self.unpacking is None else self.unpacking.unpack(values)
        return numbers.transpose(self.axes)

    def fingerprint(self) -> str | None:
        """Return a text that changes when a stored chunk does, or what its numbers mean."""
        stored = self.stored.fingerprint()
        plain = stored is None or (self.unpacking is None and self.axes == tuple(sorted(self.axes)))
        return stored if plain else of_parts((stored, self.unpacking, self.axes))

    def _moved(self, values: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(values[axis] for axis in self.axes)

    def _as_stored(self, selection: tuple[slice, ...]) -> tuple[slice, ...]:
        return tuple(selection[self.axes.index(axis)] for axis in range(len(selection)))

    def __repr__(self) -> str:
        return repr(self.stored)


def on_one_grid(variables: Sequence[Variable]) -> tuple[Variable, ...]:
    """Return the variables with their axes in the order of the first one's.

    Raises
    ------
    ValueError
        They are not of the same dimensions, or not of the same shape; names two that differ.
    """
    first = variables[0]
    laid_out = [first]
    for other in variables[1:]:
        try:
            moved = other.along(first.dims)
        except ValueError as error:
            raise ValueError(
                f"The Zarr arrays are not on one grid: {first!r} has the dimensions {_listed(first.dims)}, "
                f"{other!r} has {_listed(other.dims)}. Only variables of the same dimensions are features of "
                "one row; rename the dimensions if they mean the same."
            ) from error
        if moved.shape != first.shape:
            raise ValueError(
                f"The Zarr arrays are not on one grid: {first!r} has shape {first.shape}, "
                f"{other!r} has shape {other.shape}."
            )
        laid_out.append(moved)
    return tuple(laid_out)


def _listed(dims: Dims) -> str:
    return f"({', '.join('?' if dim is None else dim for dim in dims)})"
