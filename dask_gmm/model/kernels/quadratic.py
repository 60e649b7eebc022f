r"""The E-step as two matrix products: log-densities that are linear in quadratic features of a row.

With y = x - shift, a mixture's log-joint log(weight_k) + log N(x | k) is ``theta[k] @ phi(x)`` for

=================== ============================================== ==================== ================
`Features`          phi(x), in this order                          P                    statistics
=================== ============================================== ==================== ================
``products(d)``     1, y_1 .. y_d, y_i y_j for i <= j              (d + 1)(d + 2) / 2   (K, P)
                    (row by row, as ``np.triu_indices``)
``squares(d)``      1, y_1 .. y_d, y_1^2 .. y_d^2                  2 d + 1              (K, P)
``norm()``          1, y_1 .. y_d, \|y\|^2                         d + 2                (K, P)
``norm(whitening)`` 1, z_1 .. z_d, \|z\|^2 with z = y @ whitening  d + 2                (K, d + 1)
=================== ============================================== ==================== ================

and the statistics of the M-step are ``sum over rows of weight * responsibility_k * phi(x)``; with a whitening
only those of 1 and y (not z): where components share it, the sum of their second moments is that of all rows
and never changes.

It is accurate while components are not far from `shift` in units of their own size: the rounding error of the
log-joint is about kappa times the machine epsilon, kappa the largest squared Mahalanobis distance of `shift`
from a component's mean. Beyond that use `centred`.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import compile_for, inner, read_only
from dask_gmm.model.kernels.kernel import Kernel, given_types, write_outputs
from dask_gmm.model.kernels.products import (
    accumulate,
    multiply,
    multiply_expanded,
    packed,
    padded_columns,
    padded_lines,
    rows_per_block,
)
from dask_gmm.model.kernels.softmax import BITS, settle
from dask_gmm.model.kernels.tiles import load, rows_per_tile, scratch

Array = NDArray[np.float64]
Indices = NDArray[np.intp]

# Products of larger numbers might overflow in float32: then nothing is settled.
_LARGEST = 1e15
_NOTHING = np.zeros((0, 0))


@dataclass(frozen=True, slots=True)
class Features:
    """Which features of a row a mixture is linear in: a line of the table above.

    Attributes
    ----------
    left, right : ndarray of shape (P,), or (0,)
        The two lines of 1, y_1 .. y_d whose product each feature is; empty where a norm is among them.
    whitening : ndarray of shape (d, d), or (0, 0)
        What y is multiplied by; empty for nothing.
    """

    left: Indices
    right: Indices
    whitening: Array

    @classmethod
    def products(cls, n_features: int) -> Features:
        """Return 1, all y, and all products of two."""
        left, right = np.triu_indices(n_features + 1)
        return cls(left, right, _NOTHING)

    @classmethod
    def squares(cls, n_features: int) -> Features:
        """Return 1, all y, and their squares."""
        lines = np.arange(n_features + 1)
        left, right = np.append(np.zeros_like(lines), lines[1:]), np.append(lines, lines[1:])
        return cls(left, right, _NOTHING)

    @classmethod
    def norm(cls, whitening: Array | None = None) -> Features:
        """Return 1, all z, and their squared norm, where z is y times `whitening` or y itself."""
        none = np.zeros(0, np.intp)
        return cls(none, none, _NOTHING if whitening is None else whitening)


class QuadraticKernel(Kernel):
    """A mixture in quadratic form; see `Kernel` for its methods.

    Parameters
    ----------
    features : Features
    shift : ndarray of shape (d,), float64
        Subtracted from the rows in float64, in units of the data.
    theta : ndarray of shape (K, P), float64
        Coefficients of the features; -inf in the first column for a weight of zero.
    dtype : {float64, float32}
        In which features and products are computed.
    settles : bool
        `labels` writes -1 for rows whose label rounding may have changed; for products only. The bound is a
        priori (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1): each feature and
        coefficient is rounded, and so is the sum of their P products.
    """

    def __init__(
        self,
        features: Features,
        shift: Array,
        theta: Array,
        dtype: Any = np.float64,
        *,
        settles: bool = False,
    ) -> None:
        super().__init__(len(theta), len(shift), dtype)
        self._shift = np.ascontiguousarray(shift, np.float64)
        self._theta = packed(BITS * theta.T, self.dtype)
        self._whitening = packed(features.whitening, self.dtype)
        self._left, self._right = features.left, features.right
        self._n_expanded = theta.shape[1]
        self._rounding = _rounding(theta, self.n_features, self.dtype) if settles else np.zeros(0)

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`, and the table above for the statistics."""
        n_lines = self.n_features + 1 if self._whitening.size else self._n_expanded
        sums = np.zeros((padded_lines(n_lines), padded_columns(self.n_components)))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        return log_likelihood, np.ascontiguousarray(sums[:n_lines, : self.n_components].T)

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        n, d = rows.shape
        n_columns = padded_columns(self.n_components)
        n_lines = padded_lines(max(self._n_expanded, 1 + padded_columns(d)))
        n_rows = rows_per_tile(n_lines + n_columns, n, self.dtype)
        features = scratch(n_lines, n_rows, self.dtype)
        log_likelihood: float = _compiled(rows.dtype, self.dtype)(
            rows,
            *given,
            np.empty((0, 0)) if statistics is None else statistics,
            self._rounding,
            self._shift,
            self._whitening,
            self._theta,
            self.n_components,
            self._n_expanded,
            self._left,
            self._right,
            features,
            scratch(padded_lines(1 + d), n_rows, self.dtype) if self._whitening.size else features,
            scratch(n_columns, n_rows, self.dtype),
        )
        return log_likelihood


