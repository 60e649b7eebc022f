"""A checksum of the bits of rows, at the speed of memory."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, read_only

# 2**64 over the golden ratio, multiples of which are spread evenly, and a factor of SplitMix64.
_STEP = 0x9E3779B97F4A7C15
_FACTOR = 0xBF58476D1CE4E5B9
_64_BITS = 2**64 - 1


def checksum(rows: NDArray[Any]) -> int:
    """Return 64 bits that tell rows from others and from the same in another order.

    They do not depend on the processor, nor on whether memory is in C or in Fortran order: that may differ
    between a chunk that was read here and one that was sent. A change of one number always shows.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float64 or float32
    """
    words = np.dtype(f"u{rows.itemsize}")
    n_features = rows.shape[1]
    if rows.flags.f_contiguous and not rows.flags.c_contiguous:
        lines, line_step, step = rows.T.view(words), _STEP, _STEP * n_features
    else:
        lines, line_step, step = np.ascontiguousarray(rows).view(words).reshape(1, -1), 0, _STEP
    total = entry_point(words)(lines, np.uint64(line_step), np.uint64(step & _64_BITS))
    return int(total)


def continued(before: int, n_rows: int, following: int) -> int:
    """Return the checksum of several blocks from that of those before and of the next, with `n_rows` rows."""
    mixed = (before ^ (before >> 31)) * _FACTOR + (n_rows * _STEP ^ following)
    return mixed & _64_BITS


def _checksum(lines: NDArray[Any], line_step: np.uint64, step: np.uint64) -> np.uint64:
    total = np.uint64(0)
    for line in range(len(lines)):
        key = np.uint64(line) * line_step
        words = lines[line]
        for i in range(len(words)):
            mixed = np.uint64(words[i]) ^ key
            # Without the shifts two changes of the highest bit, as of signs, would cancel in the sum.
            mixed ^= mixed >> np.uint64(32)
            mixed *= np.uint64(_FACTOR)
            total += mixed ^ (mixed >> np.uint64(29))
            key += step
    return total


@cache
def entry_point(words: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    return compile_for(_checksum, read_only(from_dtype(words), 2, "C"), types.uint64, types.uint64)
