"""Rows put in the order of their holes: many of one pattern together, the others by their number of holes."""

from __future__ import annotations

from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inner, read_only

Indices = NDArray[np.intp]

# Buckets to sort into; patterns of up to so many features have one each, others may share one.
_BUCKET_BITS = 12
_BUCKETS = 1 << _BUCKET_BITS


class Order(NamedTuple):
    """Rows in the order of their holes, cut into tiles.

    Attributes
    ----------
    rows : ndarray of shape (n,)
        Their positions.
    starts : ndarray of shape (n_tiles + 1,)
        Where tiles begin, and the end.
    same : ndarray of shape (n_tiles,), bool
        Whether all rows of a tile have the same holes.
    most : int
        The most holes of a row.
    """

    rows: Indices
    starts: Indices
    same: NDArray[np.bool_]
    most: int


def pattern_order(rows: NDArray[Any], n_tile: int, least: int) -> Order:
    """Return the order of rows of shape (n, d), for tiles of up to `n_tile` of them.

    Parameters
    ----------
    n_tile : int
    least : int
        So many rows of one pattern are tiles of their own.
    """
    n = len(rows)
    order, starts = np.empty(n, np.intp), np.empty(n + 2, np.intp)
    same = np.empty(n + 1, np.bool_)
    work = np.empty((4, n), np.intp)
    counts = np.empty(max(_BUCKETS, rows.shape[1] + 1) + 1, np.intp)
    n_tiles, most = entry_point(rows.dtype)(rows, n_tile, least, order, starts, same, work, counts)
    return Order(order, starts[: n_tiles + 1], same[:n_tiles], most)


@inner
def _bucket_sort(
    rows: NDArray[Any], bucket: Indices, n_holes: Indices, sorted_rows: Indices, counts: Indices
) -> int:
    """Sort rows by a hash of their pattern, count their holes, and return the most of one."""
    n, d = rows.shape
    counts[:] = 0
    most = 0
    for t in range(n):
        pattern, found = np.uint64(0), 0
        for j in range(d):
            hole = np.uint64(1) if np.isnan(rows[t, j]) else np.uint64(0)
            # The golden ratio mixes what is pushed out at the top; up to 12 features nothing is.
            pattern = (pattern << np.uint64(1)) ^ ((pattern >> np.uint64(11)) * np.uint64(0x9E3779B1)) ^ hole
            found += 1 if hole else 0
        bucket[t] = np.int64(pattern & np.uint64(_BUCKETS - 1))
        n_holes[t] = found
        most = found if found > most else most
        counts[bucket[t] + 1] += 1
    for b in range(_BUCKETS):
        counts[b + 1] += counts[b]
    for t in range(n):
        sorted_rows[counts[bucket[t]]] = t
        counts[bucket[t]] += 1
    return most


@inner
def _run_end(rows: NDArray[Any], n_holes: Indices, sorted_rows: Indices, first: int) -> int:
    """Return where the rows end that have the same holes as the one at `first`."""
    n, d = rows.shape
    one, end = sorted_rows[first], first + 1
    while end < n:
        other = sorted_rows[end]
        alike = n_holes[other] == n_holes[one]
        for j in range(d):
            alike = alike and np.isnan(rows[other, j]) == np.isnan(rows[one, j])
        if not alike:
            break
        end += 1
    return end


@inner
def _count_sort(left: Indices, n_left: int, n_holes: Indices, d: int, counts: Indices, out: Indices) -> None:
    """Write rows by their number of holes to `out`."""
    counts[: d + 2] = 0
    for i in range(n_left):
        counts[n_holes[left[i]] + 1] += 1
    for m in range(d + 1):
        counts[m + 1] += counts[m]
    for i in range(n_left):
        m = n_holes[left[i]]
        out[counts[m]] = left[i]
        counts[m] += 1


def _sort(
    rows: NDArray[Any],
    n_tile: int,
    least: int,
    order: Indices,
    starts: Indices,
    same: NDArray[np.bool_],
    work: Indices,
    counts: Indices,
) -> tuple[int, int]:
    """Sort by buckets, take the long runs out, and sort what is left by the number of holes."""
    n, d = rows.shape
    bucket, n_holes, sorted_rows, left = work[0], work[1], work[2], work[3]
    most = _bucket_sort(rows, bucket, n_holes, sorted_rows, counts)
    done, n_tiles, n_left, first = 0, 0, 0, 0
    while first < n:
        end = _run_end(rows, n_holes, sorted_rows, first)
        long = end - first >= least
        for position in range(first, end):
            if long and (position - first) % n_tile == 0:
                starts[n_tiles], same[n_tiles] = done, True
                n_tiles += 1
            if long:
                order[done] = sorted_rows[position]
                done += 1
            else:
                left[n_left] = sorted_rows[position]
                n_left += 1
        first = end
    _count_sort(left, n_left, n_holes, d, counts, order[done:])
    for i in range(0, n_left, n_tile):
        starts[n_tiles], same[n_tiles] = done + i, False
        n_tiles += 1
    starts[n_tiles] = n
    return n_tiles, most


@cache
def entry_point(rows_dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    line = types.intp[::1]
    return compile_for(
        _sort,
        read_only(from_dtype(rows_dtype), 2),
        types.intp,
        types.intp,
        line,
        line,
        types.boolean[::1],
        types.intp[:, ::1],
        line,
    )
