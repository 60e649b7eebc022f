"""Factor analysers hold to the contract, and to scikit-learn's factor analysis and a textbook EM step."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal
from sklearn.decomposition import FactorAnalysis

from dask_gmm.model.covariance import covariance_structure, spelled
from dask_gmm.model.covariance.loadings import canonical, factor_analysis, times_root
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.low_rank import FactorKernel
from tests.model.covariance_contract import SHAPES, CovarianceContract
from tests.model.textbook import factor_step


class FactorContract(CovarianceContract):
    """What differs from types whose M-step has a closed form."""

    max_iter = 3000  # steps of factor analysis are short

    def matrices(self, covariances, n_components, n_features):
        loadings, noise = covariances[:, :, :-1], covariances[:, :, -1]
        return loadings @ loadings.transpose(0, 2, 1) + noise[:, :, np.newaxis] * np.eye(n_features)

    def spoiled(self, covariances, component, value):
        spoiled = covariances.copy()
        spoiled[component, :, -1] *= value
        return spoiled

    def covariances(self, n_components=3, n_features=4, seed=0):
        rng = np.random.default_rng(seed)
        width = self.structure.shape(n_components, n_features)[-1]
        loadings = rng.normal(size=(n_components, n_features, width - 1))
        noise = rng.uniform(0.5, 2.0, size=(n_components, 1 if self.structure.equal_noise else n_features))
        noise = np.broadcast_to(noise, (n_components, n_features))
        return np.concatenate([loadings, noise[:, :, np.newaxis]], axis=2)

    def evaluating(self, n_components, n_features):
        return self.structure.cholesky(self.covariances(n_components, n_features, seed=1))

    @pytest.mark.parametrize("shape", SHAPES)
    def test_the_m_step_maximizes(self, shape):
        """One step of factor analysis: no maximum, but better than before."""
        rows, resp, second, nk, shift = self.statistics(*shape)
        before = self.structure.inverse(self.evaluating(*shape))
        after = self.structure.estimate(second, nk, shift, 0.0, before)
        scatters = []
        for k in range(shape[0]):
            deviations = rows - resp[:, k] @ rows / nk[k]
            scatters.append((resp[:, k] * deviations.T) @ deviations / nk[k])

        def expected_log_likelihoods(covariances):
            return np.array(
                [
                    -np.linalg.slogdet(matrix)[1] - np.trace(np.linalg.solve(matrix, scatter))
                    for matrix, scatter in zip(self.matrices(covariances, *shape), scatters, strict=True)
                ]
            )

        gains = expected_log_likelihoods(after) - expected_log_likelihoods(before)
        assert (gains > -1e-12).all()
        assert gains.max() > 1e-3

    @pytest.mark.parametrize("shape", SHAPES)
    def test_coordinates_lead_back(self, shape):
        origin = self.structure.cholesky(self.covariances(*shape))
        zero = self.structure.spreads(origin, origin)
        np.testing.assert_allclose(zero, 0.0, atol=1e-12)
        # Rotations of the loadings change no covariance: that many coordinates are in excess.
        assert zero.size >= self.structure.n_free(*shape)
        assert zero.shape == self.structure.spread_lengths(np.ones(shape[0]), origin, shape[1]).shape
        there = self.covariances(*shape, seed=1)
        spreads = self.structure.spreads(self.structure.cholesky(there), origin)
        back = self.structure.inverse(self.structure.with_spreads(spreads, origin))
        np.testing.assert_allclose(back, there, rtol=1e-9, atol=1e-10)

    def test_lengths_are_distances_of_distributions(self):
        """Half the square of a small step is the divergence of the rows together with their factors."""
        covariances, weights = self.covariances(), np.array([0.2, 0.3, 0.5])
        origin, rng = self.structure.cholesky(covariances), np.random.default_rng(10)
        lengths = self.structure.spread_lengths(weights, origin, 4)

        def joint(covariances):
            loadings, noise = covariances[:, :, :-1], covariances[:, :, -1]
            eye = np.broadcast_to(np.eye(loadings.shape[2]), (3, loadings.shape[2], loadings.shape[2]))
            own = self.matrices(covariances, 3, 4)
            assert noise.min() > 0.0
            return np.block([[own, loadings], [loadings.transpose(0, 2, 1), eye]])

        for _ in range(5):
            step = rng.normal(size=len(lengths))
            step *= 1e-4 / np.linalg.norm(step)
            moved = self.structure.inverse(self.structure.with_spreads(step / lengths, origin))
            ratios = np.linalg.solve(joint(moved), joint(covariances))
            divergence = np.trace(ratios, axis1=1, axis2=2) - ratios.shape[1] - np.linalg.slogdet(ratios)[1]
            np.testing.assert_allclose(weights @ divergence, 1e-8, rtol=1e-3)


class TestOneFactor(FactorContract):
    structure = covariance_structure("factor")


class TestTwoFactors(FactorContract):
    structure = covariance_structure(spelled("factor", n_factors=2))
    options = {"n_factors": 2}  # noqa: RUF012

    def test_is_registered_under_its_name(self):
        assert covariance_structure("factor(2)") is self.structure


class TestEqualNoise(FactorContract):
    structure = covariance_structure(spelled("factor", n_factors=2, noise="spherical"))
    options = {"n_factors": 2, "noise": "spherical"}  # noqa: RUF012

    def is_member(self, matrix):
        # One variance and two directions: all other eigenvalues are the same.
        values = np.linalg.eigvalsh(matrix)
        return bool(np.allclose(values[: max(1, len(values) - 2)], values[0]))

    def test_is_registered_under_its_name(self):
        assert covariance_structure("factor(2, spherical)") is self.structure


def exact_rows(n_features=6, n_factors=2, n_rows=400, seed=0):
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_features, n_factors))
    noise = rng.uniform(0.3, 1.5, size=n_features)
    scores = rng.normal(size=(n_rows, n_factors))
    return scores @ loadings.T + rng.normal(size=(n_rows, n_features)) * np.sqrt(noise)


def em_steps(rows, n_factors, n_steps):
    """Return one component's covariances after EM steps by the structure."""
    structure = covariance_structure(spelled("factor", n_factors=n_factors))
    centred = rows - rows.mean(axis=0)
    loadings, noise = factor_analysis(centred.T @ centred / len(rows), n_factors, 0)
    covariances = np.concatenate([loadings, noise[:, np.newaxis]], axis=1)[np.newaxis]
    nk, shift = np.array([float(len(rows))]), np.zeros((1, rows.shape[1]))
    for _ in range(n_steps):
        second = np.zeros_like(covariances)
        structure.add_second(second, centred, np.ones(len(rows)), 0, structure.cholesky(covariances))
        covariances = structure.estimate(second, nk, shift, 0.0, covariances)
    return structure, covariances


