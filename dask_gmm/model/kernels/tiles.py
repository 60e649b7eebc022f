"""Tiles: how many rows are worked on at once, and how they get there.

A tile is feature-major, shape (n_lines, n_rows), so that every loop over rows is a run of contiguous numbers.
The number of rows depends on (d, K, dtype) alone: results cannot depend on threads, memory order or strides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inlined
from dask_gmm.model.kernels.registers import COLUMNS, SIDE, transpose_block

#: What the tiles of one call may take together: a usual level-2 cache.
_TILE_BYTES = 1 << 20
_CACHE_LINE_BYTES = 64
#: Rows come in blocks of 3 of the widest vectors, `products.multiply`'s appetite.
_BLOCK_BYTES = 192
#: Fewer blocks would make `products.accumulate` add up its registers too often, more gain nothing.
_FEWEST_BLOCKS, _MOST_BLOCKS = 3, 15


def rows_per_tile(n_lines: int, n: int, dtype: np.dtype[Any]) -> int:
    """Return the rows of tiles that take `n_lines` numbers for each row.

    Their number is an odd multiple of a block, so that lines do not all compete for the same few places of
    the cache; unless `n` rows, rounded up to a block, are fewer.
    """
    block = _BLOCK_BYTES // dtype.itemsize
    blocks = min(max(_TILE_BYTES // (n_lines * _BLOCK_BYTES), _FEWEST_BLOCKS), _MOST_BLOCKS)
    return min(blocks - 1 + blocks % 2, -(-n // block)) * block


def scratch(n_lines: int, n_rows: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return memory for a tile whose first line starts on a cache line; its contents mean nothing."""
    size = n_lines * n_rows * dtype.itemsize
    memory = np.empty(size + _CACHE_LINE_BYTES, np.uint8)
    start = -memory.ctypes.data % _CACHE_LINE_BYTES
    tile = memory[start : start + size].view(dtype).reshape(n_lines, n_rows)
    # Products take whole blocks, past the lines in use: chance contents may be subnormal, which is slow.
    tile[-COLUMNS:] = 0.0
    return tile


def lines_of(
    n_rows: int, dtype: np.dtype[Any], background: float = -np.inf
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return memory for two float64 numbers and four of `dtype` for each row of a tile, as columns.

    The last one holds the log-joint of a background, in bits. What is allocated here need not be allocated by
    compiled code: that would take longer to compile.
    """
    sums = np.empty((4, n_rows), dtype)
    sums[3] = background
    return np.empty((2, n_rows)), sums


@inlined
def load(
    rows: NDArray[Any], start: int, count: int, origin: NDArray[np.float64], tile: NDArray[Any], width: int
) -> None:
    """Copy ``rows[start : start + count] - origin``, transposed; rows up to `width` become zeros.

    The subtraction is in float64 whatever the dtypes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    origin : ndarray of shape (d,)
    tile : ndarray of shape (d, n_rows)
        Overwritten.
    """
    n_features = rows.shape[1]
    whole = 0
    if n_features >= SIDE and rows.strides[1] == rows.itemsize:
        whole = count - count % SIDE
        for t in range(0, whole, SIDE):
            for j in range(0, n_features, SIDE):
                column = min(j, n_features - SIDE)  # the last block overlaps the one before
                transpose_block(rows, start + t, column, origin, tile, column * tile.shape[1] + t)
    for j in range(n_features):
        line = tile[j]
        for t in range(whole, count):
            line[t] = np.float64(rows[start + t, j]) - origin[j]
        for t in range(count, width):
            line[t] = 0.0
