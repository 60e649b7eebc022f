"""Small systems of equations, one for each row: eight rows go through the same steps, lane by lane.

Each row has a list of indices, its holes, shape (n_holes, n_rows); together they select the symmetric matrix
of its system from a large one. A row with fewer holes than its neighbours has the index of `padding` at the
end of its list: such an unknown has the variance one and correlates with nothing.

Triangles T are lower triangular, packed row by row, with inverse diagonals: T T^T is the matrix of a row.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inner
from dask_gmm.model.kernels.lanes import (
    LANES,
    add_product,
    clear,
    copy,
    inverse_root,
    scale,
    subtract_product,
)
from dask_gmm.model.kernels.softmax import log2_positive

Array = NDArray[np.float64]
Indices = NDArray[np.uintp]


@inner
def most_holes(holes: Indices, lane: int, most: int, padding: int) -> int:
    """Return the most holes that a row of these lanes has."""
    found = 0
    for t in range(LANES):
        here = found
        while here < most and holes[here, lane + t] != padding:
            here += 1
        found = here
    return found


@inner
def factorize_in_place(triangle: Array, lane: int, size: int) -> None:
    """Replace the lower triangle of each row's matrix by its Cholesky factor.

    Column by column, so that no step waits for the one before.
    """
    n = triangle.shape[1]
    for b in range(size):
        pivot = (b * (b + 1) // 2 + b) * n + lane
        inverse_root(triangle, pivot)
        for a in range(b + 1, size):
            row = a * (a + 1) // 2
            left = (row + b) * n + lane
            scale(triangle, left, triangle, pivot)
            for c in range(b + 1, a + 1):
                right = (c * (c + 1) // 2 + b) * n + lane
                subtract_product(triangle, (row + c) * n + lane, triangle, left, triangle, right)


@inner
def factorize(matrix: Array, holes: Indices, lane: int, n_holes: int, triangle: Array) -> None:
    """Write the Cholesky factor of each row's matrix to `triangle`, of n_holes (n_holes + 1) / 2 lines.

    Parameters
    ----------
    matrix : ndarray of shape (padding + 1, padding + 1)
    holes : ndarray of shape (n_holes, n_rows)
    lane : int
        The first row.
    """
    for a in range(n_holes):
        place = a * (a + 1) // 2
        for b in range(a + 1):
            for t in range(lane, lane + LANES):
                i, j = holes[a, t], holes[b, t]
                # Paddings of one row are unknowns of their own.
                triangle[place + b, t] = matrix[i, j] if i != j or a == b else 0.0
    factorize_in_place(triangle, lane, n_holes)


@inner
def orthogonalize(
    root: Array, holes: Indices, lane: int, n_holes: int, triangle: Array, basis: Array
) -> None:
    """Write the factor of the matrix ``root @ root.T`` of each row to `triangle`, by modified Gram-Schmidt.

    That does not square the condition of `root`.

    Parameters
    ----------
    root : ndarray of shape (padding + 1, d)
        Zero for the padding.
    basis : ndarray of shape (>= n_holes * d, LANES)
        Overwritten with orthonormal vectors; zero for paddings.
    """
    d, n = root.shape[1], triangle.shape[1]
    padding = len(root) - 1
    for a in range(n_holes):
        for j in range(d):
            for t in range(LANES):
                basis[a * d + j, t] = root[holes[a, lane + t], j]
    for b in range(n_holes):
        place = b * (b + 1) // 2 + b
        pivot = place * n + lane
        for t in range(LANES):
            triangle[place, lane + t] = 1.0 if holes[b, lane + t] == padding else 0.0
        for j in range(d):
            own = (b * d + j) * LANES
            add_product(triangle, pivot, basis, own, basis, own)
        inverse_root(triangle, pivot)
        for j in range(d):
            scale(basis, (b * d + j) * LANES, triangle, pivot)
        for a in range(b + 1, n_holes):
            clear(triangle, (a * (a + 1) // 2 + b) * n + lane)
        for j in range(d):
            own = (b * d + j) * LANES
            for a in range(b + 1, n_holes):
                shared = (a * (a + 1) // 2 + b) * n + lane
                add_product(triangle, shared, basis, (a * d + j) * LANES, basis, own)
        for a in range(b + 1, n_holes):
            shared = (a * (a + 1) // 2 + b) * n + lane
            for j in range(d):
                own = (b * d + j) * LANES
                subtract_product(basis, (a * d + j) * LANES, triangle, shared, basis, own)


@inner
def solve_lower(
    values: NDArray[Any], holes: Indices, lane: int, n_holes: int, triangle: Array, solved: Array
) -> None:
    """Write T^-1 times the `values` at each row's holes to `solved`, shape (>= n_holes, LANES)."""
    for a in range(n_holes):
        for t in range(LANES):
            solved[a, t] = values[holes[a, lane + t], lane + t]
    n = triangle.shape[1]
    for a in range(n_holes):
        scale(solved, a * LANES, triangle, (a * (a + 1) // 2 + a) * n + lane)
        for c in range(a + 1, n_holes):
            other = (c * (c + 1) // 2 + a) * n + lane
            subtract_product(solved, c * LANES, triangle, other, solved, a * LANES)


@inner
def solve_upper(lane: int, n_holes: int, triangle: Array, solved: Array) -> None:
    """Multiply `solved` by T^-T in place."""
    n = triangle.shape[1]
    for a in range(n_holes - 1, -1, -1):
        row = a * (a + 1) // 2
        scale(solved, a * LANES, triangle, (row + a) * n + lane)
        for c in range(a):
            subtract_product(solved, c * LANES, triangle, (row + c) * n + lane, solved, a * LANES)


@inner
def project_out(basis: Array, d: int, lane: int, n_holes: int, product: Array, solved: Array) -> None:
    """Write the parts of each row of `product` along the basis to `solved`, and leave the rest of it."""
    n = product.shape[1]
    for a in range(n_holes):
        clear(solved, a * LANES)
        for j in range(d):
            add_product(solved, a * LANES, basis, (a * d + j) * LANES, product, j * n + lane)
        for j in range(d):
            subtract_product(product, j * n + lane, solved, a * LANES, basis, (a * d + j) * LANES)


@inner
def add_log_diagonals(lane: int, n_holes: int, triangle: Array, out: NDArray[Any]) -> None:
    """Add the logarithm of 1 / det T to `out`, shape (n_rows,), in bits.

    Two diagonals share a logarithm, no more: each is the root of a variance or of its inverse, so that their
    product is a normal number in any units in which variances are.
    """
    for a in range(0, n_holes, 2):
        first, second = a * (a + 1) // 2 + a, (a + 1) * (a + 2) // 2 + a + 1
        for t in range(lane, lane + LANES):
            factor = triangle[second, t] if a + 1 < n_holes else 1.0
            out[t] += log2_positive(triangle[first, t] * factor)


@inner
def add_inverse(
    holes: Indices,
    lane: int,
    n_holes: int,
    triangle: Array,
    factor: NDArray[Any],
    inverse: Array,
    out: Array,
) -> None:
    """Add each row's `factor` times (T T^T)^-1 to the upper half of `out` at its holes.

    Parameters
    ----------
    factor : ndarray of shape (n_rows,)
    inverse : ndarray of shape (>= n_holes (n_holes + 1) / 2, LANES)
        Overwritten.
    out : ndarray of shape (>= padding + 2, >= padding + 2)
        Its first line and column belong to the sum of ones.
    """
    n = triangle.shape[1]
    # The inverse of T, row by row.
    for a in range(n_holes):
        row = a * (a + 1) // 2
        pivot = (row + a) * n + lane
        for b in range(a):
            clear(inverse, (row + b) * LANES)
        for c in range(a):
            other = c * (c + 1) // 2
            for b in range(c + 1):
                to, left = (row + b) * LANES, (row + c) * n + lane
                subtract_product(inverse, to, triangle, left, inverse, (other + b) * LANES)
        for b in range(a):
            scale(inverse, (row + b) * LANES, triangle, pivot)
        copy(inverse, (row + a) * LANES, triangle, pivot)
    # Its square, in place: rows are needed until those before them are done.
    for a in range(n_holes):
        row = a * (a + 1) // 2
        for b in range(a):
            scale(inverse, (row + b) * LANES, inverse, (row + a) * LANES)
        scale(inverse, (row + a) * LANES, inverse, (row + a) * LANES)
        for c in range(a + 1, n_holes):
            other = c * (c + 1) // 2
            for b in range(a + 1):
                to, left = (row + b) * LANES, (other + a) * LANES
                add_product(inverse, to, inverse, left, inverse, (other + b) * LANES)
        for b in range(a + 1):
            for t in range(LANES):
                # Lists are ascending, so this is the upper half.
                value = inverse[row + b, t] * factor[lane + t]
                out[1 + holes[b, lane + t], 1 + holes[a, lane + t]] += value