def test_one_component_is_scikit_learns_factor_analysis():
    rows = exact_rows(10, 2, 2000)
    structure, covariances = em_steps(rows, 2, 3000)
    reference = FactorAnalysis(2, svd_method="lapack", tol=0.0, max_iter=5000).fit(rows)
    for _ in range(20):  # it stops where the likelihood, a sum over all rows, does not change any more
        reference.set_params(noise_variance_init=reference.noise_variance_).fit(rows)
    (found,) = structure.as_matrices(covariances, 1, 10)
    np.testing.assert_allclose(found, reference.get_covariance(), rtol=1e-8, atol=1e-8)
    np.testing.assert_allclose(covariances[0, :, -1], reference.noise_variance_, rtol=1e-8)


def textbook_step(rows, weights, means, loadings, noise):
    """One iterate by dense matrices: labels, means, then factor analysis about them (Ghahramani, Hinton)."""
    n_components = len(loadings)
    joint = np.stack(
        [
            np.log(weights[k])
            + multivariate_normal(means[k], loadings[k] @ loadings[k].T + np.diag(noise[k])).logpdf(rows)
            for k in range(n_components)
        ],
        axis=1,
    )
    resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    found = []
    for k in range(n_components):
        nk = resp[:, k].sum()
        mean = resp[:, k] @ rows / nk
        deviations = rows - mean
        scatter = (resp[:, k] * deviations.T) @ deviations / nk
        found.append((nk / len(rows), mean, *factor_step(scatter, loadings[k], noise[k])))
    return [np.stack(parts) for parts in zip(*found, strict=True)]


