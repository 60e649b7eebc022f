"""Numbers as the CF conventions pack them into arrays: scaled, shifted, and with marks for missing values.

The attributes of an array are those that xarray and netCDF write: ``scale_factor``, ``add_offset``,
``_Unsigned``, ``_FillValue``, ``missing_value``, ``valid_min``, ``valid_max`` and ``valid_range``.
"""

from __future__ import annotations

import base64
import binascii
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError

_BOUNDS = ("valid_min", "valid_max")


@dataclass(frozen=True, slots=True)
class Unpacking:
    """How stored numbers become those that are meant; missing ones become NaN.

    Attributes
    ----------
    dtype : dtype
        The dtype of the unpacked numbers, float32 or float64 (float16 where only missing values are marked).
    stored_as : dtype
        The dtype as which the stored bytes are read: ``_Unsigned`` exchanges signed and unsigned integers.
    marks : tuple of int or float
        Stored numbers that stand for missing values.
    bounds : tuple of (int, float or None), two of them
        Stored numbers below the first and above the second are missing values.
    unpacked_bounds : tuple of (float or None), two of them
        Unpacked numbers below the first and above the second are missing values.
    scale_factor, add_offset : float or None
    """

    dtype: np.dtype[Any]
    stored_as: np.dtype[Any]
    marks: tuple[float, ...] = ()
    bounds: tuple[float | None, float | None] = (None, None)
    unpacked_bounds: tuple[float | None, float | None] = (None, None)
    scale_factor: float | None = None
    add_offset: float | None = None

    @property
    def marks_missing(self) -> bool:
        """Whether there are numbers that stand for missing values."""
        return bool(self.marks) or any(bound is not None for bound in (*self.bounds, *self.unpacked_bounds))

    def unpack(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return the numbers that are meant, in an array of their own."""
        if self.stored_as.kind != stored.dtype.kind:
            stored = stored.view(self.stored_as.newbyteorder(stored.dtype.byteorder))
        numbers = stored.astype(self.dtype)
        if self.scale_factor is not None:
            numbers *= self.scale_factor
        if self.add_offset is not None:
            numbers += self.add_offset
        missing = [stored == mark for mark in self.marks]
        for values, (least, most) in ((stored, self.bounds), (numbers, self.unpacked_bounds)):
            missing += [] if least is None else [values < least]
            missing += [] if most is None else [values > most]
        for absent in missing:
            numbers[absent] = np.nan
        return numbers

    def __str__(self) -> str:
        """Return which stored numbers are missing values, for errors."""
        told = list(map(str, self.marks))
        for least, most in (self.bounds, self.unpacked_bounds):
            told += [] if least is None else [f"below {least}"]
            told += [] if most is None else [f"above {most}"]
        return ", ".join(told)


def unpacking_of(
    dtype: np.dtype[Any], attributes: Mapping[str, Any], fill_value: Any, where: str
) -> Unpacking | None:
    """Return how numbers of `dtype` are unpacked, None where they are what they are stored as.

    Parameters
    ----------
    dtype : dtype
        The dtype as it is stored.
    attributes : mapping
        The attributes of the array.
    fill_value : scalar or None
        That of the array where its format uses it as ``_FillValue``, which xarray does in Zarr's format 2.
    where : str
        What errors call the array.

    Raises
    ------
    DataError
        An attribute that should be a number is none.
    """
    if dtype.kind not in "iuf":
        return None
    read = _Attributes(attributes, where)
    scale, offset = read.number("scale_factor"), read.number("add_offset")
    stored_as = _stored_as(dtype, attributes.get("_Unsigned"))
    marks = [*read.numbers("_FillValue"), *read.numbers("missing_value")]
    marks += [] if fill_value is None else [np.asarray(fill_value).item()]
    limits = [*read.numbers("valid_range"), None, None][:2]
    for side, name in enumerate(_BOUNDS):
        limits[side] = read.number(name) if name in attributes else limits[side]
    # Attributes are of the stored type unless they say otherwise: whole numbers for integers.
    unpacked = dtype.kind in "iu" and any(isinstance(limit, float) for limit in limits)
    as_stored = [None if unpacked or limit is None else _stored(limit, dtype, stored_as) for limit in limits]
    found = Unpacking(
        _unpacked_dtype(stored_as, scale is not None or offset is not None),
        stored_as,
        tuple(dict.fromkeys(_stored(mark, dtype, stored_as) for mark in marks if mark == mark)),
        (as_stored[0], as_stored[1]),
        (limits[0], limits[1]) if unpacked else (None, None),
        scale,
        offset,
    )
    plain = scale is None and offset is None and stored_as == dtype and not found.marks_missing
    return None if plain else found


def _unpacked_dtype(stored: np.dtype[Any], scaled: bool) -> np.dtype[Any]:
    """Return the dtype that xarray chooses: scales in JSON are float64, and float32 holds small integers."""
    if scaled:
        return np.dtype(np.float64)
    if stored.kind == "f":
        return stored.newbyteorder("=")
    return np.dtype(np.float32 if stored.itemsize <= 2 else np.float64)


def _stored_as(dtype: np.dtype[Any], unsigned: Any) -> np.dtype[Any]:
    meant = {"true": "u", "false": "i"}.get(str(unsigned).lower())
    return dtype if meant is None or dtype.kind == "f" else np.dtype(f"{meant}{dtype.itemsize}")


def _stored(value: float, dtype: np.dtype[Any], stored_as: np.dtype[Any]) -> float:
    """Return a number of an attribute as it looks among the stored ones."""
    if dtype.kind == "f":
        # Text has more digits than float32 keeps.
        return float(np.asarray(value, dtype=dtype))
    whole = int(value) if np.isfinite(value) and value == int(value) else None
    if whole is not None and np.iinfo(dtype).min <= whole <= np.iinfo(dtype).max:
        return int(np.array(whole, dtype=dtype.newbyteorder("=")).view(stored_as.newbyteorder("=")))
    return value if whole is None else whole


@dataclass(frozen=True, slots=True)
class _Attributes:
    values: Mapping[str, Any]
    where: str

    def number(self, name: str) -> float | None:
        """Return the number that an attribute is, None where there is no such attribute."""
        found = self.numbers(name)
        if len(found) > 1:
            raise DataError(f"{self.where}: attribute {name} has {len(found)} values, one is expected.")
        return found[0] if found else None

    def numbers(self, name: str) -> Sequence[Any]:
        """Return the numbers that an attribute is, as they are in JSON."""
        value = self.values.get(name)
        if value is None:
            return []
        return [self._number(name, each) for each in (value if isinstance(value, list) else [value])]

    def _number(self, name: str, value: Any) -> float:
        if isinstance(value, (int, float)):
            return value
        for read in (float, _from_base64):
            try:
                return read(value)
            except (TypeError, ValueError, binascii.Error, struct.error):
                continue
        raise DataError(
            f"{self.where}: attribute {name} is {value!r}, which is no number. "
            "decode=False reads the numbers as they are stored."
        )


def _from_base64(text: str) -> float:
    # So xarray writes _FillValue into attributes of Zarr's format 3.
    number: float = struct.unpack("<d", base64.standard_b64decode(text))[0]
    return number
