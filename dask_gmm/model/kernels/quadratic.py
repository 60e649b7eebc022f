r"""The E-step as two matrix products: log-densities that are linear in quadratic features of a row.

With y = x - shift, a mixture's log-joint log(weight_k) + log N(x | k) is ``theta[k] @ phi(x)`` for

=================== ============================================== ==================== ================
`Features`          phi(x), in this order                          P                    statistics
=================== ============================================== ==================== ================
``products(d)``     1, y_1 .. y_d, y_i y_j for i <= j              (d + 1)(d + 2) / 2   (K, P)
                    (row by row, as ``np.triu_indices``)
``squares(d)``      1, y_1 .. y_d, y_1^2 .. y_d^2                  2 d + 1              (K, P)
``masked_squares``  1, m_1 .. m_d, m_j y_j, m_j y_j^2      3 d + 1              (K, P)
``norm()``          1, y_1 .. y_d, \|y\|^2                         d + 2                (K, P)
``norm(whitening)`` 1, z_1 .. z_d, \|z\|^2 with z = y @ whitening  d + 2                (K, d + 1)
=================== ============================================== ==================== ================

and the statistics of the M-step are ``sum over rows of weight * responsibility_k * phi(x)``; with a whitening
only those of 1 and y (not z): where components share it, the sum of their second moments is that of all rows
and never changes. m_j is 1 where a row has the feature j, and 0 where that is NaN.

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

from dask_gmm.compiled import compile_for, inlined, inner, read_only
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
from dask_gmm.model.kernels.softmax import BITS
from dask_gmm.model.kernels.tiles import lines_of, load, rows_per_tile, scratch

Array = NDArray[np.float64]
Indices = NDArray[np.intp]
#: Shift, whitening, theta, number of features, line of y_1, `left`, `right`; tiles of features, rows, joints.
Form = tuple[
    Array, NDArray[Any], NDArray[Any], int, int, Indices, Indices, NDArray[Any], NDArray[Any], NDArray[Any]
]

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
    masked : bool
        Whether the lines are 1, m_1 .. m_d, y_1 .. y_d, with y = 0 where m is.
    """

    left: Indices
    right: Indices
    whitening: Array
    masked: bool = False

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
    def masked_squares(cls, n_features: int) -> Features:
        """Return 1, all m, all m y, and their squares."""
        lines = np.arange(2 * n_features + 1)
        squared = lines[n_features + 1 :]
        left, right = np.append(np.zeros_like(lines), squared), np.append(lines, squared)
        return cls(left, right, _NOTHING, masked=True)

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
    """

    def __init__(self, features: Features, shift: Array, theta: Array, dtype: Any = np.float64) -> None:
        super().__init__(len(theta), len(shift), dtype)
        self._shift = np.ascontiguousarray(shift, np.float64)
        self._theta = packed(BITS * theta.T, self.dtype)
        self._whitening = packed(features.whitening, self.dtype)
        self._left, self._right = features.left, features.right
        self._first = 1 + self.n_features if features.masked else 1
        self._n_expanded = theta.shape[1]

    def statistics(self, rows: NDArray[Any], weights: Array | None) -> tuple[float, Array]:
        """Run the E-step: see `Kernel.statistics`, and the table above for the statistics."""
        n_lines = self.n_features + 1 if self._whitening.size else self._n_expanded
        sums = np.zeros((padded_lines(n_lines), padded_columns(self.n_components)))
        log_likelihood = self._run(rows, weights=weights, statistics=sums)
        return log_likelihood, np.ascontiguousarray(sums[:n_lines, : self.n_components].T)

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        form = self._form(rows)
        n_rows = form[-1].shape[1]
        log_likelihood: float = entry_point(rows.dtype, self.dtype)(
            rows,
            *given,
            _NOTHING if statistics is None else statistics,
            *lines_of(n_rows, self.dtype, self.background),
            self.n_components,
            form,
        )
        return log_likelihood

    def _form(self, rows: NDArray[Any]) -> Form:
        """Return the mixture as `log_joints` takes it, and memory for the tiles."""
        n, d = rows.shape
        n_columns = padded_columns(self.n_components)
        n_lines = padded_lines(max(self._n_expanded, 1 + padded_columns(d)))
        n_rows = rows_per_tile(n_lines + n_columns, n, self.dtype)
        features = scratch(n_lines, n_rows, self.dtype)
        return (
            self._shift,
            self._whitening,
            self._theta,
            self._n_expanded,
            self._first,
            self._left,
            self._right,
            features,
            scratch(padded_lines(1 + d), n_rows, self.dtype) if self._whitening.size else features,
            scratch(n_columns, n_rows, self.dtype),
        )


def form_type(tile: types.Type) -> types.Type:
    """Return the type of a `Form` with tiles of this dtype."""
    members = [
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
    ]
    return types.Tuple(members)


@inlined
def _append_norm(features: NDArray[Any], d: int, width: int) -> None:
    norm = features[d + 1]
    for t in range(width):
        norm[t] = 0.0
    for j in range(1, d + 1):
        line = features[j]
        for t in range(width):
            norm[t] += line[t] * line[t]


@inlined
def _mask(tile: NDArray[Any], d: int, width: int) -> None:
    """Write where the lines of y are no NaN to the lines before them, and zero where they are."""
    for j in range(1, 1 + d):
        seen, line = tile[j], tile[d + j]
        for t in range(width):
            gone = np.isnan(line[t])
            seen[t] = 0.0 if gone else 1.0
            line[t] = 0.0 if gone else line[t]


@inlined
def log_joints(
    rows: NDArray[Any],
    start: int,
    count: int,
    width: int,
    form: Form,
) -> None:
    """Write the log-joints, in bits, of the rows ``start, ..., start + count - 1`` to the form's last tile.

    The tile before it holds the rows less `shift` then, and that before what they were multiplied with.
    """
    shift, whitening, theta, n_features, first, left, right, features, tile, log_joint = form
    d = rows.shape[1]
    load(rows, start, count, shift, tile[first : first + d], width)
    if first > 1:
        _mask(tile, d, width)
    if len(whitening):
        multiply(whitening, tile[1 : d + 1], width, features[1 : 1 + len(whitening) // d])
    if len(left):
        multiply_expanded(theta, left, right, features, width, log_joint)
    else:
        _append_norm(features, d, width)
        multiply(theta, features[:n_features], width, log_joint)


@inner
def ones_first(features: NDArray[Any]) -> None:
    """Set the feature that is 1 for every row."""
    line = features[0]
    for t in range(len(line)):
        line[t] = 1.0


def _pass(
    rows: NDArray[Any],
    weights: Array,
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
    statistics: Array,
    row_values: Array,
    row_sums: NDArray[Any],
    n_components: int,
    form: Form,
) -> float:
    """Take the rows tile by tile: features, log-joints, and whichever outputs are not empty."""
    _, whitening, _, n_features, _, _, _, features, tile, log_joint = form
    n, d = rows.shape
    n_rows = features.shape[1]
    block = rows_per_block(features)
    ones_first(features)
    ones_first(tile)
    log_likelihood = 0.0
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        log_joints(rows, start, count, width, form)
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
        if len(statistics):
            n_statistics = d + 1 if len(whitening) else n_features
            accumulate(tile, n_statistics, log_joint, width, statistics, False)
    return log_likelihood


@cache
def entry_point(rows_dtype: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    rows, tile = from_dtype(rows_dtype), from_dtype(dtype)
    given = [*given_types(rows), types.float64[:, ::1], types.float64[:, ::1], tile[:, ::1], types.intp]
    return compile_for(_pass, *given, form_type(tile))