@pytest.mark.parametrize("n_factors", [1, 3])
@pytest.mark.parametrize("offset", [0.0, 1e8])
def test_one_iterate_is_the_textbooks(n_factors, offset):
    rng = np.random.default_rng(2)
    rows = np.concatenate([exact_rows(5, 2, 150, seed) + 3.0 * seed for seed in (1, 2)])
    weights, means = np.array([0.4, 0.6]), rng.normal(size=(2, 5)) + 3.0
    loadings, noise = rng.normal(size=(2, 5, n_factors)), rng.uniform(0.5, 2.0, size=(2, 5))
    expected = textbook_step(rows, weights, means, loadings, noise)
    structure = covariance_structure(spelled("factor", n_factors=n_factors))
    covariances = np.concatenate([loadings, noise[:, :, np.newaxis]], axis=2)
    factors = structure.cholesky(covariances)
    peaks = np.log(weights) + structure.log_det(factors, 2, 5) - 2.5 * np.log(2.0 * np.pi)
    shifted = means + offset
    prepared = structure.kernel(Components(shifted.mean(axis=0), shifted, factors, peaks), np.dtype("f8"))
    # Rows at a large offset are rounded, and so is what is found of them.
    _, sums = prepared.kernel.statistics(rows + offset, None)
    tolerance = {"rtol": 1e-10, "atol": 1e-10} if offset == 0.0 else {"rtol": 1e-6, "atol": 1e-6}
    nk, shift = sums[:, 0], sums[:, 1:6] / sums[:, :1]
    found = structure.estimate(structure.pooled(sums[:, 6:]), nk, shift, 0.0, covariances)
    np.testing.assert_allclose(nk / len(rows), expected[0], **tolerance)
    np.testing.assert_allclose(means + shift, expected[1], **tolerance)
    np.testing.assert_allclose(found[:, :, :-1], expected[2], **tolerance)
    np.testing.assert_allclose(found[:, :, -1], expected[3], **tolerance)


@given(st.integers(0, 10**6), st.integers(1, 6), st.integers(1, 4))
@settings(max_examples=30, deadline=None)
def test_roots_of_low_rank(seed, n_features, n_factors):
    rng = np.random.default_rng(seed)
    scaled = 10.0 ** rng.uniform(-6, 3) * rng.normal(size=(1, n_features, n_factors))
    eye = np.eye(n_features)[np.newaxis]
    root, back = times_root(eye, scaled), times_root(eye, scaled, inverse=True)
    inner = np.eye(n_features) + scaled[0] @ scaled[0].T
    np.testing.assert_allclose(back[0] @ back[0].T, inner, rtol=1e-9, atol=1e-9 * np.abs(inner).max())
    # What is near the identity is rounded as it is, and so is near its inverse with the root's largest value.
    np.testing.assert_allclose(root[0] @ back[0], eye[0], atol=1e-14 * np.sqrt(np.linalg.norm(inner, 2)))


def test_canonical_loadings_are_those_of_the_covariances():
    rng = np.random.default_rng(4)
    loadings, noise = rng.normal(size=(2, 7, 3)), rng.uniform(0.5, 2.0, size=(2, 7))
    turned = loadings @ np.linalg.qr(rng.normal(size=(3, 3)))[0]
    found = canonical(loadings, noise)
    np.testing.assert_allclose(canonical(turned, noise), found, atol=1e-12)
    np.testing.assert_allclose(found @ found.transpose(0, 2, 1), loadings @ loadings.transpose(0, 2, 1))
    within = found.transpose(0, 2, 1) @ (found / noise[:, :, np.newaxis])
    for matrix in within:
        np.testing.assert_allclose(matrix, np.diag(np.diag(matrix)), atol=1e-12)
        assert (np.diff(np.diag(matrix)) < 0.0).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize(("n_components", "n_rows"), [(3, 700), (40, 3000)])
def test_sums_do_not_depend_on_how_rows_are_kept(monkeypatch, dtype, n_components, n_rows):
    """Responsibilities wait in memory for a limited number of rows: any limit gives the same sums."""
    rng = np.random.default_rng(5)
    means, roots = 3.0 * rng.normal(size=(n_components, 6)), rng.uniform(0.5, 2.0, size=(n_components, 6))
    projections = 0.3 * rng.normal(size=(n_components, 6, 2))
    rows = (means[rng.integers(n_components, size=n_rows)] + rng.normal(size=(n_rows, 6))).astype(dtype)
    kernel = FactorKernel(means, roots, projections, np.full(n_components, -np.log(n_components)), dtype)
    weights = rng.integers(0, 3, size=n_rows).astype(np.float64)
    log_likelihood, sums = kernel.statistics(rows, weights)
    monkeypatch.setattr("dask_gmm.model.kernels.low_rank._KEPT_BYTES", 1)
    again, other = kernel.statistics(rows, weights)
    assert again == log_likelihood
    tolerance = 1e-4 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(other, sums, rtol=tolerance, atol=tolerance)
    kept = np.repeat(rows, weights.astype(int), axis=0)
    _, repeated = kernel.statistics(kept, None)
    np.testing.assert_allclose(repeated, sums, rtol=tolerance, atol=10.0 * tolerance)