def _rounding(theta: Array, d: int, dtype: np.dtype[Any]) -> Array:
    """Return how far two log-joints may be off together, in bits: coefficients of 1, |y| and |y|^2.

    A sum of absolute products is at most the product of the norms (Cauchy and Schwarz), degree by degree.
    """
    finite = theta[np.isfinite(theta[:, 0])]
    degrees = (finite[:, :1], finite[:, 1 : d + 1], finite[:, d + 1 :])
    norms: Array = np.array([np.linalg.norm(part, axis=1).max(initial=0.0) for part in degrees])
    if norms.max() > _LARGEST:
        norms[:] = np.inf
    steps = theta.shape[1] + 8
    rounding: Array = 2.1 * BITS * steps * np.finfo(dtype).eps / 2 * norms
    return rounding


@inner
def _slack(tile: NDArray[Any], d: int, rounding: Array, count: int) -> Array:
    slack = np.zeros(count)
    for j in range(1, d + 1):
        line = tile[j]
        for t in range(count):
            slack[t] += np.float64(line[t]) * np.float64(line[t])
    for t in range(count):
        square = slack[t]
        bound = rounding[0] + rounding[1] * np.sqrt(square) + rounding[2] * square
        slack[t] = bound if square < _LARGEST else np.inf
    return slack


@inner
def _append_norm(features: NDArray[Any], d: int, width: int) -> None:
    norm = features[d + 1]
    norm[:width] = 0.0
    for j in range(1, d + 1):
        line = features[j]
        for t in range(width):
            norm[t] += line[t] * line[t]


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    statistics: Array,
    rounding: Array,
    shift: Array,
    whitening: NDArray[Any],
    theta: NDArray[Any],
    n_components: int,
    n_features: int,
    left: Indices,
    right: Indices,
    features: NDArray[Any],
    tile: NDArray[Any],
    log_joint: NDArray[Any],
) -> float:
    """Take the rows tile by tile: features, log-joints, and whichever outputs are not empty."""
    n, d = rows.shape
    n_rows = features.shape[1]
    block = rows_per_block(features)
    features[0], tile[0] = 1.0, 1.0
    log_likelihood = 0.0
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        load(rows, start, count, shift, tile[1 : d + 1], width)
        if len(whitening):
            multiply(whitening, tile[1 : d + 1], width, features[1 : 1 + len(whitening) // d])
        if len(left):
            multiply_expanded(theta, left, right, features, width, log_joint)
        else:
            _append_norm(features, d, width)
            multiply(theta, features[:n_features], width, log_joint)
        if len(rounding):
            slack = _slack(tile, d, rounding, count)
            settle(log_joint, n_components, slack, labels[start : start + count])
            continue
        log_likelihood += write_outputs(
            log_joint, n_components, start, count, width, weights, labels, log_density, resp
        )
        if len(statistics):
            n_statistics = d + 1 if len(whitening) else n_features
            accumulate(tile, n_statistics, log_joint, width, statistics, False)
    return log_likelihood


@cache
def _compiled(rows_dtype: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    rows, tile = from_dtype(rows_dtype), from_dtype(dtype)
    return compile_for(
        _pass,
        *given_types(rows),
        types.float64[:, ::1],
        read_only(types.float64, 1, "C"),
        read_only(types.float64, 1, "C"),
        read_only(tile, 1, "C"),
        read_only(tile, 1, "C"),
        types.intp,
        types.intp,
        read_only(types.intp, 1, "C"),
        read_only(types.intp, 1, "C"),
        tile[:, ::1],
        tile[:, ::1],
        tile[:, ::1],
    )
