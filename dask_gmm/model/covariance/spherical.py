"""One variance for each component, the same along all features."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import SingleRows, Sums
from dask_gmm.model.covariance.two_kernels import QuadraticForm
from dask_gmm.model.covariance.variances import Variances, observed_ratio, variances_of_single_rows
from dask_gmm.model.kernels.quadratic import Features

Array = NDArray[np.float64]


class Spherical(Variances):
    """Each component has one variance, the same in all directions."""

    name = "spherical"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components

    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        log_det: Array = n_features * np.log(factors)
        return log_det

    def quadratic_form(self, distances: Array, factors: Array) -> QuadraticForm:
        precisions = factors[:, np.newaxis] ** 2
        return QuadraticForm(Features.norm(), distances * precisions, -0.5 * precisions, distances)

    def centred_factors(self, factors: Array, n_components: int, n_features: int) -> Array:
        return np.broadcast_to(factors[:, np.newaxis], (n_components, n_features))

    def by_feature(self, numbers: Array, n_features: int) -> Array:
        return np.tile(numbers[:, np.newaxis], (1, n_features))

    def of_squares(self, squares: Array) -> Array:
        return self.pooled(squares)

    def filled_up(self, sums: Sums, means: Array, covariances: Array, origins: Array) -> Sums:
        _, here = observed_ratio(sums)
        nk, n_features = sums.nk, means.shape[1]
        shift = np.where(here, sums.first / np.where(here, sums.more, 1.0), means - origins)
        spread = sums.second - np.where(here, sums.more * shift**2, 0.0).sum(axis=1)
        seen = np.where(here, sums.more, 0.0).sum(axis=1)
        variances = np.where(seen > 0.0, spread / np.where(seen > 0.0, seen, 1.0), covariances)
        second = nk * (n_features * variances + (shift**2).sum(axis=1))
        return sums._replace(first=nk[:, np.newaxis] * shift, second=second)

    def pooled(self, sums: Array) -> Array:
        # Squares along each feature, or their sum already.
        pooled: Array = sums.sum(axis=1)
        return pooled

    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        second[k] += resp @ np.einsum("ij,ij->i", deviations, deviations)

    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        squared_shift = np.einsum("ij,ij->i", shift, shift)
        variances: Array = (second / nk - squared_shift) / shift.shape[1] + reg_covar
        return variances

    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        spread = self.estimate(second, counts, shift, 0.0)
        return float((nk * self.precisions(factors) * spread * shift.shape[1]).sum())

    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        variances: NDArray[Any] = variances_of_single_rows(start, reg_covar).mean(axis=1)
        return variances

    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        return moves * factors[:, np.newaxis]

    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        return moves / factors[:, np.newaxis]

    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        lengths: Array = np.sqrt(2.0 * n_features) * np.sqrt(weights)
        return lengths

    # --- priors ---

    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        return np.asarray(np.diagonal(covariance).mean())

    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        scatter: Array = nk * (spread + shares * (distances**2).mean(axis=1))
        return scatter

    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        return 2.0 + n_features * of_means, float(n_features)

    def scatter_copies(self, n_components: int, n_features: int) -> float:
        return float(n_features)

    def over(self, numerators: Array, divisors: Array) -> Array:
        variances: Array = numerators / divisors
        return variances

    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        return -2.0 * np.log(factors), scale * factors**2
