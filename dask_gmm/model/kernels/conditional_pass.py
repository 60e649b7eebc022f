"""The compiled half of `conditional`: rows with holes, tile by tile, and component by component."""

from __future__ import annotations

from functools import cache
from math import lcm
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inner, read_only
from dask_gmm.model.kernels.filling import factorize_all, fill_holes, fill_same_holes
from dask_gmm.model.kernels.kernel import given_types, write_outputs
from dask_gmm.model.kernels.lanes import LANES
from dask_gmm.model.kernels.products import accumulate, multiply
from dask_gmm.model.kernels.registers import VECTORS
from dask_gmm.model.kernels.small_systems import (
    add_inverse,
    add_log_diagonals,
    most_holes,
)
from dask_gmm.model.kernels.softmax import BITS, HALF_LOG_TWO_PI, log2_positive
from dask_gmm.model.kernels.vectors import VECTOR_BYTES

Array = NDArray[np.float64]
Indices = NDArray[np.uintp]

#: Rows of a block: those that `multiply` takes at once, and whole lanes, on any processor.
BLOCK = lcm(VECTORS * VECTOR_BYTES // 8, LANES)
# Responsibilities below change no sum that counts.
_NOTHING = 1e-30


@inner
def _load(
    rows: NDArray[Any], start: int, count: int, width: int, tile: Array, seen: Array, holes: Indices, pad: int
) -> None:
    """Copy rows, transposed, with zeros in their holes, and list these; the last is repeated to `width`."""
    d = rows.shape[1]
    for t in range(width):
        n_holes = 0
        for j in range(d):
            value = np.float64(rows[start + min(t, count - 1), j])
            tile[j, t], seen[j, t] = value, 1.0
            if np.isnan(value):
                tile[j, t], seen[j, t] = 0.0, 0.0
                holes[n_holes, t] = j
                n_holes += 1
        for a in range(n_holes, len(holes)):
            holes[a, t] = pad


@inner
def _deviate(mean: Array, width: int, tile: Array, seen: Array, v: Array) -> None:
    """Write 1 and the distances from the mean, zero in the holes, to the lines of `v`."""
    for t in range(width):
        v[0, t] = 1.0
    for j in range(len(mean)):
        to, line, here = v[1 + j], tile[j], seen[j]
        for t in range(width):
            to[t] = (line[t] - mean[j]) * here[t]


@inner
def _log_joint(
    component: Any,
    least_squares: bool,
    same: bool,
    most: int,
    width: int,
    rows: Any,
    work: Any,
    systems: Any,
) -> None:
    """Write the log-joint of one component, in bits, and what the rows are expected to be to `v`."""
    mean, matrix, factors, peak = component
    tile, seen, holes = rows
    v, product, triangle, out = work
    d, pad = len(mean), len(product) - 1
    _deviate(mean, width, tile, seen, v)
    multiply(factors, v[1 : 1 + d], width, product[:pad])
    for t in range(width):
        out[t], product[pad, t] = 0.0, 0.0
    if not least_squares:
        for j in range(d):
            line, other = product[j], v[1 + j]
            for t in range(width):
                out[t] -= line[t] * other[t]
    if same:
        fill_same_holes(matrix, least_squares, most, width, holes, triangle, product, v, out, systems)
    else:
        fill_holes(matrix, least_squares, most, width, holes, triangle, product, v, out, systems)
    if least_squares:
        for j in range(d):
            line = product[j]
            for t in range(width):
                out[t] -= line[t] * line[t]
    for t in range(width):
        out[t] = peak + (0.5 * BITS) * out[t]
    if same:
        shared = most * HALF_LOG_TWO_PI
        for a in range(most):
            shared += log2_positive(triangle[a * (a + 1) // 2 + a, 0])
        for t in range(width):
            out[t] += shared
        return
    for lane in range(0, width, LANES):
        n_holes = most_holes(holes, lane, most, pad)
        add_log_diagonals(lane, n_holes, triangle, out)
        for a in range(n_holes):
            for t in range(LANES):
                if holes[a, lane + t] != pad:
                    out[lane + t] += HALF_LOG_TWO_PI


@inner
def _add_statistics(
    d: int,
    pad: int,
    same: bool,
    most: int,
    width: int,
    holes: Indices,
    v: Array,
    triangle: Array,
    resp: Array,
    weighted: Array,
    systems: Any,
    out: Array,
) -> None:
    """Add the sums of 1, v and v v^T, and what the holes add to the last, to `out`."""
    _, _, inverse, _, at = systems
    for t in range(width):
        resp[t] = resp[t] if resp[t] >= _NOTHING else 0.0
    for j in range(1 + d):
        line, to = v[j], weighted[j]
        for t in range(width):
            to[t] = line[t] * resp[t]
    accumulate(v, 1 + d, weighted, width, out, True)
    if same:
        for t in range(LANES):
            at[t] = 0.0
        for t in range(width):
            at[0] += resp[t]
        add_inverse(holes, 0, most, triangle, at, inverse, out)
        return
    for lane in range(0, width, LANES):
        some = False
        for t in range(LANES):
            some = some or resp[lane + t] > 0.0
        if some:
            n_holes = most_holes(holes, lane, most, pad)
            add_inverse(holes, lane, n_holes, triangle, resp, inverse, out)


@inner
def _add_all(
    matrices: Array,
    least_squares: bool,
    same: bool,
    most: int,
    n_holes: int,
    width: int,
    holes: Indices,
    tiles: Any,
    systems: Any,
    statistics: Array,
) -> None:
    """Add the statistics of all components, whose triangles may have to be made again."""
    _, _, tile, _, _, v, product, triangles, weighted, resp = tiles
    d, pad = len(tile), len(product) - 1
    for k in range(len(statistics)):
        triangle = triangles[min(k, len(triangles) - 1)]
        if len(triangles) < len(statistics):
            factorize_all(matrices[k], least_squares, most, width, holes, triangle, systems[3])
        _add_statistics(
            d, pad, same, n_holes, width, holes, v[k], triangle, resp[k], weighted, systems, statistics[k]
        )


@inner
def _write_filled(
    rows: NDArray[Any],
    start: int,
    count: int,
    means: Array,
    v: Array,
    seen: Array,
    resp: Array,
    filled: Array,
) -> None:
    """Write rows with their expected values in the holes."""
    for t in range(count):
        for j in range(rows.shape[1]):
            if seen[j, t] == 1.0:
                filled[start + t, j] = rows[start + t, j]
            else:
                expected = 0.0
                for k in range(len(means)):
                    expected += resp[k, t] * (means[k, j] + v[k, 1 + j, t])
                filled[start + t, j] = expected


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    filled: Array,
    statistics: Array,
    starts: NDArray[np.intp],
    same: NDArray[np.bool_],
    mixture: Any,
    least_squares: bool,
    most: int,
    tiles: Any,
    systems: Any,
) -> float:
    """Take the rows tile by tile, and the components one by one: log-joints, outputs, statistics."""
    means, matrices, products, peaks = mixture
    row_values, row_sums, tile, seen, holes, v, product, triangles, _, log_joint = tiles
    n_components = len(means)
    pad = len(product) - 1
    log_likelihood = 0.0
    for number in range(len(same)):
        start, count = starts[number], starts[number + 1] - starts[number]
        width = -(-count // BLOCK) * BLOCK
        # Rows beyond the last are copies of it, whose weights are none.
        _load(rows, start, count, width, tile, seen, holes, pad)
        n_holes = most_holes(holes, 0, most, pad) if same[number] else most
        loaded = tile, seen, holes
        for k in range(n_components):
            component = means[k], matrices[k], products[k], peaks[k]
            work = v[k], product, triangles[min(k, len(triangles) - 1)], log_joint[k]
            _log_joint(component, least_squares, same[number], n_holes, width, loaded, work, systems)
        log_likelihood += write_outputs(
            log_joint,
            n_components,
            start,
            count,
            width,
            weights,
            labels,
            log_density,
            resp,
            row_values,
            row_sums,
        )
        if len(filled):
            _write_filled(rows, start, count, means, v, seen, log_joint, filled)
        if len(statistics):
            _add_all(
                matrices, least_squares, same[number], most, n_holes, width, holes, tiles, systems, statistics
            )
    return log_likelihood


@cache
def entry_point(rows_dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    rows = from_dtype(rows_dtype)
    vector, matrix, cube = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
    constants = [read_only(types.float64, ndim, "C") for ndim in (1, 2, 3)]
    tiles = [matrix, matrix, matrix, matrix, types.uintp[:, ::1], cube, matrix, cube, matrix, matrix]
    return compile_for(
        _pass,
        *given_types(rows),
        types.float64[:, :],
        cube,
        read_only(types.intp, 1, "C"),
        read_only(types.boolean, 1, "C"),
        types.Tuple([constants[1], constants[2], constants[1], constants[0]]),
        types.boolean,
        types.intp,
        types.Tuple(tiles),
        types.Tuple([matrix, matrix, matrix, matrix, vector]),
    )
