"""Whatever kernel is chosen, it says what the definition of a mixture says."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from dask_gmm.model.centred import CentredKernel
from dask_gmm.model.density import Density
from dask_gmm.model.estep import choose_kernel
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

TYPES = ("full", "tied", "diag", "spherical")
# Centres near each other, at the limits of the compiled kernels, and far beyond.
DISTANCES = (1.0, 8.0, 300.0, 1e6)


def mixture(covariance_type, distance=1.0, n_components=4, n_features=3, offset=0.0):
    rng = np.random.default_rng(7)
    roots = np.eye(n_features) + 0.3 * rng.normal(size=(n_components, n_features, n_features))
    matrices = roots @ roots.transpose(0, 2, 1)
    covariances = {
        "full": matrices,
        "tied": matrices[0],
        "diag": np.diagonal(matrices, axis1=1, axis2=2),
        "spherical": matrices[:, 0, 0],
    }[covariance_type]
    means = offset + distance * rng.normal(size=(n_components, n_features))
    return Parameters.from_covariances(
        covariance_type, rng.dirichlet(np.ones(n_components)), means, covariances
    )


def rows_of(parameters, n_rows=500, dtype=np.float64):
    rng = np.random.default_rng(8)
    labels = rng.integers(parameters.n_components, size=n_rows)
    return (parameters.means[labels] + rng.normal(size=(n_rows, parameters.n_features))).astype(dtype)


def log_joint(parameters, rows):
    structure = parameters.structure
    columns = []
    for k, (weight, mean) in enumerate(zip(parameters.weights, parameters.means, strict=True)):
        whitening = structure.whitened(
            np.eye(len(mean)), np.zeros(len(mean)), parameters.precisions_cholesky, k
        )
        covariance = np.linalg.inv(whitening @ whitening.T)
        columns.append(
            np.log(weight) + multivariate_normal(np.zeros(len(mean)), covariance).logpdf(rows - mean)
        )
    return np.stack(columns, axis=1)


CASES = list(itertools.product(TYPES, DISTANCES))


@pytest.mark.parametrize(("covariance_type", "distance"), CASES)
def test_predictions(covariance_type, distance):
    parameters = mixture(covariance_type, distance)
    rows = rows_of(parameters)
    joint = log_joint(parameters, rows)
    kernel = choose_kernel(Density.of(parameters), rows.dtype)
    density, resp, labels = np.empty(500), np.empty((500, 4)), np.empty(500, dtype=np.int64)
    kernel.log_density(rows, density)
    kernel.responsibilities(rows, resp)
    kernel.labels(rows, labels)
    np.testing.assert_allclose(density, logsumexp(joint, axis=1), rtol=1e-9)
    np.testing.assert_allclose(resp, np.exp(joint - logsumexp(joint, axis=1, keepdims=True)), atol=1e-9)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
    np.testing.assert_array_equal(labels, joint.argmax(axis=1))


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(("covariance_type", "distance"), CASES)
def test_statistics(covariance_type, distance, weighted):
    parameters = mixture(covariance_type, distance)
    rows = rows_of(parameters)
    weights = np.random.default_rng(9).uniform(size=500) if weighted else None
    density = Density.of(parameters)
    kernel = choose_kernel(density, rows.dtype)
    found = Statistics.zero(covariance_type, 4, 3)
    for part in (slice(0, 123), slice(123, 500)):
        kernel.accumulate(found, rows[part], None if weights is None else weights[part])
    joint = log_joint(parameters, rows)
    norm = logsumexp(joint, axis=1)
    factor = np.ones(500) if weights is None else weights
    resp = np.exp(joint - norm[:, np.newaxis]) * factor[:, np.newaxis]
    assert found.totals.log_likelihood == pytest.approx(norm @ factor, rel=1e-9)
    assert found.totals.weight == pytest.approx(factor.sum(), rel=1e-13)
    assert found.totals.n_rows == 500
    np.testing.assert_allclose(found.nk, resp.sum(axis=0), rtol=1e-8, atol=1e-9)
    means = kernel.origins + found.first / found.nk[:, np.newaxis]
    expected = resp.T @ rows / resp.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(means, expected, rtol=1e-8, atol=1e-8 * distance)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_float32_rows_in_any_order(covariance_type, order):
    parameters = mixture(covariance_type)
    rows = np.asarray(rows_of(parameters, dtype=np.float32), order=order)
    found, exact = np.empty(500, dtype=np.float32), np.empty(500)
    choose_kernel(Density.of(parameters), rows.dtype).log_density(rows, found)
    CentredKernel(Density.of(parameters)).log_density(rows, exact)
    np.testing.assert_allclose(found, exact, rtol=2e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_rows_far_from_everything(covariance_type, dtype):
    parameters = mixture(covariance_type)
    rows = np.full((3, 3), 1e5, dtype=dtype) * np.array([[1], [-1], [3]], dtype=dtype)
    resp, density = np.empty((3, 4), dtype=dtype), np.empty(3, dtype=dtype)
    kernel = choose_kernel(Density.of(parameters), rows.dtype)
    kernel.responsibilities(rows, resp)
    kernel.log_density(rows, density)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(density, logsumexp(log_joint(parameters, rows), axis=1), rtol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_first_of_equals(covariance_type):
    single = mixture(covariance_type, n_components=1)
    twins = Parameters(
        covariance_type,
        np.array([0.5, 0.5]),
        np.repeat(single.means, 2, axis=0),
        *(
            array if covariance_type == "tied" else np.repeat(array, 2, axis=0)
            for array in (single.covariances, single.precisions_cholesky)
        ),
    )
    labels = np.empty(100, dtype=np.int64)
    choose_kernel(Density.of(twins), np.dtype(np.float64)).labels(rows_of(single, 100), labels)
    np.testing.assert_array_equal(labels, 0)


@pytest.mark.parametrize("distance", [1.0, 1e6])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_component_of_weight_zero_gets_nothing(covariance_type, distance):
    whole = mixture(covariance_type, distance)
    weights = np.array([0.0, 0.2, 0.3, 0.5])
    parameters = Parameters(
        covariance_type, weights, whole.means, whole.covariances, whole.precisions_cholesky
    )
    rows = rows_of(whole)
    resp = np.empty((500, 4))
    kernel = choose_kernel(Density.of(parameters), rows.dtype)
    kernel.responsibilities(rows, resp)
    np.testing.assert_array_equal(resp[:, 0], 0.0)
    np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
    found = Statistics.zero(covariance_type, 4, 3)
    kernel.accumulate(found, rows, None)
    assert found.nk[0] == 0.0
    assert np.isfinite(found.second).all()


@pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 65, 1000, 5001])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_no_row_is_lost_at_the_end_of_a_tile(covariance_type, n_rows):
    parameters = mixture(covariance_type)
    rows = rows_of(parameters, n_rows)
    found, expected = (Statistics.zero(covariance_type, 4, 3) for _ in range(2))
    kernel = choose_kernel(Density.of(parameters), rows.dtype)
    kernel.accumulate(found, rows, None)
    CentredKernel(Density.of(parameters)).accumulate(expected, rows, None)
    assert found.nk.sum() == pytest.approx(n_rows, abs=1e-9)
    np.testing.assert_allclose(found.nk, expected.nk, rtol=1e-10)
    assert found.totals.log_likelihood == pytest.approx(expected.totals.log_likelihood, rel=1e-12)
    resp = np.full((n_rows, 4), np.nan)
    kernel.responsibilities(rows, resp)
    np.testing.assert_allclose(resp.sum(axis=0), expected.nk, rtol=1e-10)
