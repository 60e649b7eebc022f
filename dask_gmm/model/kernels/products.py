"""The matrix products of an E-step.

Tiles are feature-major: a tile of features has the shape (n_features, n_rows), rows along the fast axis. Then

* `multiply` is parameters times features: ``out[k, t] = sum_p theta[p, k] * features[p, t]``;
* `squared_norms` is the same for a triangular matrix, with the squares summed over k;
* `accumulate` is features times responsibilities: ``out[p, k] += sum_t features[p, t] * resp[k, t]``.

A general BLAS first copies both operands into an order of its own, which for so few components costs a third
of the time; here they lie in the right order from the start, and no BLAS thread pool has to be held back.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inlined, inner
from dask_gmm.model.kernels.registers import (
    COLUMNS,
    VECTORS,
    accumulate_block,
    expand_block,
    multiply_block,
)
from dask_gmm.model.kernels.vectors import VECTOR_BYTES

# A last block of half the columns halves what padding costs mixtures of few components.
_HALF = COLUMNS // 2
_multiply, _multiply_half = multiply_block(COLUMNS), multiply_block(_HALF)
_squares, _squares_half = multiply_block(COLUMNS, squared=True), multiply_block(_HALF, squared=True)
_expand, _expand_half = expand_block(COLUMNS), expand_block(_HALF)
_accumulate, _accumulate_half = accumulate_block(COLUMNS), accumulate_block(_HALF)


def padded_columns(n_columns: int) -> int:
    """Round up to blocks of `COLUMNS` and one of half as many."""
    return -(-n_columns // _HALF) * _HALF


def padded_lines(n_features: int) -> int:
    """Round up to whole blocks of features."""
    return -(-n_features // VECTORS) * VECTORS


def packed(theta: NDArray[Any], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Put parameters of shape (..., P, K) in the order of `multiply`: (..., P * padded_columns(K))."""
    *many, depth, n_columns = theta.shape
    wide = np.zeros((*many, depth, padded_columns(n_columns)), dtype)
    wide[..., :n_columns] = theta
    blocks = [
        wide[..., k : k + COLUMNS].reshape(*many, -1 if depth else 0)
        for k in range(0, wide.shape[-1], COLUMNS)
    ]
    return np.concatenate(blocks, axis=-1) if blocks else np.empty((*many, 0), dtype)


@inlined
def rows_per_block(tile: NDArray[Any]) -> int:
    """Return the rows that `multiply` takes at once; it works on a multiple of them."""
    return VECTORS * VECTOR_BYTES // tile.itemsize


@inner
def multiply(theta: NDArray[Any], features: NDArray[Any], width: int, out: NDArray[Any]) -> None:
    """Write parameters times features to `out`.

    Parameters
    ----------
    theta : ndarray, flat
        From `packed`.
    features : ndarray of shape (P, n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    out : ndarray of shape (padded_columns(K), n_rows)
    """
    depth, n_columns = len(features), len(out)
    for t in range(0, width, rows_per_block(features)):
        for k in range(0, n_columns, COLUMNS):
            to = k * out.shape[1] + t
            if n_columns - k >= COLUMNS:
                _multiply(theta, k * depth, features, t, out, to, depth)
            else:
                _multiply_half(theta, k * depth, features, t, out, to, depth)


@inlined
def multiply_expanded(
    theta: NDArray[Any],
    left: NDArray[np.intp],
    right: NDArray[np.intp],
    features: NDArray[Any],
    width: int,
    out: NDArray[Any],
) -> None:
    """Make products of features, and write parameters times features to `out`.

    Parameters
    ----------
    theta, width, out
        As in `multiply`.
    left, right : ndarray of shape (P,)
        Feature p becomes ``features[left[p]] * features[right[p]]``, in this order.
    features : ndarray of shape (P, n_rows)
        Changed.
    """
    depth, n_columns = len(left), len(out)
    for t in range(0, width, rows_per_block(features)):
        if n_columns >= COLUMNS:
            _expand(theta, left, right, features, t, out, t, depth)
        else:
            _expand_half(theta, left, right, features, t, out, t, depth)
        for k in range(COLUMNS, n_columns, COLUMNS):
            to = k * out.shape[1] + t
            if n_columns - k >= COLUMNS:
                _multiply(theta, k * depth, features, t, out, to, depth)
            else:
                _multiply_half(theta, k * depth, features, t, out, to, depth)


@inner
def squared_norms(factor: NDArray[Any], tile: NDArray[Any], width: int, out: NDArray[Any]) -> None:
    """Add each row's squared norm after multiplication by an upper triangular matrix to `out`.

    Parameters
    ----------
    factor : ndarray, flat
        From `packed`, of shape (d, d) before.
    tile : ndarray of shape (d, n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    out : ndarray of shape (>= width,)
    """
    d = len(tile)
    n_columns = factor.size // d
    for t in range(0, width, rows_per_block(tile)):
        for k in range(0, n_columns, COLUMNS):
            depth = min(d, k + COLUMNS)  # below, these columns are zero
            if n_columns - k >= COLUMNS:
                _squares(factor, k * d, tile, t, out, t, depth)
            else:
                _squares_half(factor, k * d, tile, t, out, t, depth)


@inner
def squared_products(theta: NDArray[Any], tile: NDArray[Any], width: int, out: NDArray[Any]) -> None:
    """Add each row's squared norm after multiplication by a matrix of few columns to `out`.

    Parameters
    ----------
    theta : ndarray, flat
        From `packed`, of shape (d, q) before.
    tile : ndarray of shape (d, n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    out : ndarray of shape (>= width,)
    """
    d = len(tile)
    n_columns = theta.size // d
    for t in range(0, width, rows_per_block(tile)):
        for k in range(0, n_columns, COLUMNS):
            if n_columns - k >= COLUMNS:
                _squares(theta, k * d, tile, t, out, t, d)
            else:
                _squares_half(theta, k * d, tile, t, out, t, d)


@inlined
def accumulate(
    features: NDArray[Any], n_features: int, resp: NDArray[Any], width: int, out: NDArray[Any], upper: bool
) -> None:
    """Add features times responsibilities to `out`, in float64.

    Parameters
    ----------
    features : ndarray of shape (padded_lines(n_features), n_rows)
    n_features : int
    resp : ndarray of shape (padded_columns(K), n_rows)
    width : int
        Rows to take, a multiple of `rows_per_block`.
    out : ndarray of shape (padded_lines(n_features), padded_columns(K))
    upper : bool
        Leave out blocks in which every k < p.
    """
    n_columns = len(resp)
    for p in range(0, n_features, VECTORS):
        row = p * features.shape[1]
        for k in range(p // COLUMNS * COLUMNS if upper else 0, n_columns, COLUMNS):
            line, to = k * resp.shape[1], p * n_columns + k
            if n_columns - k >= COLUMNS:
                _accumulate(features, row, resp, line, out, to, width)
            else:
                _accumulate_half(features, row, resp, line, out, to, width)
