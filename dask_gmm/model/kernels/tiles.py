"""Tiles: how many rows are worked on at once, and how they get there.

A tile is feature-major, shape (n_lines, n_rows), so that every loop over rows is a run of contiguous numbers.
The number of rows depends on (d, K, dtype) alone: results cannot depend on threads, blocks in memory order or
strides.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import inner

#: What a tile's rows and log-joints may take, and what its features may: together half of a usual 1 MiB
#: level-2 cache.
_TILE_BYTES = 256 << 10
_PANEL_BYTES = 256 << 10
_LINE_BYTES = 64
#: Rows in a block of `multiply_add` with the widest vectors: 3 x 64 bytes.
_BLOCK_BYTES = 192
_MOST_BLOCKS = 21


def rows_per_tile(n_lines: int, itemsize: int) -> int:
    """Return the rows in a tile of `n_lines` numbers a row.

    An odd number of blocks, so that lines do not all fall on the same few places of the cache.
    """
    blocks = _TILE_BYTES // (n_lines * _BLOCK_BYTES)
    blocks = min(max(blocks, 1), _MOST_BLOCKS)
    return (blocks - 1 + blocks % 2) * (_BLOCK_BYTES // itemsize)


def lines_per_panel(n_rows: int, itemsize: int) -> int:
    """Return how many lines of features are held at once, a multiple of 3."""
    return max(_PANEL_BYTES // (n_rows * itemsize) // 3, 8) * 3


@inner
def scratch(n_lines: int, n_rows: int, like: NDArray[Any]) -> NDArray[Any]:
    """Return uninitialised memory of `like`'s dtype whose lines start on a cache line."""
    spare = _LINE_BYTES // like.itemsize
    memory = np.empty(n_lines * n_rows + spare, like.dtype)
    start = (-memory.ctypes.data) % _LINE_BYTES // like.itemsize
    return memory[start : start + n_lines * n_rows].reshape(n_lines, n_rows)


@inner
def load(
    rows: NDArray[Any], start: int, count: int, origin: NDArray[np.float64], tile: NDArray[Any], width: int
) -> None:
    """Copy ``rows[start : start + count] - origin``, transposed; rows up to `width` become zeros.

    The subtraction is in float64 whatever the dtypes.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    origin : ndarray of shape (d,)
    tile : ndarray of shape (>= d, n_rows)
        Overwritten.
    """
    n_features = rows.shape[1]
    whole = count - count % 8
    for t in range(0, whole, 8):  # 8 rows fill a cache line of the tile, and keep one of each row in use
        for j in range(n_features):
            for i in range(8):
                tile[j, t + i] = np.float64(rows[start + t + i, j]) - origin[j]
    for j in range(n_features):
        for t in range(whole, count):
            tile[j, t] = np.float64(rows[start + t, j]) - origin[j]
        tile[j, count:width] = 0.0


@inner
def squared_norms(tile: NDArray[Any], width: int, out: NDArray[Any]) -> None:
    """Write each row's sum of squares over the lines of `tile` to `out`, shape (n_rows,)."""
    out[:width] = 0.0
    for j in range(tile.shape[0]):
        for t in range(width):
            out[t] += tile[j, t] * tile[j, t]


@inner
def load_weights(
    weights: NDArray[np.float64], start: int, count: int, out: NDArray[np.float64], width: int
) -> None:
    """Copy sample weights, ones where there are none; rows up to `width` weigh nothing."""
    for t in range(count):
        out[t] = weights[start + t] if weights.size else 1.0
    out[count:width] = 0.0
