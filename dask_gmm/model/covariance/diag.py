"""One variance for each component and feature."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import SingleRows, Sums
from dask_gmm.model.covariance.two_kernels import QuadraticForm
from dask_gmm.model.covariance.variances import Variances, observed_ratio, variances_of_single_rows
from dask_gmm.model.kernels.quadratic import Features

Array = NDArray[np.float64]


class Diag(Variances):
    """Each component has its own variance along each feature."""

    name = "diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        log_det: Array = np.log(factors).sum(axis=1)
        return log_det

    def quadratic_form(self, distances: Array, factors: Array) -> QuadraticForm:
        precisions = factors**2
        features = Features.squares(distances.shape[1])
        return QuadraticForm(features, distances * precisions, -0.5 * precisions, distances)

    def centred_factors(self, factors: Array, n_components: int, n_features: int) -> Array:
        return factors

    def of_squares(self, squares: Array) -> Array:
        return squares

    def filled_up(self, sums: Sums, means: Array, covariances: Array, origins: Array) -> Sums:
        ratio, here = observed_ratio(sums)
        nk, stay = sums.nk[:, np.newaxis], means - origins
        first = np.where(here, sums.first * ratio, nk * stay)
        second = np.where(here, sums.second * ratio, nk * (covariances + stay**2))
        return sums._replace(first=first, second=second)

    def pooled(self, sums: Array) -> Array:
        return sums

    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        second[k] += resp @ deviations**2

    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        variances: Array = second / nk[:, np.newaxis] - shift**2 + reg_covar
        return variances

    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        spread = self.estimate(second, counts, shift, 0.0)
        return float((nk * (self.precisions(factors) * spread).sum(axis=1)).sum())

    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        return variances_of_single_rows(start, reg_covar)

    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        return moves * factors

    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        return moves / factors

    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        return np.repeat(np.sqrt(2.0) * np.sqrt(weights), n_features)

    # --- priors ---

    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        variances = np.diagonal(covariance)
        return np.full(len(variances), variances.mean()) if equal else variances.copy()

    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        scatter: Array = nk[:, np.newaxis] * (spread + shares[:, np.newaxis] * distances**2)
        return scatter

    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        return 2.0 + of_means, 1.0

    def scatter_copies(self, n_components: int, n_features: int) -> float:
        return 1.0

    def over(self, numerators: Array, divisors: Array) -> Array:
        variances: Array = numerators / divisors[:, np.newaxis]
        return variances

    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        return -2.0 * np.log(factors).sum(axis=1), (scale * factors**2).sum(axis=1)
