"""What types without covariances between features have in common."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.covariance import NotPositiveDefiniteError, SingleRows
from dask_gmm.model.covariance.two_kernels import QuadraticOrCentred

Array = NDArray[np.float64]


class Variances(QuadraticOrCentred):
    """Variances along features: a component's, or its features', along the axes of the arrays."""

    def cholesky(self, covariances: Array) -> Array:
        bad = ~(covariances > 0.0).reshape(len(covariances), -1).all(axis=1)
        if bad.any():
            component = int(np.argmax(bad))
            raise NotPositiveDefiniteError(component, float(np.min(covariances[component])))
        return 1.0 / np.sqrt(covariances)

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return np.sqrt(precisions)

    def precisions(self, factors: Array) -> Array:
        return factors**2

    def inverse(self, factors: Array) -> Array:
        return 1.0 / factors**2

    def check_precisions(self, precisions: NDArray[Any]) -> None:
        if (precisions <= 0.0).any():
            raise ValueError(f"'{self.name} precision' should be positive")

    def whitened(self, rows: Array, mean: Array, factors: Array, k: int) -> Array:
        whitened: Array = (rows - mean) * factors[k]
        return whitened

    def of_single_rows_exactly(self, start: SingleRows, reg_covar: float) -> Array:
        return np.full(self.shape(*start.rows.shape), reg_covar)

    def draw(
        self, mean: Array, covariances: Array, k: int, count: int, random_state: np.random.RandomState
    ) -> Array:
        deviations = random_state.standard_normal(size=(count, len(mean)))
        drawn: Array = mean + deviations * np.sqrt(covariances[k])
        return drawn

    def spreads(self, factors: Array, origin: Array) -> Array:
        spreads: Array = np.log(origin / factors).ravel()
        return spreads

    def with_spreads(self, spreads: Array, origin: Array) -> Array:
        factors: Array = origin * np.exp(-spreads.reshape(origin.shape))
        return factors


def variances_of_single_rows(start: SingleRows, reg_covar: float) -> NDArray[Any]:
    """Return the variance of each component along each feature; see `Covariance.of_single_rows`."""
    rows, weights, nk = start.rows, start.weights[:, np.newaxis], start.nk[:, np.newaxis]
    variances: NDArray[Any] = weights * (rows * rows) / nk - start.means**2 + reg_covar
    return variances
