"""Softmax and log-sum-exp over the components of a tile, in loops that LLVM turns into vector code.

A tile of log-joints has the shape (>= n_components, n_rows); every loop runs along the rows, lane by lane.
Log-joints are logarithms to the base 2, "in bits": the integer part of such a number is the exponent of the
answer as it stands.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numba import types
from numba.extending import overload
from numpy.typing import NDArray

from dask_gmm.compiled import OPTIONS, inlined, inner

#: Bits in a nat, and nats in a bit.
BITS = 1.4426950408889634
NATS = 0.6931471805599453
#: Half the logarithm of 2 pi, in bits.
HALF_LOG_TWO_PI = 0.5 * BITS * np.log(2.0 * np.pi)

# Adding 1.5 * 2^52 rounds to an integer and leaves it in the low bits.
_ROUND, _ROUND_32 = 6755399441055744.0, np.float32(12582912.0)
# Below these the answer is subnormal or zero, and counts as zero.
_LOWEST, _LOWEST_32 = -1022.0, np.float32(-126.0)


def exp2_nonpositive(x: Any) -> Any:
    """Return 2^x for x <= 0, to 1e-15 (float32: 2e-7) of it; 0 below -1022 (-126), NaN for NaN."""
    return np.exp2(x)


# 2^x = 2^k 2^r with |r| <= 1/2, and 2^r = 1 + r q(r), q a Chebyshev fit of degree 9 (to 6e-16) or 5 (5e-9).
def _exp2_64(x: Any) -> Any:
    shifted = x + _ROUND
    r = x - (shifted - _ROUND)
    q = 1.02059065279456591e-7 + r * 7.07097850985382054e-9
    q = 1.3215451630406807e-6 + r * q
    q = 1.52526729199762351e-5 + r * q
    q = 1.54035304247802971e-4 + r * q
    q = 1.33335582008011209e-3 + r * q
    q = 9.618129107618664e-3 + r * q
    q = 5.55041086646516448e-2 + r * q
    q = 2.40226506959100761e-1 + r * q
    q = 6.93147180559946159e-1 + r * q
    power = np.int64((np.float64(shifted).view(np.int64) + 1023) << 52).view(np.float64)
    return 0.0 if x < _LOWEST else (1.0 + r * q) * power


def _exp2_32(x: Any) -> Any:
    shifted = x + _ROUND_32
    r = x - (shifted - _ROUND_32)
    q = np.float32(1.33908656612065433e-3) + r * np.float32(1.5453164933424575e-4)
    q = np.float32(9.61808255355012158e-3) + r * q
    q = np.float32(5.55035710991358619e-2) + r * q
    q = np.float32(2.40226507605758915e-1) + r * q
    q = np.float32(6.93147188027125527e-1) + r * q
    power = np.int32((np.float32(shifted).view(np.int32) + 127) << 23).view(np.float32)
    return np.float32(0.0) if x < _LOWEST_32 else (np.float32(1.0) + r * q) * power


@overload(exp2_nonpositive, jit_options=OPTIONS)  # type: ignore[untyped-decorator]
def _exp2(x: Any) -> Callable[[Any], Any]:
    return _exp2_32 if x == types.float32 else _exp2_64


@inner
def log2_positive(x: float) -> float:
    """Return the logarithm to the base 2 of a normal x > 0, to 3e-16 of it; NaN for NaN."""
    bits = np.float64(x).view(np.int64)
    # x = 2^k m with m between sqrt(1/2) and sqrt(2); the number subtracted is sqrt(1/2) in bits.
    k = (bits - 0x3FE6A09E667F3BCD) >> 52
    m = np.int64(bits - (k << 52)).view(np.float64)
    z = (m - 1.0) / (m + 1.0)  # log m = 2 artanh z, an odd function: z times its Chebyshev fit in z^2
    y = z * z
    q = 2.20910914237026199e-1 + y * 2.13681639096966743e-1
    q = 2.6233443357284678e-1 + y * q
    q = 3.20598533422746527e-1 + y * q
    q = 4.12198585854862955e-1 + y * q
    q = 5.7707801634545861e-1 + y * q
    q = 9.61796693925989829e-1 + y * q
    q = 2.88539008177792681 + y * q
    return x if x != x else k + z * q


@inlined
def softmax(
    log_joint: NDArray[Any],
    n_components: int,
    width: int,
    weights: NDArray[np.float64],
    log_density: NDArray[np.float64],
    row_sums: NDArray[Any],
) -> None:
    """Turn a tile of log-joints (in bits) into responsibilities, in place, and write each row's log density.

    A row whose log-joints are all -inf, or hold a NaN or +inf, has the log density NaN.

    Parameters
    ----------
    log_joint : ndarray of shape (>= n_components, >= width)
        Changed to `weights` times the responsibilities.
    width : int
        Rows to take.
    weights : ndarray of shape (>= width,), float64
        What a row's responsibilities sum to; for 0 they are 0 even where the density is NaN.
    log_density : ndarray of shape (>= width,), float64
        Overwritten, in nats.
    row_sums : ndarray of shape (4, >= width)
        Of the dtype of `log_joint`. The first three lines are overwritten; the fourth has the log-joint of
        what has no line in the tile, -inf where there is nothing.
    """
    largest, total, background = row_sums[0], row_sums[1], row_sums[2]
    # As one more line of the same loops: others of its own would take longer to compile.
    n_lines = n_components + (1 if row_sums[3, 0] > -np.inf else 0)
    line = log_joint[0]
    for t in range(width):
        largest[t] = line[t]
        total[t] = 0.0
        background[t] = row_sums[3, t]
    for k in range(1, n_lines):
        line = log_joint[k] if k < n_components else background
        for t in range(width):
            largest[t] = line[t] if line[t] > largest[t] else largest[t]
    for k in range(n_lines):
        line = log_joint[k] if k < n_components else background
        for t in range(width):
            line[t] = exp2_nonpositive(line[t] - largest[t])
            total[t] += line[t]
    for t in range(width):
        log_density[t] = NATS * (largest[t] + log2_positive(np.float64(total[t])))
        total[t] = weights[t] / total[t] if weights[t] != 0.0 else 0.0
    for k in range(n_components):
        line = log_joint[k]
        for t in range(width):
            line[t] = line[t] * total[t] if total[t] != 0.0 else 0.0


@inlined
def argmax(
    log_joint: NDArray[Any],
    n_components: int,
    labels: NDArray[np.int64],
    largest: NDArray[Any],
    best: NDArray[Any],
) -> None:
    """Write each row's component of largest log-joint, the first of equals, to `labels` (shape (n_rows,)).

    `largest` and `best`, of the dtype of `log_joint` and as long at least, are overwritten. `best` holds
    whole numbers next to each other, which `labels` need not do.
    """
    line = log_joint[0]
    for t in range(len(labels)):
        largest[t] = line[t]
        best[t] = 0.0
    for k in range(1, n_components):
        line = log_joint[k]
        for t in range(len(labels)):
            best[t] = k if line[t] > largest[t] else best[t]
            largest[t] = line[t] if line[t] > largest[t] else largest[t]
    for t in range(len(labels)):
        labels[t] = np.int64(best[t])


@inner
def settle(
    log_joint: NDArray[Any], n_components: int, slack: NDArray[np.float64], labels: NDArray[np.int64]
) -> None:
    """Write each row's component of largest log-joint, or -1 where the second is not `slack` below it.

    Parameters
    ----------
    log_joint : ndarray of shape (>= n_components, n_rows)
    n_components : int
    slack : ndarray of shape (n_rows,), float64
        In bits; with NaN or infinity nothing is settled.
    labels : ndarray of shape (n_rows,)
    """
    largest = log_joint[0, : len(labels)].copy()
    second = np.full_like(largest, -np.inf)
    best = np.zeros(len(labels), np.int32)
    for k in range(1, n_components):
        line = log_joint[k]
        for t in range(len(best)):
            value = line[t]
            lesser = largest[t] if value > largest[t] else value
            second[t] = lesser if lesser > second[t] else second[t]
            best[t] = k if value > largest[t] else best[t]
            largest[t] = value if value > largest[t] else largest[t]
    for t in range(len(best)):
        labels[t] = best[t] if np.float64(largest[t]) - np.float64(second[t]) > slack[t] else -1
