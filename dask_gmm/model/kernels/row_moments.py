"""Mean, squares and scatter of all rows in one compiled call, whatever the mixture."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inner, read_only, reordered
from dask_gmm.model.kernels.products import accumulate, padded_columns, padded_lines, rows_per_block
from dask_gmm.model.kernels.tiles import load, rows_per_tile, scratch

Array = NDArray[np.float64]

_DOUBLE = np.dtype(np.float64)


def merge_moments(
    rows: NDArray[Any], weights: Array | None, weight: float, mean: Array, squares: Array, scatter: Array
) -> float:
    """Merge rows into moments, tile by tile and all in float64.

    Parameters
    ----------
    rows : ndarray of shape (n, d), float64 or float32
        Finite, of any strides.
    weights : ndarray of shape (n,), or None
    weight : float
        Of the rows seen before.
    mean, squares : ndarray of shape (d,)
        Mean, and sum of w (x - mean)^2; changed in place.
    scatter : ndarray of shape (d, d) or (0, 0)
        Sum of w (x - mean)(x - mean)^T, changed in place; empty where it is not wanted.

    Returns
    -------
    weight : float
        With these rows.
    """
    n, d = rows.shape
    if not n:
        return weight
    n_lines, n_columns = padded_lines(d), padded_columns(d)
    n_rows = rows_per_tile(n_lines + n_columns, n, _DOUBLE)
    merged: float = entry_point(rows.dtype)(
        rows,
        np.empty(0) if weights is None else weights,
        weight,
        mean,
        squares,
        scatter,
        scratch(n_lines, n_rows, _DOUBLE),
        scratch(n_columns, n_rows, _DOUBLE),
        np.zeros((n_lines, n_columns) if scatter.size else (0, 0)),
        np.ones(n_rows),
        np.ones(n_rows),
        np.empty(d),
    )
    return merged


@reordered
def _dot(a: Array, b: Array) -> float:
    total = 0.0
    for t in range(len(a)):
        total += a[t] * b[t]
    return total


@inner
def _centre(tile: Array, weighted: Array, weights: Array, weight: float, origin: Array) -> None:
    """Move each line of the tile from `origin` to its mean, and `origin` there; write weight times that."""
    count = len(weights)
    for j in range(len(origin)):
        line = tile[j, :count]
        distance = _dot(line, weights) / weight
        origin[j] += distance
        for t in range(count):
            line[t] -= distance
            weighted[j, t] = weights[t] * line[t]


def _pass(
    rows: NDArray[Any],
    given_weights: Array,
    weight: float,
    mean: Array,
    squares: Array,
    scatter: Array,
    tile: Array,
    weighted: Array,
    products: Array,
    ones: Array,
    tile_weights: Array,
    origin: Array,
) -> float:
    """Merge each tile's moments; Chan, Golub and LeVeque (1983), equation 1.5."""
    n, d = rows.shape
    n_rows, block = tile.shape[1], rows_per_block(tile)
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        weights = tile_weights[:count]
        if len(given_weights):
            for t in range(count):
                weights[t] = given_weights[start + t]
        added = _dot(weights, ones[:count])
        if added == 0.0:
            continue
        # About a row before summing: a mean of large offsets would be rounded at their size.
        for j in range(d):
            origin[j] = np.float64(rows[start, j])
        load(rows, start, count, origin, tile[:d], width)
        for j in range(len(weighted)):
            for t in range(width):
                weighted[j, t] = 0.0
        _centre(tile, weighted, weights, added, origin)
        share = added / (weight + added)
        between = weight * share
        if len(scatter):
            for i in range(len(products)):
                for j in range(products.shape[1]):
                    products[i, j] = 0.0
            accumulate(tile, d, weighted, width, products, False)
            for i in range(d):
                for j in range(d):
                    apart = (origin[i] - mean[i]) * (origin[j] - mean[j])
                    scatter[i, j] += products[i, j] + between * apart
        for j in range(d):
            difference = origin[j] - mean[j]
            squares[j] += _dot(weighted[j, :count], tile[j, :count]) + between * difference * difference
            mean[j] += share * difference
        weight += added
    return weight


@cache
def entry_point(dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    line, table = types.float64[::1], types.float64[:, ::1]
    return compile_for(
        _pass,
        read_only(from_dtype(dtype), 2),
        read_only(types.float64, 1),
        types.float64,
        line,
        line,
        table,
        table,
        table,
        table,
        line,
        line,
        line,
    )
