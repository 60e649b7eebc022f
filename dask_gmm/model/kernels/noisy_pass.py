"""The compiled half of `noisy`: rows with errors, eight at a time, component by component."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import OPTIONS, compile_for, inner, read_only
from dask_gmm.model.kernels.kernel import given_types, write_outputs
from dask_gmm.model.kernels.lanes import LANES
from dask_gmm.model.kernels.noisy_loops import (
    NOTHING,
    add_denoised,
    add_statistics_by_loops,
    log_joint_by_loops,
)
from dask_gmm.model.kernels.noisy_steps import density_step, moments_step
from dask_gmm.model.kernels.softmax import BITS, HALF_LOG_TWO_PI, log2_positive

Array = NDArray[np.float64]

#: Features up to which a step is written out.
MOST_WRITTEN_OUT = 8


@inner
def _load(rows: NDArray[Any], observed: Any, start: int, count: int, width: int, loaded: Any) -> None:
    """Copy rows, transposed, and lay out the covariances of their errors; the last is repeated to `width`.

    A value that is missing has the mask zero, and as its own error the variance one.
    """
    errors, correlations, pairs = observed
    tile, seen, both, noise, missing = loaded
    d = rows.shape[1]
    for t in range(width):
        i = start + min(t, count - 1)
        missing[t] = 0.0
        for j in range(d):
            value, error = np.float64(rows[i, j]), errors[i, j]
            gone = np.isnan(value) or error == np.inf
            tile[j, t], seen[j, t] = 0.0 if gone else value, 0.0 if gone else 1.0
            missing[t] += 1.0 if gone else 0.0
        for a in range(d):
            for b in range(a):
                both[a * (a + 1) // 2 + b, t] = seen[a, t] * seen[b, t]
                noise[a * (a + 1) // 2 + b, t] = 0.0
            place = a * (a + 1) // 2 + a
            both[place, t] = seen[a, t]
            noise[place, t] = errors[i, a] * errors[i, a] if seen[a, t] == 1.0 else 1.0
        for pair in range(len(pairs)):
            b, a = pairs[pair, 0], pairs[pair, 1]
            place = a * (a + 1) // 2 + b
            if both[place, t] == 1.0:
                noise[place, t] = correlations[i, pair] * errors[i, a] * errors[i, b]


def _log_joint(dims: Any, component: Any, width: int, rows: Any, kept: Any, out: Any, at: Any) -> None:
    """Write the log-joint of one component, in bits, and what the second half needs to `kept`."""


@overload(_log_joint, jit_options=OPTIONS)  # type: ignore[untyped-decorator]
def _log_joint_of(dims: Any, component: Any, width: int, rows: Any, kept: Any, out: Any, at: Any) -> Any:
    def written_out(dims: Any, component: Any, width: int, rows: Any, kept: Any, out: Any, at: Any) -> None:
        mean, covariance, peak = component
        tile, seen, both, noise, missing = rows
        for lane in range(0, width, LANES):
            density_step(dims, mean, covariance, tile, seen, both, noise, kept, out, at, lane)
        for t in range(width):
            # The product of the inverse pivots is the inverse square of the factor's determinant.
            constant = peak + HALF_LOG_TWO_PI * missing[t] + 0.5 * log2_positive(at[t])
            out[t] = constant + (0.5 * BITS) * out[t]

    def by_loops(dims: Any, component: Any, width: int, rows: Any, kept: Any, out: Any, at: Any) -> None:
        log_joint_by_loops(component, width, rows, kept, out)

    return written_out if dims.count else by_loops


def _add_statistics(
    dims: Any, covariance: Any, width: int, seen: Any, kept: Any, resp: Any, systems: Any, sums: Any
) -> None:
    """Add the statistics of one component to `sums`, shape (lines, LANES)."""


@overload(_add_statistics, jit_options=OPTIONS)  # type: ignore[untyped-decorator]
def _add_statistics_of(
    dims: Any, covariance: Any, width: int, seen: Any, kept: Any, resp: Any, systems: Any, sums: Any
) -> Any:
    def written_out(
        dims: Any, covariance: Any, width: int, seen: Any, kept: Any, resp: Any, systems: Any, sums: Any
    ) -> None:
        for lane in range(0, width, LANES):
            some = False
            for t in range(LANES):
                some = some or resp[lane + t] > NOTHING
                sums[0, t] += resp[lane + t]
            if some:
                moments_step(dims, covariance, seen, kept, resp, sums, lane)

    def by_loops(
        dims: Any, covariance: Any, width: int, seen: Any, kept: Any, resp: Any, systems: Any, sums: Any
    ) -> None:
        add_statistics_by_loops(covariance, width, seen, kept, resp, systems, sums)

    return written_out if dims.count else by_loops


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    denoised: Array,
    statistics: Array,
    observed: Any,
    mixture: Any,
    tiles: Any,
    systems: Any,
    at: Array,
    dims: Any,
) -> float:
    """Take the rows tile by tile, and the components one by one: log-joints, outputs, statistics."""
    means, covariances, peaks = mixture
    row_values, row_sums, tile, seen, both, noise, missing, kept, log_joint = tiles
    n = len(rows)
    n_components, n_rows = log_joint.shape
    loaded = tile, seen, both, noise, missing
    log_likelihood = 0.0
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // LANES) * LANES
        _load(rows, observed, start, count, width, loaded)
        for k in range(n_components):
            component = means[k], covariances[k], peaks[k]
            _log_joint(dims, component, width, loaded, kept[k], log_joint[k], at)
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
        for k in range(len(statistics)):
            _add_statistics(dims, covariances[k], width, seen, kept[k], log_joint[k], systems, statistics[k])
        if len(denoised):
            for k in range(n_components):
                add_denoised(
                    means[k],
                    covariances[k],
                    start,
                    count,
                    width,
                    seen,
                    kept[k],
                    log_joint[k],
                    systems,
                    denoised,
                )
    return log_likelihood


@cache
def entry_point(rows_dtype: np.dtype[Any], written_out: int) -> Any:
    """Return the compiled function, with steps written out for a number of features, or in loops for 0."""
    vector, matrix, cube = types.float64[::1], types.float64[:, ::1], types.float64[:, :, ::1]
    constants = [read_only(types.float64, ndim, "C") for ndim in (1, 2, 3)]
    tiles = [matrix, matrix, matrix, matrix, matrix, matrix, vector, cube, matrix]
    return compile_for(
        _pass,
        *given_types(from_dtype(rows_dtype)),
        types.float64[:, :],
        cube,
        types.Tuple([constants[1], constants[1], read_only(types.intp, 2, "C")]),
        types.Tuple([constants[1], constants[2], constants[0]]),
        types.Tuple(tiles),
        types.Tuple([matrix, matrix, matrix]),
        vector,
        types.UniTuple(types.intp, written_out),
    )
