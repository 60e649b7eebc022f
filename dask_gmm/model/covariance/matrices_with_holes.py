"""Rows with holes under components whose covariances are matrices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import Sums
from dask_gmm.model.covariance.triangles import pack
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.conditional import ConditionalKernel

Array = NDArray[np.float64]

# The sum of the variance inflation factors, which bounds the condition of the correlation matrix, above which
# normal equations would lose more than 1e-12 of a log density.
_LEAST_SQUARES = 1e4


class MatricesWithHoles:
    """See `dask_gmm.model.covariance.covariance.WithHoles`.

    Parameters
    ----------
    components : Components
        With factors of shape (n_components, n_features, n_features).
    pooled : callable
        As in `Covariance`.
    """

    takes_complete_rows = False

    def __init__(self, components: Components, pooled: Callable[[Array], Array]) -> None:
        self._means, self._pooled = components.means, pooled
        self.kernel = ConditionalKernel(
            components.means,
            components.factors,
            components.peaks,
            least_squares=_inflation(components.factors) > _LEAST_SQUARES,
        )

    def sums(self, kernel_sums: Array, origins: Array) -> Sums:
        nk, first, second = recentred(kernel_sums, self._means, origins)
        return Sums(nk, first, self._pooled(second), np.zeros(0))

    def fill(self, rows: NDArray[Any]) -> Array:
        return self.kernel.fill(rows)


def recentred(sums: Array, means: Array, origins: Array) -> tuple[Array, Array, Array]:
    """Return sums of 1, v and v v^T (packed) about other points.

    Parameters
    ----------
    sums : ndarray of shape (n_components, 1 + d + d (d + 1) / 2)
    means, origins : ndarray of shape (n_components, d)
        What they are about, and what they are to be about.
    """
    d = means.shape[1]
    nk, first, second = sums[:, 0], sums[:, 1 : d + 1], sums[:, d + 1 :]
    distances = means - origins
    if not distances.any():
        return nk, first, second
    moved = first[:, :, np.newaxis] * distances[:, np.newaxis, :]
    outer = distances[:, :, np.newaxis] * distances[:, np.newaxis, :]
    moved = moved + moved.transpose(0, 2, 1) + nk[:, np.newaxis, np.newaxis] * outer
    return nk, first + nk[:, np.newaxis] * distances, second + pack(moved)


def _inflation(factors: Array) -> float:
    """Return the largest sum of variance inflation factors: the trace of the inverse correlation matrix."""
    most = 0.0
    for factor in factors:
        roots = np.linalg.inv(factor)
        with np.errstate(over="ignore"):
            variances, precisions = (roots**2).sum(axis=0), (factor**2).sum(axis=1)
            most = max(most, float(variances @ precisions))
    return most
