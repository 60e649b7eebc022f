"""The sums of factor analysers over the rows that a component's responsibilities notice."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inlined, inner, reordered
from dask_gmm.model.kernels.products import accumulate, multiply, rows_per_block

Array = NDArray[np.float64]

# Responsibilities below this share of a row's weight add nothing to sums of others.
_LOST = 2.0**-53


@inlined
def choose(resp: NDArray[Any], weights: Array, start: int, count: int, chosen: NDArray[np.int64]) -> int:
    """Write which rows from `start` a component's sums notice to `chosen`, and return their number."""
    n_chosen = 0
    for t in range(count):
        weight = weights[start + t] if len(weights) else 1.0
        if np.float64(resp[t]) > _LOST * weight:
            chosen[n_chosen] = t
            n_chosen += 1
    return n_chosen


@inner
def _gather(
    rows: NDArray[Any],
    start: int,
    chosen: NDArray[np.int64],
    mean: NDArray[Any],
    rest: NDArray[Any],
    resp: NDArray[Any],
    width: int,
    deviations: NDArray[Any],
    weighted: NDArray[Any],
) -> None:
    """Write 1 and v of the chosen rows to the lines of `deviations`, and `resp` to `weighted`'s first."""
    for s in range(len(chosen)):
        row = rows[start + chosen[s]]
        deviations[0, s] = 1.0
        weighted[0, s] = resp[chosen[s]]
        for j in range(len(mean)):
            deviations[1 + j, s] = (row[j] - mean[j]) - rest[j]
    for s in range(len(chosen), width):
        weighted[0, s] = 0.0
        for j in range(1 + len(mean)):
            deviations[j, s] = 0.0


@reordered
def _square(line: NDArray[Any], resp: NDArray[Any], width: int) -> float:
    total = 0.0
    for t in range(width):
        total += np.float64(resp[t]) * np.float64(line[t]) ** 2
    return total


@inner
def _add_moments(
    deviations: NDArray[Any],
    d: int,
    projection: NDArray[Any],
    width: int,
    projected: NDArray[Any],
    weighted: NDArray[Any],
    out: Array,
    n_factors: int,
) -> None:
    """Add the sums over gathered rows of `weighted`'s first line times 1, v, v u^T and v^2."""
    multiply(projection, deviations[1 : 1 + d], width, projected)
    resp = weighted[0]
    for j in range(n_factors):
        line, product = projected[j], weighted[1 + j]
        for t in range(width):
            product[t] = resp[t] * line[t]
    accumulate(deviations, 1 + d, weighted, width, out, False)
    for j in range(d):
        out[1 + j, 1 + n_factors] += _square(deviations[1 + j], resp, width)


@inlined
def add_sums(
    rows: NDArray[Any],
    start: int,
    chosen: NDArray[np.int64],
    means: NDArray[Any],
    projection: NDArray[Any],
    resp: NDArray[Any],
    tiles: tuple[NDArray[Any], NDArray[Any], NDArray[Any]],
    n_factors: int,
    out: Array,
) -> None:
    """Add a component's sums over the chosen rows, counted from `start`, to `out`.

    Parameters
    ----------
    means : ndarray of shape (2, d)
        What is subtracted, and what is left of the mean then.
    projection : ndarray, flat
        G, from `products.packed`.
    resp : ndarray of shape (n,)
        Weight times responsibility of each row from `start`.
    tiles : tuple of ndarray
        Memory of padded_lines(d + 1), padded_columns(q) and padded_columns(q + 2) lines; overwritten.
    out : ndarray of shape (padded_lines(d + 1), padded_columns(q + 2))
    """
    deviations, projected, weighted = tiles
    n_rows, block = deviations.shape[1], rows_per_block(deviations)
    for s in range(0, len(chosen), n_rows):
        some = chosen[s : min(s + n_rows, len(chosen))]
        width = -(-len(some) // block) * block
        _gather(rows, start, some, means[0], means[1], resp, width, deviations, weighted)
        _add_moments(deviations, rows.shape[1], projection, width, projected, weighted, out, n_factors)
