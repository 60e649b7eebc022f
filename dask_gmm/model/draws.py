"""Draws that depend on the row alone: the same whatever the order in which rows are read."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

Array = NDArray[np.float64]
Seeds = NDArray[np.uint64]


def row_seeds(rows: NDArray[Any], numbers: NDArray[np.int64], seed: int) -> Seeds:
    """Return a seed for each row, from its number, its values and `seed`.

    The values tell rows apart where numbers are known within a chunk only.
    """
    seeds = _mixed(numbers.astype(np.uint64) + _step(seed))
    values = np.ascontiguousarray(rows, dtype=np.float64)
    bits = np.where(np.isnan(values), 0.0, values).view(np.uint64)
    for column in bits.T:
        seeds = _mixed(seeds ^ column)
    return seeds


def uniform(seeds: Seeds, stream: int) -> Array:
    """Return a number between 0 and 1, both excluded, for each seed; streams are independent."""
    mixed = _mixed(seeds + _step(stream + 1))
    numbers: Array = ((mixed >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
    return numbers


def choose(resp: Array, seeds: Seeds) -> NDArray[np.intp]:
    """Draw a component for each row by its responsibilities, shape (n, n_components)."""
    reached = np.cumsum(resp, axis=1) < uniform(seeds, 0)[:, np.newaxis] * resp.sum(axis=1, keepdims=True)
    chosen: NDArray[np.intp] = np.minimum(reached.sum(axis=1), resp.shape[1] - 1)
    return chosen


def draw_conditionally(rows: Array, mean: Array, precision: Array, seeds: Seeds) -> Array:
    """Return rows with values drawn from one Gaussian, given the others, in the holes."""
    filled = rows.copy()
    holes = np.isnan(rows)
    _, first, pattern = np.unique(holes, axis=0, return_index=True, return_inverse=True)
    normal = np.column_stack([ndtri(uniform(seeds, 1 + j)) for j in range(rows.shape[1])])
    for number, row in enumerate(first):
        here = np.flatnonzero(pattern.reshape(-1) == number)
        missing = holes[row]
        deviations = np.where(missing, 0.0, rows[here] - mean)
        lower = np.linalg.cholesky(precision[np.ix_(missing, missing)])
        linear = np.linalg.solve(lower, (deviations @ precision)[:, missing].T)
        drawn = np.linalg.solve(lower.T, normal[here][:, missing].T - linear)
        filled[np.ix_(here, missing)] = mean[missing] + drawn.T
    return filled


def _step(count: int) -> np.uint64:
    return np.uint64((count * 0x9E3779B97F4A7C15) % 2**64)


def _mixed(numbers: Seeds) -> Seeds:
    """Hash 64-bit numbers.

    SplitMix64: Steele, Lea and Flood, Fast Splittable Pseudorandom Number Generators (2014).
    """
    with np.errstate(over="ignore"):
        mixed = (numbers ^ (numbers >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        result: Seeds = mixed ^ (mixed >> np.uint64(31))
    return result
