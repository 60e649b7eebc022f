"""Structs in Thrift's compact protocol as flat arrays, read without trusting a byte of them.

Arrow's own accessors of a footer end the process where its content contradicts itself, and none of them
reads the header of a page. What is needed of both is therefore taken from the bytes: one walk, compiled once
there is much to read, lists every field of a struct, and numpy picks among the fields.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import register_jitable
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, read_only

# A field is a number with the identifiers of its path as digits; structs that nest deeper are not read.
_BASE = 64
_DEEPEST = 8
_LEVELS = _DEEPEST + 2
# As many bytes a process walks through sooner than it compiles anything.
_BYTES_UNCOMPILED = 100_000
# Types of the protocol, as it numbers them: true and false are values in a header.
_TRUE, _FALSE, _BYTE, I32, I64, _DOUBLE, BINARY, LIST, _SET, STRUCT = 1, 2, 3, 5, 6, 7, 8, 9, 10, 12
# Added to the type where the field is a list and this an element of it.
_ELEMENT = 16
_TYPES = 32

#: Where the outermost struct begins, for `Fields.each`.
WHOLE = np.zeros(1, dtype=np.int64)

_walked = Counter[str]()


def field(kind: int, *identifiers: int, in_list: bool = False) -> int:
    """Return the number of a field by its type and its identifiers from the outermost struct inwards."""
    number = 0
    for identifier in identifiers:
        number = number * _BASE + identifier
    return number * _TYPES + kind + _ELEMENT * in_list


@dataclass(frozen=True, slots=True)
class Fields:
    """The fields of a struct, in the order of its bytes; after a list come its elements, as fields.

    Attributes
    ----------
    numbers : ndarray of shape (n,), int64
        As `field` makes them. A field of another type than is looked for is not found, as in Thrift.
    values : ndarray of shape (n,), int64
        An integer or boolean itself, the length of a text, list or double, 0 where a struct begins.
    end : int
        The number of bytes that the struct takes.
    """

    numbers: NDArray[np.int64]
    values: NDArray[np.int64]
    end: int

    def positions(self, number: int) -> NDArray[np.int64]:
        """Return the positions among the fields at which this field stands."""
        return np.flatnonzero(self.numbers == number)

    def each(self, owners: NDArray[np.int64], number: int, default: int) -> NDArray[np.int64]:
        """Return the value of the field in each struct; `owners` says where the structs begin.

        Raises
        ------
        ValueError
            A struct has it twice.
        """
        found = np.full(len(owners), default, dtype=np.int64)
        at = self.positions(number)
        owner = np.searchsorted(owners, at, side="right") - 1
        if (owner < 0).any() or (np.diff(owner) == 0).any():
            raise ValueError("a field is there twice")
        found[owner] = self.values[at]
        return found


def walk(content: bytes) -> Fields:
    """List the fields of the struct that `content` begins with.

    Raises
    ------
    ValueError
        It ends too early, nests too deep or is no struct of the compact protocol.
    """
    numbers: Any
    values: Any
    # A field has a byte at least, and an element of a list too.
    if _walked["bytes"] + len(content) < _BYTES_UNCOMPILED:
        # Python is quicker with its own types than with those of numpy.
        numbers, values = ([0] * (len(content) + 1) for _ in range(2))
        n_fields, end = _walk(content, numbers, values, [[0] * _LEVELS for _ in range(4)])
    else:
        numbers, values = np.empty((2, len(content) + 1), dtype=np.int64)
        levels = np.zeros((4, _LEVELS), dtype=np.int64)
        n_fields, end = entry_point()(np.frombuffer(content, dtype=np.uint8), numbers, values, levels)
    _walked["bytes"] += len(content) if end < 0 else end
    if end < 0:
        raise ValueError(f"no struct of Thrift's compact protocol: it breaks at field {n_fields}")
    return Fields(
        np.array(numbers[:n_fields], dtype=np.int64), np.array(values[:n_fields], dtype=np.int64), int(end)
    )


@cache
def entry_point() -> Any:
    """Return the compiled function."""
    numbers = types.Array(types.int64, 1, "C")
    levels = types.Array(types.int64, 2, "C")
    signature = (read_only(types.uint8, 1, "C"), numbers, numbers, levels)
    return compile_for(_walk, *signature)


@register_jitable  # type: ignore[untyped-decorator]
def _varint(data: Any, at: Any) -> tuple[Any, Any]:
    """Return a number of seven bits per byte and where it ends, -1 if nowhere or beyond 64 bits."""
    value, shift = 0, 0
    while 0 <= at < len(data) and shift < 64:
        # With the mask compiled code has a signed integer, not a byte.
        byte = data[at] & 255
        if shift == 63 and byte > 1:
            return value, -1
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            return value, at
    return value, -1


def _walk(data: Any, numbers: Any, values: Any, levels: Any) -> tuple[int, int]:
    """Fill `numbers` and `values`; return how many, and where the struct ends, -1 if it does not.

    `levels` are zeros of shape (4, `_LEVELS`) to work with: for each level of nesting the path above, the
    last identifier of a struct, what is left of a list (-1: a struct), and the type of its elements.
    """
    at, size, n_fields, level = 0, len(data), 0, 0
    above, last, left, kinds = levels[0], levels[1], levels[2], levels[3]
    left[0] = -1
    while level >= 0:
        in_list = left[level] >= 0
        if in_list:
            if left[level] == 0:
                level -= 1
                continue
            left[level] -= 1
            kind, here = kinds[level], above[level]
        else:
            if at >= size:
                return n_fields, -1
            header, at = data[at] & 255, at + 1
            kind = header & 15
            if kind == 0:
                level -= 1
                continue
            identifier = last[level] + (header >> 4)
            if header >> 4 == 0:
                identifier, at = _varint(data, at)
                identifier = (identifier >> 1) ^ -(identifier & 1)
            if at < 0 or identifier <= 0 or identifier >= 1 << 15:
                return n_fields, -1
            last[level] = identifier
            here = above[level] * _BASE + min(identifier, _BASE - 1)
        value = 0
        if kind in (_TRUE, _FALSE):
            value = 1 if kind == _TRUE else 0
            at += 1 if in_list else 0
        elif kind == _BYTE:
            at += 1
        elif kind < _DOUBLE:
            value, at = _varint(data, at)
            value = ((value >> 1) & 0x7FFFFFFFFFFFFFFF) ^ -(value & 1)
        elif kind == _DOUBLE:
            value, at = 8, at + 8
        elif kind == BINARY:
            value, at = _varint(data, at)
            if at < 0 or value < 0 or value > size - at:
                return n_fields, -1
            at += value
        elif level >= _DEEPEST or at >= size:
            return n_fields, -1
        elif kind in (LIST, _SET):
            header, at = data[at] & 255, at + 1
            count = header >> 4
            if count == 15:
                count, at = _varint(data, at)
            # An element has a byte at least, so that no announced number of them outlasts the bytes.
            if at < 0 or count < 0 or count > size - at:
                return n_fields, -1
            level += 1
            above[level], left[level], kinds[level] = here, count, header & 15
            value = count
        elif kind == STRUCT:
            level += 1
            above[level], last[level], left[level] = here, 0, -1
        else:
            return n_fields, -1
        if at < 0 or at > size:
            return n_fields, -1
        numbers[n_fields] = here * _TYPES + kind + (_ELEMENT if in_list else 0)
        values[n_fields] = value
        n_fields += 1
    return n_fields, at
