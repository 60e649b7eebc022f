"""Rows with errors in loops, for any number of features: see `noisy_steps` for few."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.compiled import inner
from dask_gmm.model.kernels.lanes import (
    LANES,
    add_product,
    add_scaled,
    clear,
    copy,
    scale,
    set_scaled,
    subtract_product,
)
from dask_gmm.model.kernels.small_systems import add_log_diagonals, factorize_in_place
from dask_gmm.model.kernels.softmax import BITS, HALF_LOG_TWO_PI

Array = NDArray[np.float64]

#: Responsibilities below change no sum by a rounding.
NOTHING = 1e-17


@inner
def _factorize(covariance: Array, lane: int, both: Array, noise: Array, triangle: Array, d: int) -> None:
    """Write the Cholesky factor of each row's covariance, of the component and the errors, to `triangle`."""
    n = triangle.shape[1]
    for a in range(d):
        for b in range(a + 1):
            place = (a * (a + 1) // 2 + b) * n + lane
            copy(triangle, place, noise, place)
            add_scaled(triangle, place, covariance[a, b], both, place)
    factorize_in_place(triangle, lane, d)


@inner
def _solve(lane: int, d: int, triangle: Array, solved: Array, at: int, n: int) -> None:
    """Multiply the `d` lines of `solved`, which are `n` apart and begin at `at`, by the inverse factor.

    `solve_lower` of `small_systems` does it to lines a fixed distance apart, which saves it 5 % of a pass.
    """
    width = triangle.shape[1]
    for a in range(d):
        own = at + a * n
        scale(solved, own, triangle, (a * (a + 1) // 2 + a) * width + lane)
        for c in range(a + 1, d):
            factor = (c * (c + 1) // 2 + a) * width + lane
            subtract_product(solved, at + c * n, triangle, factor, solved, own)


@inner
def log_joint_by_loops(component: Any, width: int, rows: Any, kept: Array, out: Array) -> None:
    """Write the log-joint of one component, in bits; keep factors and solutions."""
    mean, covariance, peak = component
    tile, seen, both, noise, missing = rows
    d = len(mean)
    triangle, solved = kept[: len(kept) - d], kept[len(kept) - d :]
    n = solved.shape[1]
    for j in range(d):
        for t in range(width):
            solved[j, t] = (tile[j, t] - mean[j]) * seen[j, t]
    for t in range(width):
        out[t] = 0.0
    for lane in range(0, width, LANES):
        _factorize(covariance, lane, both, noise, triangle, d)
        _solve(lane, d, triangle, solved, lane, n)
        for j in range(d):
            subtract_product(out, lane, solved, j * n + lane, solved, j * n + lane)
    for t in range(width):
        out[t] = peak + (0.5 * BITS) * out[t] + HALF_LOG_TWO_PI * missing[t]
    for lane in range(0, width, LANES):
        add_log_diagonals(lane, d, triangle, out)


@inner
def _explain(covariance: Array, lane: int, d: int, seen: Array, triangle: Array, z: Array) -> None:
    """Write the inverse factor times the covariances of what was observed and each feature to `z`."""
    n = seen.shape[1]
    for c in range(d):
        for a in range(d):
            set_scaled(z, (c * d + a) * LANES, covariance[a, c], seen, a * n + lane)
        _solve(lane, d, triangle, z, c * d * LANES, LANES)


@inner
def _expect(lane: int, d: int, n: int, z: Array, solved: Array, expected: Array) -> None:
    """Write the expected distance of each feature from the mean to `expected`, shape (d, LANES)."""
    for c in range(d):
        clear(expected, c * LANES)
        for a in range(d):
            add_product(expected, c * LANES, z, (c * d + a) * LANES, solved, a * n + lane)


@inner
def add_statistics_by_loops(
    covariance: Array, width: int, seen: Array, kept: Array, resp: Array, systems: Any, sums: Array
) -> None:
    """Add the sums of 1, v and v v^T less the component's covariance to `sums`, shape (lines, LANES)."""
    z, expected, moment = systems
    d = len(covariance)
    triangle, solved = kept[: len(kept) - d], kept[len(kept) - d :]
    n = solved.shape[1]
    for lane in range(0, width, LANES):
        some = False
        for t in range(LANES):
            some = some or resp[lane + t] > NOTHING
            sums[0, t] += resp[lane + t]
        if some:
            _explain(covariance, lane, d, seen, triangle, z)
            _expect(lane, d, n, z, solved, expected)
            line = 1 + d
            for c in range(d):
                add_product(sums, (1 + c) * LANES, expected, c * LANES, resp, lane)
                for b in range(c, d):
                    copy(moment, 0, expected, c * LANES)
                    scale(moment, 0, expected, b * LANES)
                    for a in range(d):
                        left, right = (c * d + a) * LANES, (b * d + a) * LANES
                        subtract_product(moment, 0, z, left, z, right)
                    add_product(sums, line * LANES, moment, 0, resp, lane)
                    line += 1


@inner
def add_denoised(
    mean: Array,
    covariance: Array,
    start: int,
    count: int,
    width: int,
    seen: Array,
    kept: Array,
    shares: Array,
    systems: Any,
    out: Array,
) -> None:
    """Add what one component says of where the rows truly are to `out`, shape (n, d)."""
    triangle, solved, resp = kept[: len(kept) - len(mean)], kept[len(kept) - len(mean) :], shares
    z, expected, _ = systems
    d, n = len(mean), solved.shape[1]
    for lane in range(0, width, LANES):
        _explain(covariance, lane, d, seen, triangle, z)
        _expect(lane, d, n, z, solved, expected)
        for t in range(min(LANES, count - lane)):
            for c in range(d):
                out[start + lane + t, c] += resp[lane + t] * (mean[c] + expected[c, t])
