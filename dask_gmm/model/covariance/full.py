"""One covariance matrix for each component."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.matrices import (
    add_to_diagonals,
    check_positive_definite,
    conditioned_matrices,
    covariance_of_factor,
    factor_of_precision,
    inverse_transposed,
    lower_factor,
    precision_factor,
    relative_triangles,
    triangle_lengths,
    with_relative_triangles,
)
from dask_gmm.model.covariance.matrices_with_holes import MatricesWithHoles
from dask_gmm.model.covariance.parts import SingleRows
from dask_gmm.model.covariance.triangles import pack, triangle, unpack
from dask_gmm.model.covariance.two_kernels import QuadraticForm, QuadraticOrCentred
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.quadratic import Features

Array = NDArray[np.float64]

# With fewer components than this share of the features the centred kernel is the faster one; in float32 with
# so many features, too, as others are not accurate enough where components are apart: measured.
_FEATURES_A_COMPONENT, _MANY_FEATURES = 12, 128


class Full(QuadraticOrCentred):
    """Each component has its own covariance matrix."""

    name = "full"
    settles_labels = True

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features, n_features)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features * (n_features + 1) // 2)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components * n_features * (n_features + 1) // 2

    def cholesky(self, covariances: Array) -> Array:
        try:
            lowers = lower_factor(covariances)
        except np.linalg.LinAlgError:
            # One by one, to tell which.
            return np.stack([precision_factor(covariance, k) for k, covariance in enumerate(covariances)])
        return np.stack([inverse_transposed(lower) for lower in lowers])

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return np.stack([factor_of_precision(precision) for precision in precisions])

    def precisions(self, factors: Array) -> Array:
        precisions: Array = np.matmul(factors, factors.transpose(0, 2, 1))
        return precisions

    def inverse(self, factors: Array) -> Array:
        return np.stack([covariance_of_factor(factor) for factor in factors])

    def check_precisions(self, precisions: NDArray[Any]) -> None:
        check_positive_definite(self.name, precisions)

    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        diagonals = np.diagonal(factors, axis1=1, axis2=2)
        log_det: Array = np.log(diagonals).sum(axis=1)
        return log_det

    def whitened(self, rows: Array, mean: Array, factors: Array, k: int) -> Array:
        whitened: Array = (rows - mean) @ factors[k]
        return whitened

    def quadratic_form(self, distances: Array, factors: Array) -> QuadraticForm:
        precisions = self.precisions(factors)
        linear: Array = np.einsum("kij,kj->ki", precisions, distances)
        rows, columns = triangle(distances.shape[1])
        # Off the diagonal a product stands for two entries of the symmetric matrix.
        quadratic: Array = precisions[:, rows, columns] * np.where(rows == columns, -0.5, -1.0)
        return QuadraticForm(Features.products(distances.shape[1]), linear, quadratic, distances)

    def centred_factors(self, factors: Array, n_components: int, n_features: int) -> Array:
        return factors

    def prefers_centred(self, n_components: int, n_features: int, *, single: bool) -> bool:
        few = _FEATURES_A_COMPONENT * n_components <= n_features
        return few or (single and n_features >= _MANY_FEATURES)

    def selected(self, covariances: Array, features: Sequence[int]) -> Array:
        chosen: Array = covariances[:, features][:, :, features]
        return chosen

    def conditioned(
        self, covariances: Array, left: Sequence[int], known: Sequence[int], deviations: Array
    ) -> tuple[Array, Array, Array]:
        return conditioned_matrices(covariances, left, known, deviations)

    def as_matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        return covariances

    def second_of_matrices(self, packed: Array, factors: Array) -> Array:
        return packed

    def with_holes(self, components: Components) -> MatricesWithHoles:
        return MatricesWithHoles(components, self.pooled)

    def pooled(self, sums: Array) -> Array:
        return sums

    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        second[k] += pack((resp[:, np.newaxis] * deviations).T @ deviations)

    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        covariances = unpack(second, shift.shape[1]) / nk[:, np.newaxis, np.newaxis]
        covariances -= shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
        add_to_diagonals(covariances, reg_covar)
        return covariances

    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        spread = self.estimate(second, counts, shift, 0.0)
        return float((nk * np.einsum("kij,kij->k", self.precisions(factors), spread)).sum())

    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        deviations = start.rows - start.means
        scaled = (start.weights / start.nk)[:, np.newaxis] * deviations
        covariances: NDArray[Any] = scaled[:, :, np.newaxis] * deviations[:, np.newaxis, :]
        add_to_diagonals(covariances, reg_covar)
        return covariances

    def of_single_rows_exactly(self, start: SingleRows, reg_covar: float) -> Array:
        covariances = np.zeros(self.shape(*start.rows.shape))
        add_to_diagonals(covariances, reg_covar)
        return covariances

    def draw(
        self, mean: Array, covariances: Array, k: int, count: int, random_state: np.random.RandomState
    ) -> Array:
        return random_state.multivariate_normal(mean, covariances[k], count)

    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        whitened: Array = np.einsum("kji,kj->ki", factors, moves)
        return whitened

    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        unwhitened = np.linalg.solve(factors.transpose(0, 2, 1), moves[:, :, np.newaxis])[:, :, 0]
        return unwhitened.astype(np.float64, copy=False)

    def spreads(self, factors: Array, origin: Array) -> Array:
        return relative_triangles(factors, origin)

    def with_spreads(self, spreads: Array, origin: Array) -> Array:
        return with_relative_triangles(spreads, origin)

    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        lengths: Array = np.outer(np.sqrt(weights), triangle_lengths(n_features)).ravel()
        return lengths

    # --- priors ---

    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        return covariance

    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        outer = distances[:, :, np.newaxis] * distances[:, np.newaxis, :]
        scatter: Array = nk[:, np.newaxis, np.newaxis] * (spread + shares[:, np.newaxis, np.newaxis] * outer)
        return scatter

    def occupation(self, nk: Array) -> Array:
        return nk

    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        return n_features + 2.0, 1.0

    def scatter_copies(self, n_components: int, n_features: int) -> float:
        return 1.0

    def over(self, numerators: Array, divisors: Array) -> Array:
        covariances: Array = numerators / divisors[:, np.newaxis, np.newaxis]
        return covariances

    def with_reg_covar(self, covariances: Array, reg_covar: float) -> Array:
        covariances = covariances.copy()
        add_to_diagonals(covariances, reg_covar)
        return covariances

    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        volumes = -2.0 * self.log_det(factors, len(factors), n_features)
        return volumes, np.einsum("ij,kij->k", scale, self.precisions(factors))
