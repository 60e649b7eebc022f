"""Rows with holes under components without covariances between features.

Only the component of a row is missing then: a hole says nothing of the other features. With n_kj the sum of
responsibilities over the rows that have feature j, the M-step is sum r x / n_kj and sum r (x - mean)^2 / n_kj
over these rows; nothing has to be filled in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import Sums
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.kernel import Kernel
from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel
from dask_gmm.model.kernels.row_outputs import RowOutputs

Array = NDArray[np.float64]

_LOG_TWO_PI = float(np.log(2.0 * np.pi))


class VariancesWithHoles:
    """See `dask_gmm.model.covariance.covariance.WithHoles`.

    Parameters
    ----------
    components : Components
    factors : ndarray of shape (n_components, n_features)
        Inverse standard deviations.
    near : bool
        Whether the quadratic form is accurate.
    of_squares : callable
        Makes second moments from the sums of squares of each feature, shape (n_components, n_features).
    """

    def __init__(
        self, components: Components, factors: Array, *, near: bool, of_squares: Callable[[Array], Array]
    ) -> None:
        self._components, self._factors, self._of_squares = components, factors, of_squares
        self._near = self.takes_complete_rows = near
        # The log-joint is that at the mean, without what features would add that are not there.
        self._constant = components.peaks - (np.log(factors) - 0.5 * _LOG_TWO_PI).sum(axis=1)
        self.kernel: Kernel = _near(self) if near else _Far(self)

    def sums(self, kernel_sums: Array, origins: Array) -> Sums:
        d = self._factors.shape[1]
        nk, seen, first, squares = np.split(kernel_sums, [1, d + 1, 2 * d + 1], axis=1)
        about = self._components.centre if self._near else self._components.means
        distances = about - origins
        if distances.any():
            squares = squares + 2.0 * distances * first + seen * distances**2
            first = first + seen * distances
        return Sums(nk[:, 0], first, self._of_squares(squares), seen)

    def fill(self, rows: NDArray[Any]) -> Array:
        resp = np.empty((len(rows), len(self._factors)), dtype=rows.dtype)
        self.kernel.responsibilities(rows, resp)
        expected = resp.astype(np.float64) @ self._components.means
        filled: Array = np.where(np.isnan(rows), expected, rows)
        return filled


def _near(mixture: VariancesWithHoles) -> QuadraticKernel:
    """Return the quadratic form in m, m y and m y^2, with m = 0 in holes and y = x - centre."""
    components, factors = mixture._components, mixture._factors
    precisions, distances = factors**2, components.means - components.centre
    seen = np.log(factors) - 0.5 * _LOG_TWO_PI - 0.5 * precisions * distances**2
    theta = np.concatenate(
        [mixture._constant[:, np.newaxis], seen, precisions * distances, -0.5 * precisions], axis=1
    )
    return QuadraticKernel(Features.masked_squares(factors.shape[1]), components.centre, theta)


class _Far(RowOutputs):
    """Every component from its own mean, by NumPy."""

    def __init__(self, mixture: VariancesWithHoles) -> None:
        super().__init__(*mixture._factors.shape)
        self._mixture = mixture

    def log_joint(self, rows: Array) -> Array:
        mixture, seen = self._mixture, ~np.isnan(rows)
        joint = np.empty((len(rows), self.n_components))
        with np.errstate(over="ignore"):
            for k, (mean, factor) in enumerate(zip(mixture._components.means, mixture._factors, strict=True)):
                scaled = np.where(seen, (rows - mean) * factor, 0.0)
                at_peak = seen @ (np.log(factor) - 0.5 * _LOG_TWO_PI)
                joint[:, k] = mixture._constant[k] + at_peak - 0.5 * (scaled**2).sum(axis=1)
        return joint

    def sums(self, rows: Array, resp: Array) -> Array:
        seen = ~np.isnan(rows)
        parts = [resp.sum(axis=0)[:, np.newaxis], resp.T @ seen]
        first, squares = np.empty((2, self.n_components, self.n_features))
        for k, mean in enumerate(self._mixture._components.means):
            deviations = np.where(seen, rows - mean, 0.0)
            first[k], squares[k] = resp[:, k] @ deviations, resp[:, k] @ deviations**2
        return np.concatenate([*parts, first, squares], axis=1)
