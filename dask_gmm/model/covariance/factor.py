"""Factor analysers: each covariance is of low rank plus a diagonal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import NOISES
from dask_gmm.model.covariance.conjugate import NoConjugate
from dask_gmm.model.covariance.covariance import Covariance
from dask_gmm.model.covariance.loadings import (
    canonical,
    factor_analysis,
    of_spectrum,
    projections,
    shrinkage,
    times_root,
)
from dask_gmm.model.covariance.matrices import precision_factor
from dask_gmm.model.covariance.matrices_with_holes import MatricesWithHoles
from dask_gmm.model.covariance.parts import NotPositiveDefiniteError, SingleRows
from dask_gmm.model.covariance.triangles import unpack
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.low_rank import FactorKernel
from dask_gmm.model.kernels.prepared import Prepared

Array = NDArray[np.float64]

# Steps of factor analysis at a start: EM on all rows goes on.
_START_STEPS = 30
# The share of the variance in units of the noise, a feature, for which float32 loses no more than 1e-5.
_SIGNAL_SINGLE = 64.0


class Factor(NoConjugate, Covariance):
    """Each component's covariance is L L^T + diag(psi), L with `n_factors` columns.

    Ghahramani and Hinton, The EM algorithm for mixtures of factor analyzers (1996). Covariances are L and psi
    side by side, shape (K, d, q + 1); factors are W = psi^-1/2 L and psi^-1/2; precisions are G and 1 / psi,
    for the matrix diag(1 / psi) - G G^T. Second moments are sums of r v u^T and r v^2, u = G^T v: rows are
    projected, so that they cost d q numbers and not d^2.

    An M-step takes the means from the labels alone, then makes one step of factor analysis about them (a
    generalized EM: no step lowers the likelihood).

    Parameters
    ----------
    n_factors : int
    noise : {'diag', 'spherical'}
        Whether psi differs between features; where not, it is probabilistic PCA.
    """

    projects = True

    def __init__(self, n_factors: int = 1, noise: str = NOISES[0]) -> None:
        self.n_factors, self.equal_noise = n_factors, noise != NOISES[0]
        self.name = "factor"

    # --- shapes ---

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features, self.n_factors + 1)

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return self.shape(n_components, n_features)

    def n_free(self, n_components: int, n_features: int) -> int:
        q = self.n_factors
        own = n_features * q - q * (q - 1) // 2 + (1 if self.equal_noise else n_features)
        return n_components * min(own, n_features * (n_features + 1) // 2)

    def check_features(self, n_features: int) -> None:
        if self.n_factors >= n_features:
            raise ValueError(
                f"n_factors={self.n_factors} must be less than the number of features, {n_features}: with as "
                "many, use covariance_type='full'."
            )

    # --- from covariances to factors and back ---

    def cholesky(self, covariances: Array) -> Array:
        noise = covariances[:, :, -1]
        good = (noise > 0.0).all(axis=1) & np.isfinite(covariances).all(axis=(1, 2))
        if not good.all():
            component = int(np.argmin(good))
            matrices = self.as_matrices(covariances[component : component + 1], 1, noise.shape[1])
            finite = np.isfinite(matrices).all()
            raise NotPositiveDefiniteError(
                component, float(np.linalg.eigvalsh(matrices[0])[0]) if finite else np.nan
            )
        roots = 1.0 / np.sqrt(noise)[:, :, np.newaxis]
        return np.concatenate([covariances[:, :, :-1] * roots, roots], axis=2)

    def inverse(self, factors: Array) -> Array:
        roots = factors[:, :, -1:]
        return np.concatenate([factors[:, :, :-1] / roots, 1.0 / roots**2], axis=2)

    def precisions(self, factors: Array) -> Array:
        roots = factors[:, :, -1:]
        return np.concatenate([roots * projections(factors[:, :, :-1]), roots**2], axis=2)

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        roots = np.sqrt(precisions[:, :, -1:])
        scaled = precisions[:, :, :-1] / roots
        grown = of_spectrum(scaled, lambda squares: 1.0 / np.sqrt(np.maximum(1.0 - squares, 1e-300)))
        return np.concatenate([np.matmul(scaled, grown), roots], axis=2)

    def check_precisions(self, precisions: NDArray[Any]) -> None:
        roots = precisions[:, :, -1:]
        if (roots <= 0.0).any() or not np.isfinite(precisions).all():
            raise ValueError("'factor precision' should be positive")
        scaled = precisions[:, :, :-1] / np.sqrt(roots)
        if np.linalg.eigvalsh(np.matmul(scaled.transpose(0, 2, 1), scaled)).max() >= 1.0:
            raise ValueError("'factor precision' should be positive-definite")

    # --- as attributes ---

    def attribute_shapes(self, n_components: int, n_features: int) -> dict[str, tuple[int, ...]]:
        noise_shape = (n_components, n_features)
        return {"factor_loadings": (*noise_shape, self.n_factors), "noise_variance": noise_shape}

    def attributes(self, covariances: Array, factors: Array) -> dict[str, Array]:
        noise = covariances[:, :, -1]
        return {"factor_loadings": canonical(covariances[:, :, :-1], noise), "noise_variance": noise.copy()}

    def of_attributes(self, attributes: Mapping[str, Array]) -> tuple[Array, Array]:
        noise = attributes["noise_variance"][:, :, np.newaxis]
        covariances = np.concatenate([attributes["factor_loadings"], noise], axis=2).astype(np.float64)
        return covariances, self.cholesky(covariances)

    @property
    def name_in_scikit_learn(self) -> str:
        return "full"

    # --- densities ---

    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        scaled = factors[:, :, :-1]
        squares = np.linalg.eigvalsh(np.matmul(scaled.transpose(0, 2, 1), scaled))
        spread: Array = np.log1p(np.maximum(squares, 0.0)).sum(axis=1)
        log_det: Array = np.log(factors[:, :, -1]).sum(axis=1) - 0.5 * spread
        return log_det

    def whitened(self, rows: Array, mean: Array, factors: Array, k: int) -> Array:
        own = factors[k : k + 1]
        scaled = ((rows - mean) * own[0, :, -1])[np.newaxis]
        whitened: Array = times_root(scaled, own[:, :, :-1])[0]
        return whitened

    def kernel(self, components: Components, dtype: np.dtype[Any]) -> Prepared:
        lowered, roots = self.precisions(components.factors)[:, :, :-1], components.factors[:, :, -1]
        make = partial(FactorKernel, components.means, roots, lowered, components.peaks)
        single = dtype == np.float32 and self._is_single(components.factors)
        return Prepared(make(np.float32 if single else np.float64), components.means, make)

    def _is_single(self, factors: Array) -> bool:
        """Return whether float32 is accurate: |p v|^2 - |u|^2 cancels what factors say, in units of noise."""
        signal = (factors[:, :, :-1] ** 2).sum(axis=(1, 2)).max()
        roots = factors[:, :, -1]
        usual = bool(((roots < 1e12) & (roots > 1e-12)).all())
        return usual and bool(signal < _SIGNAL_SINGLE * factors.shape[1])

    # --- rows that are not known in full ---

    def with_holes(self, components: Components) -> MatricesWithHoles:
        shape = components.means.shape
        matrices = self.as_matrices(self.inverse(components.factors), *shape)
        dense = np.stack([precision_factor(matrix, k) for k, matrix in enumerate(matrices)])
        whole = Components(components.centre, components.means, dense, components.peaks)
        return MatricesWithHoles(whole, partial(self.second_of_matrices, factors=components.factors))

    def selected(self, covariances: Array, features: Sequence[int]) -> Array:
        chosen: Array = covariances[:, features]
        return chosen

    def conditioned(
        self, covariances: Array, left: Sequence[int], known: Sequence[int], deviations: Array
    ) -> tuple[Array, Array, Array]:
        factors = self.cholesky(covariances[:, known])
        whitened = self.whitened_moves(deviations, factors)
        log_det = self.log_det(factors, *deviations.shape)
        log_density = log_det - 0.5 * (whitened**2).sum(axis=1) - 0.5 * len(known) * np.log(2.0 * np.pi)
        shrunk = of_spectrum(factors[:, :, :-1], shrinkage)
        towards = np.matmul(covariances[:, left, :-1], shrunk)
        expected = np.einsum("kiq,ki->kq", self.precisions(factors)[:, :, :-1], deviations)
        moves = np.einsum("kiq,kq->ki", towards, expected)
        return log_density, moves, np.concatenate([towards, covariances[:, left, -1:]], axis=2)

    def as_matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        loadings = covariances[:, :, :-1]
        noise = covariances[:, :, -1:] * np.eye(n_features)
        matrices: Array = np.matmul(loadings, loadings.transpose(0, 2, 1)) + noise
        return matrices

    def precision_matrices(self, factors: Array, n_components: int, n_features: int) -> Array:
        precisions = self.precisions(factors)
        lowered = precisions[:, :, :-1]
        matrices: Array = precisions[:, :, -1:] * np.eye(n_features)
        matrices -= np.matmul(lowered, lowered.transpose(0, 2, 1))
        return matrices

    def second_of_matrices(self, packed: Array, factors: Array) -> Array:
        matrices = unpack(packed, factors.shape[1])
        projected = np.matmul(matrices, self.precisions(factors)[:, :, :-1])
        diagonals = np.diagonal(matrices, axis1=1, axis2=2)
        return np.concatenate([projected, diagonals[:, :, np.newaxis]], axis=2)

    # --- M-step ---

    def pooled(self, sums: Array) -> Array:
        return sums.reshape(len(sums), -1, self.n_factors + 1)

    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        assert factors is not None
        lowered = self.precisions(factors[k : k + 1])[0, :, :-1]
        weighted = resp[:, np.newaxis] * deviations
        second[k, :, :-1] += weighted.T @ (deviations @ lowered)
        second[k, :, -1] += resp @ deviations**2

    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        assert previous is not None
        factors = self.cholesky(previous)
        towards, variances = self._about_means(second, nk, shift, factors)
        # The factors' posterior: their expected values are root u, their variance root^2.
        root = of_spectrum(factors[:, :, :-1], shrinkage)
        towards = np.matmul(towards, root)
        back = np.matmul(root, self.precisions(factors)[:, :, :-1].transpose(0, 2, 1))
        squares = np.matmul(root, root) + np.matmul(back, towards)
        loadings = np.full_like(towards, np.nan)
        usable = np.isfinite(squares).all(axis=(1, 2)) & np.isfinite(towards).all(axis=(1, 2))
        loadings[usable] = np.linalg.solve(
            squares[usable].transpose(0, 2, 1), towards[usable].transpose(0, 2, 1)
        ).transpose(0, 2, 1)
        noise = variances - (loadings * towards).sum(axis=2)
        return self._with_noise(loadings, noise, reg_covar)

    def _about_means(self, second: Array, nk: Array, shift: Array, factors: Array) -> tuple[Array, Array]:
        """Return means of v u^T and of v^2 with v about the rows' own means."""
        moved = np.einsum("kiq,ki->kq", self.precisions(factors)[:, :, :-1], shift)
        towards = second[:, :, :-1] / nk[:, np.newaxis, np.newaxis]
        towards = towards - shift[:, :, np.newaxis] * moved[:, np.newaxis, :]
        return towards, second[:, :, -1] / nk[:, np.newaxis] - shift**2

    def _with_noise(self, loadings: Array, noise: Array, reg_covar: float) -> Array:
        if self.equal_noise:
            noise = np.broadcast_to(noise.mean(axis=1, keepdims=True), noise.shape)
        return np.concatenate([loadings, noise[:, :, np.newaxis] + reg_covar], axis=2)

    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        towards, variances = self._about_means(second, counts, shift, factors)
        precisions = self.precisions(factors)
        scaled = (precisions[:, :, -1] * variances).sum(axis=1)
        return float(nk @ (scaled - (precisions[:, :, :-1] * towards).sum(axis=(1, 2))))

    # --- starts, and rows drawn ---

    @property
    def moments_of_starts(self) -> str:
        return "full"

    def of_moments(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        n_features = shift.shape[1]
        scatters = unpack(second, n_features)
        outer = shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
        scatters = scatters - nk[:, np.newaxis, np.newaxis] * outer
        # A cluster of few rows has few directions: as many rows as factors are lent to it by all others.
        lent = self.n_factors + 1.0
        pooled = scatters.sum(axis=0) / nk.sum()
        matrices = (scatters + lent * pooled) / (nk + lent)[:, np.newaxis, np.newaxis]
        return self._analysed(matrices, reg_covar)

    def _analysed(self, matrices: Array, reg_covar: float) -> Array:
        found = [factor_analysis(matrix, self.n_factors, _START_STEPS) for matrix in matrices]
        loadings, noise = (np.stack(arrays) for arrays in zip(*found, strict=True))
        return self._with_noise(loadings, noise, reg_covar)

    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        return self.of_single_rows_exactly(start, reg_covar).astype(start.rows.dtype)

    def of_single_rows_exactly(self, start: SingleRows, reg_covar: float) -> Array:
        # One row has no directions, and a component without any would never find one: those of all rows.
        rows = start.all_rows.astype(np.float64)
        weights = np.ones(len(rows)) if start.all_weights is None else start.all_weights
        deviations = rows - np.average(rows, axis=0, weights=weights)
        scatter = (weights[:, np.newaxis] * deviations).T @ deviations / weights.sum()
        analysed = self._analysed(scatter[np.newaxis], reg_covar)
        return np.tile(analysed, (len(start.rows), 1, 1))

    def draw(
        self, mean: Array, covariances: Array, k: int, count: int, random_state: np.random.RandomState
    ) -> Array:
        loadings, noise = covariances[k, :, :-1], covariances[k, :, -1]
        scores = random_state.standard_normal(size=(count, self.n_factors))
        errors = random_state.standard_normal(size=(count, len(mean)))
        drawn: Array = mean + scores @ loadings.T + errors * np.sqrt(noise)
        return drawn

    # --- coordinates: lengths are those of the complete data, rows with their factors ---

    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        return times_root((moves * factors[:, :, -1])[:, np.newaxis, :], factors[:, :, :-1])[:, 0]

    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        scaled = times_root(moves[:, np.newaxis, :], factors[:, :, :-1], inverse=True)[:, 0]
        unwhitened: Array = scaled / factors[:, :, -1]
        return unwhitened

    def spreads(self, factors: Array, origin: Array) -> Array:
        ratios = origin[:, :, -1:] / factors[:, :, -1:]
        moved = factors[:, :, :-1] * ratios - origin[:, :, :-1]
        logs = np.log(ratios[:, :1, 0] if self.equal_noise else ratios[:, :, 0])
        return np.concatenate([moved.ravel(), logs.ravel()])

    def with_spreads(self, spreads: Array, origin: Array) -> Array:
        n_components, n_features, width = origin.shape
        n_loadings = n_components * n_features * (width - 1)
        moved = spreads[:n_loadings].reshape(n_components, n_features, width - 1)
        shrunk = np.exp(-spreads[n_loadings:].reshape(n_components, -1, 1))
        roots = origin[:, :, -1:] * shrunk
        return np.concatenate([(origin[:, :, :-1] + moved) * shrunk, roots], axis=2)

    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        roots = np.sqrt(weights)
        n_noise = 1 if self.equal_noise else n_features
        logs = np.repeat(np.sqrt(2.0 * n_features / n_noise) * roots, n_noise)
        return np.concatenate([np.repeat(roots, n_features * self.n_factors), logs])
