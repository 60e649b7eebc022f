"""Systems of equations that all rows of a tile share: one factorization, and one solution for each row.

Triangles are those of `small_systems`, of which eight equal ones are in the first lanes.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inner

Array = NDArray[np.float64]
Indices = NDArray[np.uintp]


@inner
def solve_shared(
    holes: Indices, n_holes: int, triangle: Array, width: int, product: NDArray[Any], solved: Array
) -> None:
    """Write T^-1 times the lines of `product` at the holes to `solved`, shape (>= n_holes, n_rows)."""
    for a in range(n_holes):
        place, line, out = a * (a + 1) // 2, product[holes[a, 0]], solved[a]
        for t in range(width):
            out[t] = line[t]
        for c in range(a):
            factor, other = triangle[place + c, 0], solved[c]
            for t in range(width):
                out[t] -= factor * other[t]
        factor = triangle[place + a, 0]
        for t in range(width):
            out[t] *= factor


@inner
def project_shared(
    basis: Array, d: int, n_holes: int, width: int, product: NDArray[Any], solved: Array
) -> None:
    """Write the parts of `product` along the basis to `solved`, and leave the rest of it."""
    for a in range(n_holes):
        out = solved[a]
        for t in range(width):
            out[t] = 0.0
        for j in range(d):
            factor, line = basis[a * d + j, 0], product[j]
            for t in range(width):
                out[t] += factor * line[t]
        for j in range(d):
            factor, line = basis[a * d + j, 0], product[j]
            for t in range(width):
                line[t] -= factor * out[t]


@inner
def fill_shared(
    holes: Indices, n_holes: int, triangle: Array, width: int, solved: Array, v: NDArray[Any]
) -> None:
    """Write minus T^-T times `solved` into the lines of the holes of `v`, whose first line is of ones."""
    for a in range(n_holes - 1, -1, -1):
        out = solved[a]
        for c in range(a + 1, n_holes):
            factor, other = triangle[c * (c + 1) // 2 + a, 0], solved[c]
            for t in range(width):
                out[t] -= factor * other[t]
        factor, line = triangle[a * (a + 1) // 2 + a, 0], v[1 + holes[a, 0]]
        for t in range(width):
            out[t] *= factor
            line[t] = -out[t]
