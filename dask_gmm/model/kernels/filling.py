"""What rows with holes are expected to be under one component."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inner
from dask_gmm.model.kernels.lanes import LANES, add_product
from dask_gmm.model.kernels.same_holes import fill_shared, project_shared, solve_shared
from dask_gmm.model.kernels.small_systems import (
    factorize,
    most_holes,
    orthogonalize,
    project_out,
    solve_lower,
    solve_upper,
)

Array = NDArray[np.float64]
Indices = NDArray[np.uintp]


@inner
def factorize_all(
    matrix: Array, least_squares: bool, most: int, width: int, holes: Indices, triangle: Array, basis: Array
) -> None:
    """Write the triangles of all rows; `basis` is that of the last eight."""
    for lane in range(0, width, LANES):
        n_holes = most_holes(holes, lane, most, len(matrix) - 1)
        if least_squares:
            orthogonalize(matrix, holes, lane, n_holes, triangle, basis)
        else:
            factorize(matrix, holes, lane, n_holes, triangle)


@inner
def fill_holes(
    matrix: Array,
    least_squares: bool,
    most: int,
    width: int,
    holes: Indices,
    triangle: Array,
    product: Array,
    v: Array,
    distance: Array,
    systems: Any,
) -> None:
    """Fill the holes of `v`, and take from `distance` (negative) what that explains."""
    solved, _, _, basis, _ = systems
    pad = len(matrix) - 1
    for lane in range(0, width, LANES):
        n_holes = most_holes(holes, lane, most, pad)
        if least_squares:
            orthogonalize(matrix, holes, lane, n_holes, triangle, basis)
            project_out(basis, matrix.shape[1], lane, n_holes, product, solved)
        else:
            factorize(matrix, holes, lane, n_holes, triangle)
            solve_lower(product, holes, lane, n_holes, triangle, solved)
            for a in range(n_holes):
                add_product(distance, lane, solved, a * LANES, solved, a * LANES)
        solve_upper(lane, n_holes, triangle, solved)
        for a in range(n_holes):
            for t in range(LANES):
                v[1 + holes[a, lane + t], lane + t] = -solved[a, t]


@inner
def fill_same_holes(
    matrix: Array,
    least_squares: bool,
    n_holes: int,
    width: int,
    holes: Indices,
    triangle: Array,
    product: Array,
    v: Array,
    distance: Array,
    systems: Any,
) -> None:
    """Do the same where all rows have the same holes."""
    _, solved, _, basis, _ = systems
    if least_squares:
        orthogonalize(matrix, holes, 0, n_holes, triangle, basis)
        project_shared(basis, matrix.shape[1], n_holes, width, product, solved)
    else:
        factorize(matrix, holes, 0, n_holes, triangle)
        solve_shared(holes, n_holes, triangle, width, product, solved)
        for a in range(n_holes):
            line = solved[a]
            for t in range(width):
                distance[t] += line[t] * line[t]
    fill_shared(holes, n_holes, triangle, width, solved, v)
