"""Symmetric matrices as their upper triangles: half the size to add and to send.

"Packed" is the order of ``np.triu_indices``: row by row, diagonal included.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@lru_cache(maxsize=64)
def triangle(n_features: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and column indices of the packed upper triangle."""
    return np.triu_indices(n_features)


def pack(matrices: Array) -> Array:
    """Take the upper triangle of (..., d, d) symmetric matrices as (..., d(d+1)/2)."""
    rows, columns = triangle(matrices.shape[-1])
    return matrices[..., rows, columns]


def unpack(packed: Array, n_features: int) -> Array:
    """Undo `pack`."""
    rows, columns = triangle(n_features)
    matrices = np.empty((*packed.shape[:-1], n_features, n_features))
    matrices[..., rows, columns] = packed
    matrices[..., columns, rows] = packed
    return matrices
