"""Labels of float64 arithmetic at the price of float32: most rows are far from any border."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
from numba import types
from numba.np.numpy_support import from_dtype
from numpy.typing import NDArray

from dask_gmm.compiled import compile_for, inner, read_only
from dask_gmm.model.kernels.kernel import Kernel
from dask_gmm.model.kernels.products import rows_per_block
from dask_gmm.model.kernels.quadratic import (
    Features,
    Form,
    QuadraticKernel,
    form_type,
    log_joints,
    ones_first,
)
from dask_gmm.model.kernels.softmax import BITS, settle

Array = NDArray[np.float64]

# Rows at a time: what is in doubt is copied.
_SLAB_ROWS = 16_384
# Fewer numbers are not worth a second kernel, which a machine compiles when it first needs it.
_FEWEST_NUMBERS = 1 << 16
# Where a larger share is in doubt, the first look is not worth its time.
_MOST_DOUBT = 0.3
# Products of larger numbers might overflow in float32: then nothing is settled.
_LARGEST = 1e15


class SettlingKernel(QuadraticKernel):
    """A mixture in quadratic form of which `labels` writes -1 where rounding may have changed a label.

    The bound is a priori (Higham, Accuracy and Stability of Numerical Algorithms, 2002, section 3.1): each
    feature and coefficient is rounded, and so is the sum of their P products.

    Parameters
    ----------
    features : Features
        Without a whitening.
    shift : ndarray of shape (d,), float64
    theta : ndarray of shape (K, P), float64
    """

    def __init__(self, features: Features, shift: Array, theta: Array) -> None:
        super().__init__(features, shift, theta, np.float32)
        self._rounding = _rounding(theta, self.n_features, self.dtype)

    def _call(self, rows: NDArray[Any], given: list[NDArray[Any]], statistics: Array | None) -> float:
        _, labels, *_ = given
        entry_point(rows.dtype, self.dtype)(rows, labels, self._rounding, self.n_components, self._form(rows))
        return 0.0


class SettledLabels:
    """Writes the labels of a precise kernel, but asks it for those rows only that a quick one cannot settle.

    Parameters
    ----------
    quick : SettlingKernel
    precise : Kernel
    """

    def __init__(self, quick: SettlingKernel, precise: Kernel) -> None:
        self._quick, self._precise = quick, precise

    def __call__(self, rows: NDArray[Any], out: NDArray[np.int64]) -> None:
        """Write each row's label to `out`; see `Kernel.labels`."""
        if rows.size < _FEWEST_NUMBERS:
            self._precise.labels(rows, out)
            return
        for start in range(0, len(rows), _SLAB_ROWS):
            slab, labels = rows[start : start + _SLAB_ROWS], out[start : start + _SLAB_ROWS]
            self._quick.labels(slab, labels)
            (doubtful,) = np.nonzero(labels < 0)
            if len(doubtful) > _MOST_DOUBT * len(slab):
                self._precise.labels(rows[start:], out[start:])
                return
            if len(doubtful):
                labels_of_few = np.empty(len(doubtful), np.int64)
                self._precise.labels(slab[doubtful], labels_of_few)
                labels[doubtful] = labels_of_few


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


def _pass(
    rows: NDArray[Any],
    labels: NDArray[np.int64],
    rounding: Array,
    n_components: int,
    form: Form,
) -> None:
    _, _, _, _, _, _, _, features, tile, log_joint = form
    n, d = rows.shape
    n_rows, block = features.shape[1], rows_per_block(features)
    ones_first(features)
    for start in range(0, n, n_rows):
        count = min(n_rows, n - start)
        width = -(-count // block) * block
        log_joints(rows, start, count, width, form)
        slack = _slack(tile, d, rounding, count)
        settle(log_joint, n_components, slack, labels[start : start + count])


@cache
def entry_point(rows_dtype: np.dtype[Any], dtype: np.dtype[Any]) -> Any:
    """Return the compiled function: for some dtypes it is compiled once."""
    rounding = read_only(types.float64, 1, "C")
    given = [read_only(from_dtype(rows_dtype), 2), types.int64[:], rounding, types.intp]
    return compile_for(_pass, *given, form_type(from_dtype(dtype)))
