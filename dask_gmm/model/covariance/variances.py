"""What types without covariances between features have in common."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import NotPositiveDefiniteError, SingleRows, Sums
from dask_gmm.model.covariance.triangles import triangle
from dask_gmm.model.covariance.two_kernels import KAPPA_DOUBLE, QuadraticOrCentred
from dask_gmm.model.covariance.variances_with_holes import VariancesWithHoles
from dask_gmm.model.kernels.components import Components

Array = NDArray[np.float64]

# Sums of responsibilities of rows that have a feature below which a component has never seen it.
_NEVER = 1e-12


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

    def selected(self, covariances: Array, features: Sequence[int]) -> Array:
        return covariances[:, features] if covariances.ndim > 1 else covariances

    def conditioned(
        self, covariances: Array, left: Sequence[int], known: Sequence[int], deviations: Array
    ) -> tuple[Array, Array, Array]:
        n_features = len(left) + len(known)
        variances = self.by_feature(covariances, n_features)[:, known]
        terms = deviations**2 / variances + np.log(2.0 * np.pi * variances)
        moves = np.zeros((len(deviations), len(left)))
        return -0.5 * terms.sum(axis=1), moves, self.selected(covariances, left)

    def as_matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        matrices: Array = self.by_feature(covariances, n_features)[:, :, np.newaxis] * np.eye(n_features)
        return matrices

    def second_of_matrices(self, packed: Array, factors: Array) -> Array:
        n_features = round((np.sqrt(8 * packed.shape[1] + 1) - 1) / 2)
        rows, columns = triangle(n_features)
        return self.of_squares(packed[:, rows == columns])

    def _kappa_single(self, components: Components) -> float:
        # Features do not mix: what each of them loses is random, and adds up as its root.
        with np.errstate(over="ignore"):
            whitened = self.whitened_moves(components.means - components.centre, components.factors)
            return float(np.sqrt((whitened**4).sum(axis=1)).max())

    def holes_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features)

    def with_holes(self, components: Components) -> VariancesWithHoles:
        factors = self.by_feature(components.factors, components.means.shape[1])
        with np.errstate(over="ignore"):
            near = self._kappa(components) < KAPPA_DOUBLE
        return VariancesWithHoles(components, factors, near=near, of_squares=self.of_squares)

    def by_feature(self, numbers: Array, n_features: int) -> Array:
        """Return factors, or covariances, for each component and feature."""
        return numbers

    @abstractmethod
    def of_squares(self, squares: Array) -> Array:
        """Return second moments from sums of squares of each feature, shape (n_components, n_features)."""

    def occupation(self, nk: Array) -> Array:
        return nk

    def with_reg_covar(self, covariances: Array, reg_covar: float) -> Array:
        variances: Array = covariances + reg_covar
        return variances

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


def observed_ratio(sums: Sums) -> tuple[Array, NDArray[np.bool_]]:
    """Return by how much the sums of a feature would be larger had all rows had it, and where any has it."""
    seen = sums.more
    here = seen > _NEVER
    ratio: Array = sums.nk[:, np.newaxis] / np.where(here, seen, 1.0)
    return ratio, here
