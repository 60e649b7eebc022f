"""Softmax and log-sum-exp over the components of a tile, in loops that LLVM turns into vector code.

A tile of log-joints has the shape (>= n_components, n_rows); every loop runs along the rows, lane by lane.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import OPTIONS, inner

_LOG2_E = 1.4426950408889634
# ln 2 and what is missing from it in the precision
_LN2, _LN2_REST = 0.6931471805599453, 2.3190468138462996e-17
_LN2_32, _LN2_REST_32 = np.float32(_LN2), np.float32(-1.904654299957768e-09)
# Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
_ROUND, _ROUND_32 = 6755399441055744.0, np.float32(12582912.0)
# Below these exp is subnormal or zero, and counts as zero.
_LOWEST, _LOWEST_32 = -708.0, np.float32(-87.0)


def exp_nonpositive(x: Any) -> Any:
    """Return exp(x) for x <= 0, to one unit in the last place; 0 below -708 (float32: -87), NaN for NaN."""
    return np.exp(x)


# exp(x) = 2^k exp(r) with |r| <= ln 2 / 2, and exp(r) = 1 + r (1 + r q(r)), q the Chebyshev fit of degree 9
# (error 2e-17) or 4 (float32: 1e-8).
def _exp64(x: Any) -> Any:
    shifted = x * _LOG2_E + _ROUND
    k = shifted - _ROUND
    r = (x - k * _LN2) - k * _LN2_REST
    q = 2.76200884454097482e-7 + r * 2.51003854955103191e-8
    q = 2.75572684599970648e-6 + r * q
    q = 2.48015212959543751e-5 + r * q
    q = 1.98412698630536169e-4 + r * q
    q = 1.38888889172137169e-3 + r * q
    q = 8.33333333333006183e-3 + r * q
    q = 4.16666666666241279e-2 + r * q
    q = 1.66666666666666675e-1 + r * q
    q = 5.00000000000000102e-1 + r * q
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < _LOWEST else (1.0 + r * (1.0 + r * q)) * power


def _exp32(x: Any) -> Any:
    shifted = x * np.float32(_LOG2_E) + _ROUND_32
    k = shifted - _ROUND_32
    r = (x - k * _LN2_32) - k * _LN2_REST_32
    q = np.float32(8.36317905272257737e-3) + r * np.float32(1.39261835877134945e-3)
    q = np.float32(4.16665546172045742e-2) + r * q
    q = np.float32(1.66665769896987757e-1) + r * q
    q = np.float32(0.5) + r * q
    power = np.int32((np.float32(shifted).view(np.int32) + 127) << 23).view(np.float32)
    return np.float32(0.0) if x < _LOWEST_32 else (np.float32(1.0) + r * (np.float32(1.0) + r * q)) * power


@overload(exp_nonpositive, jit_options=OPTIONS)  # type: ignore[untyped-decorator]
def _exp(x: Any) -> Callable[[Any], Any]:
    return _exp32 if x == types.float32 else _exp64


@inner
def log_positive(x: float) -> float:
    """Return log(x) for a normal x > 0, to one unit in the last place; NaN for NaN."""
    bits = np.float64(x).view(np.int64)
    # x = 2^k m with m between sqrt(1/2) and sqrt(2), whose bits start at the number subtracted
    k = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(bits - (k << 52)).view(np.float64)
    z = (m - 1.0) / (m + 1.0)  # log m = 2 artanh z
    y = z * z
    q = 7.66580586102750394e-2 + y * 7.30890357670866248e-2
    q = 9.09144621626843560e-2 + y * q
    q = 1.11111055446897481e-1 + y * q
    q = 1.42857143131269188e-1 + y * q
    q = 1.99999999999494453e-1 + y * q
    q = 3.33333333333333485e-1 + y * q
    return x if x != x else k * _LN2 + (z + z) * (1.0 + y * q)


@inner
def softmax(
    log_joint: NDArray[Any], n_components: int, weights: NDArray[np.float64], log_density: NDArray[np.float64]
) -> None:
    """Turn a tile of log-joints into responsibilities, in place, and write each row's log density.

    A row whose log-joints are all -inf, or hold a NaN or +inf, has the log density NaN.

    Parameters
    ----------
    log_joint : ndarray of shape (>= n_components, >= width)
        Changed to `weights` times the responsibilities.
    weights : ndarray of shape (width,), float64
        What a row's responsibilities sum to; for 0 they are 0 even where the density is NaN.
    log_density : ndarray of shape (width,), float64
        Overwritten by log sum exp of the row's log-joints, in nats.
    """
    width = len(weights)
    largest = log_joint[0, :width].copy()
    total = np.zeros_like(largest)
    for k in range(1, n_components):
        line = log_joint[k]
        for t in range(width):
            largest[t] = line[t] if line[t] > largest[t] else largest[t]
    for k in range(n_components):
        line = log_joint[k]
        for t in range(width):
            line[t] = exp_nonpositive(line[t] - largest[t])
            total[t] += line[t]
    for t in range(width):
        log_density[t] = largest[t] + log_positive(np.float64(total[t]))
        total[t] = weights[t] / total[t] if weights[t] != 0.0 else 0.0
    for k in range(n_components):
        line = log_joint[k]
        for t in range(width):
            line[t] = line[t] * total[t] if total[t] != 0.0 else 0.0


@inner
def argmax(log_joint: NDArray[Any], n_components: int, labels: NDArray[np.int64]) -> None:
    """Write each row's component of largest log-joint, the first of equals, to `labels` (shape (n_rows,))."""
    largest = log_joint[0, : len(labels)].copy()
    labels[:] = 0
    for k in range(1, n_components):
        line = log_joint[k]
        for t in range(len(labels)):
            if line[t] > largest[t]:
                largest[t] = line[t]
                labels[t] = k
