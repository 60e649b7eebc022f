"""The two matrix products of an E-step.

Tiles are feature-major: a tile of features has the shape (n_features, n_rows), rows along the fast axis. Then

* `multiply_add` is parameters times features: ``out[k, t] += sum_p theta[p, k] * features[p, t]``;
* `accumulate` is features times responsibilities: ``out[p, k] += sum_t features[p, t] * resp[k, t]``.

A general BLAS first copies both operands into an order of its own, which for so few components costs a third
of the time; here they lie in the right order from the start, and no BLAS thread pool has to be held back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import inner
from dask_gmm.model.kernels.registers import (
    COLUMNS,
    VECTOR_BYTES,
    VECTORS,
    accumulate_block,
    multiply_add_block,
)

_multiply_add_8, _multiply_add_4, _multiply_add_2, _multiply_add_1 = map(multiply_add_block, (8, 4, 2, 1))
_accumulate_8, _accumulate_4, _accumulate_2, _accumulate_1 = map(accumulate_block, (8, 4, 2, 1))


def rows_per_block(itemsize: int) -> int:
    """Rows that `multiply_add` takes at once; tiles hold a multiple of it."""
    return VECTORS * VECTOR_BYTES // itemsize


def padded_columns(n_columns: int) -> int:
    """Round up to whole blocks of columns: full ones of `COLUMNS`, then one of 1, 2, 4 or 8."""
    rest = n_columns % COLUMNS
    return n_columns - rest + (1 << (rest - 1).bit_length() if rest else 0)


def padded_lines(n_features: int) -> int:
    """Round up to whole blocks of features."""
    return -(-n_features // VECTORS) * VECTORS


def packed(theta: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Put parameters of shape (P, K) in the order that `multiply_add` reads: flat, block by block."""
    n_features, n_columns = theta.shape
    width = padded_columns(n_columns)
    full = n_columns - n_columns % COLUMNS
    wide = np.zeros((n_features, width), dtype)
    wide[:, :n_columns] = theta
    blocks = wide[:, :full].reshape(n_features, full // COLUMNS, COLUMNS).swapaxes(0, 1)
    return np.concatenate([blocks.ravel(), wide[:, full:].ravel()])


@inner
def multiply_add(
    theta: NDArray[Any],
    depth: int,
    first: int,
    features: NDArray[Any],
    n_used: int,
    out: NDArray[Any],
    width: int,
) -> None:
    """Add parameters times features to `out`.

    Parameters
    ----------
    theta : ndarray, flat
        From `packed`, of `depth` features.
    depth, first, n_used : int
        `features` holds the features ``first, ..., first + n_used - 1`` of `depth`.
    features : ndarray of shape (>= n_used, n_rows)
    out : ndarray of shape (padded_columns(K), n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    """
    stride = features.shape[1]
    n_columns = out.shape[0]
    step = VECTORS * VECTOR_BYTES // features.itemsize
    for t in range(0, width, step):
        k = 0
        while k < n_columns:
            columns = min(COLUMNS, n_columns - k)
            at, to = k * depth + columns * first, k * stride + t
            if columns == 8:
                _multiply_add_8(theta, at, features, t, stride, out, to, n_used)
            elif columns == 4:
                _multiply_add_4(theta, at, features, t, stride, out, to, n_used)
            elif columns == 2:
                _multiply_add_2(theta, at, features, t, stride, out, to, n_used)
            else:
                _multiply_add_1(theta, at, features, t, stride, out, to, n_used)
            k += columns


@inner
def accumulate(
    features: NDArray[Any],
    n_used: int,
    resp: NDArray[Any],
    width: int,
    out: NDArray[Any],
    first: int,
    upper: bool,
) -> None:
    """Add features times responsibilities to `out`, in float64.

    Parameters
    ----------
    features : ndarray of shape (padded_lines(n_used), n_rows)
    resp : ndarray of shape (padded_columns(K), n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    out : ndarray of shape (>= first + padded_lines(n_used), padded_columns(K))
    first : int
        Line of `out` that the first feature belongs to.
    upper : bool
        Leave out blocks in which every k < p.
    """
    stride = features.shape[1]
    n_columns = resp.shape[0]
    for p in range(0, n_used, VECTORS):
        k = p // COLUMNS * COLUMNS if upper else 0
        while k < n_columns:
            columns = min(COLUMNS, n_columns - k)
            line, to = k * stride, (first + p) * n_columns + k
            if columns == 8:
                _accumulate_8(features, p * stride, resp, line, stride, width, out, to, n_columns)
            elif columns == 4:
                _accumulate_4(features, p * stride, resp, line, stride, width, out, to, n_columns)
            elif columns == 2:
                _accumulate_2(features, p * stride, resp, line, stride, width, out, to, n_columns)
            else:
                _accumulate_1(features, p * stride, resp, line, stride, width, out, to, n_columns)
            k += columns
