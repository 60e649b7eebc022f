"""Keyed sums of rows: nearly the same for rows that differ by rounding, others for other rows."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_TILE_ROWS = 256


def sketch(rows: NDArray[Any], seed: int) -> Array:
    """Return for each column the sum of its numbers, each times a key that belongs to its row.

    Keys lie between -1 and 1. Numbers that are rounded differently move a sum by about this rounding times
    the root of the sum of squares; other rows, or the same in another order, move it by their deviation times
    the root of their number. Johnson and Lindenstrauss, Extensions of Lipschitz Mappings (1984).

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float64 or float32
    seed : int
        32 bits, another for every block.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    n, d = rows.shape
    whole, rest = divmod(n, _TILE_ROWS)
    keys = _row_keys(rows.dtype)
    tile_keys = np.random.RandomState(seed).uniform(-1, 1, whole + 1).astype(rows.dtype)
    tiled = rows[: n - rest]
    # Products of a matrix and a vector, which read the rows once and keep what they sum in registers.
    with np.errstate(over="ignore", invalid="ignore"):
        if rows.flags.c_contiguous:
            by_key = (tile_keys[:whole] @ tiled.reshape(whole, _TILE_ROWS * d)).reshape(_TILE_ROWS, d)
            sums = keys @ by_key
        else:
            columns = [(column.reshape(whole, _TILE_ROWS) @ keys) @ tile_keys[:whole] for column in tiled.T]
            sums = np.array(columns)
        sums = sums + tile_keys[whole] * (keys[:rest] @ rows[n - rest :])
    return np.asarray(sums, dtype=np.float64)


@cache
def _row_keys(dtype: np.dtype[Any]) -> NDArray[Any]:
    return np.random.RandomState(0).uniform(-1, 1, _TILE_ROWS).astype(dtype)
