"""One covariance matrix for all components."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.matrices import (
    add_to_diagonals,
    check_positive_definite,
    conditioned_matrices,
    covariance_of_factor,
    factor_of_precision,
    precision_factor,
    relative_triangles,
    triangle_lengths,
    with_relative_triangles,
)
from dask_gmm.model.covariance.matrices_with_holes import MatricesWithHoles
from dask_gmm.model.covariance.parts import SingleRows
from dask_gmm.model.covariance.triangles import pack, unpack
from dask_gmm.model.covariance.two_kernels import QuadraticForm, QuadraticOrCentred
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.quadratic import Features
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]


class Tied(QuadraticOrCentred):
    """All components share one covariance matrix."""

    name = "tied"
    # Summed over components, the second moments are the scatter of all rows: no iteration changes them.
    needs_scatter = True

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_features, n_features)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_features * (n_features + 1) // 2,)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def cholesky(self, covariances: Array) -> Array:
        return precision_factor(covariances, None)

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return factor_of_precision(precisions)

    def precisions(self, factors: Array) -> Array:
        precision: Array = factors @ factors.T
        return precision

    def inverse(self, factors: Array) -> Array:
        return covariance_of_factor(factors)

    def check_precisions(self, precisions: NDArray[Any]) -> None:
        check_positive_definite(self.name, precisions)

    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        return np.full(n_components, np.log(np.diagonal(factors)).sum())

    def whitened(self, rows: Array, mean: Array, factors: Array, k: int) -> Array:
        whitened: Array = (rows - mean) @ factors
        return whitened

    def quadratic_form(self, distances: Array, factors: Array) -> QuadraticForm:
        # In whitened coordinates the precision is the identity.
        whitened = distances @ factors
        quadratic = np.full((len(distances), 1), -0.5)
        return QuadraticForm(Features.norm(factors), whitened, quadratic, whitened, second_of_scatter=pack)

    def centred_factors(self, factors: Array, n_components: int, n_features: int) -> Array:
        return factors[np.newaxis]

    def selected(self, covariances: Array, features: Sequence[int]) -> Array:
        chosen: Array = covariances[features][:, features]
        return chosen

    def conditioned(
        self, covariances: Array, left: Sequence[int], known: Sequence[int], deviations: Array
    ) -> tuple[Array, Array, Array]:
        many = np.tile(covariances, (len(deviations), 1, 1))
        log_density, moves, matrices = conditioned_matrices(many, left, known, deviations)
        return log_density, moves, matrices[0]

    def as_matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        return np.tile(covariances, (n_components, 1, 1))

    def second_of_matrices(self, packed: Array, factors: Array) -> Array:
        return self.pooled(packed)

    def with_holes(self, components: Components) -> MatricesWithHoles:
        factors = np.tile(components.factors, (len(components.means), 1, 1))
        return MatricesWithHoles(replace(components, factors=factors), self.pooled)

    def pooled(self, sums: Array) -> Array:
        pooled: Array = sums.sum(axis=0)
        return pooled

    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        second += pack((resp[:, np.newaxis] * deviations).T @ deviations)

    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        covariance = unpack(second, shift.shape[1]) - (nk[:, np.newaxis] * shift).T @ shift
        covariance /= nk.sum()
        add_to_diagonals(covariance, reg_covar)
        return covariance

    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        spread = self.estimate(second, counts, shift, 0.0)
        return float(nk.sum() * (self.precisions(factors) * spread).sum())

    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        # All rows count in the sum, but only one a component in the divisor: a wide covariance.
        rows, weighted = start.all_rows, start.all_rows
        if start.all_weights is not None:
            weighted = rows * start.all_weights.astype(rows.dtype)[:, np.newaxis]
        covariance: NDArray[Any] = weighted.T @ rows - start.nk * start.means.T @ start.means
        covariance /= start.nk.sum()
        add_to_diagonals(covariance, reg_covar)
        return covariance

    def of_single_rows_exactly(self, start: SingleRows, reg_covar: float) -> Array:
        none = Moments.zero(start.rows.shape[1], scatter=True)
        moments = none.with_rows(start.all_rows, start.all_weights)
        assert moments.scatter is not None
        covariance = moments.scatter / float(start.nk.sum())
        add_to_diagonals(covariance, reg_covar)
        return covariance

    def draw(
        self, mean: Array, covariances: Array, k: int, count: int, random_state: np.random.RandomState
    ) -> Array:
        return random_state.multivariate_normal(mean, covariances, count)

    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        whitened: Array = moves @ factors
        return whitened

    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        return np.linalg.solve(factors.T, moves.T).T.astype(np.float64, copy=False)

    def spreads(self, factors: Array, origin: Array) -> Array:
        return relative_triangles(factors, origin)

    def with_spreads(self, spreads: Array, origin: Array) -> Array:
        return with_relative_triangles(spreads, origin)

    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        return triangle_lengths(n_features)

    # --- priors ---

    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        return covariance

    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        between = (nk * shares * distances.T) @ distances
        scatter: Array = (spread * nk.sum() + between) / len(nk)
        return scatter

    def occupation(self, nk: Array) -> Array:
        return np.asarray(nk.sum() / len(nk))

    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        return n_features + 1.0 + n_components * of_means, float(n_components)

    def scatter_copies(self, n_components: int, n_features: int) -> float:
        return float(n_components)

    def over(self, numerators: Array, divisors: Array) -> Array:
        covariances: Array = numerators / divisors
        return covariances

    def with_reg_covar(self, covariances: Array, reg_covar: float) -> Array:
        covariances = covariances.copy()
        add_to_diagonals(covariances, reg_covar)
        return covariances

    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        volumes = -2.0 * self.log_det(factors, 1, n_features)
        return volumes, np.array([(scale * self.precisions(factors)).sum()])
