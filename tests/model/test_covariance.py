"""What every covariance structure must hold to."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm.model.covariance import NotPositiveDefiniteError, covariance_structure, pack, unpack

TYPES = ("full", "tied", "diag", "spherical")


def drawn_covariances(covariance_type):
    covariances = np.random.default_rng(0).uniform(
        0.5, 2.0, size=covariance_structure(covariance_type).shape(3, 4)
    )
    if covariance_type in ("full", "tied"):
        covariances = covariances @ np.swapaxes(covariances, -1, -2) + np.eye(4)
    return covariances


def as_matrices(covariance_type, array):
    """Return one matrix a component, whatever the structure."""
    if covariance_type == "tied":
        return np.stack([array] * 3)
    if covariance_type == "full":
        return array
    return np.stack([np.diag(np.broadcast_to(entry, 4)) for entry in array])


@pytest.mark.parametrize("covariance_type", TYPES)
def test_factors_lead_back_to_the_covariances(covariance_type):
    structure = covariance_structure(covariance_type)
    covariances = drawn_covariances(covariance_type)
    factors = structure.cholesky(covariances)
    assert factors.shape == structure.shape(3, 4)
    np.testing.assert_allclose(structure.inverse(factors), covariances, rtol=1e-12)
    np.testing.assert_allclose(
        structure.cholesky_of_precisions(structure.precisions(factors)), factors, rtol=1e-10, atol=1e-12
    )


@pytest.mark.parametrize("covariance_type", TYPES)
def test_factors_are_upper_triangular_roots_of_the_inverses(covariance_type):
    structure = covariance_structure(covariance_type)
    covariances = drawn_covariances(covariance_type)
    factors = structure.cholesky(covariances)
    inverses = np.linalg.inv(as_matrices(covariance_type, covariances))
    for factor, inverse in zip(as_matrices(covariance_type, factors), inverses, strict=True):
        np.testing.assert_array_equal(factor, np.triu(factor))
        np.testing.assert_allclose(factor @ factor.T, inverse, rtol=1e-11, atol=1e-12)
    precisions = as_matrices(covariance_type, structure.precisions(factors))
    np.testing.assert_allclose(precisions, inverses, rtol=1e-11, atol=1e-12)
    log_det = structure.log_det(factors, 3, 4)
    np.testing.assert_allclose(log_det, 0.5 * np.linalg.slogdet(inverses)[1], rtol=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_whitened_rows_have_mahalanobis_lengths(covariance_type):
    structure = covariance_structure(covariance_type)
    covariances = drawn_covariances(covariance_type)
    inverses = np.linalg.inv(as_matrices(covariance_type, covariances))
    rng = np.random.default_rng(1)
    rows, mean = rng.normal(size=(7, 4)), rng.normal(size=4)
    for k in range(3):
        whitened = structure.whitened(rows, mean, structure.cholesky(covariances), k)
        expected = np.einsum("ij,jk,ik->i", rows - mean, inverses[k], rows - mean)
        np.testing.assert_allclose((whitened**2).sum(axis=1), expected, rtol=1e-11)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_bad_covariance_is_told_by_its_component(covariance_type):
    structure = covariance_structure(covariance_type)
    covariances = drawn_covariances(covariance_type)
    bad = covariances if covariance_type == "tied" else covariances[1:2]
    bad[...] = -np.eye(4) if covariance_type in ("full", "tied") else -1.0
    with pytest.raises(NotPositiveDefiniteError) as caught:
        structure.cholesky(covariances)
    assert caught.value.component == (None if covariance_type == "tied" else 1)
    assert caught.value.smallest_eigenvalue == pytest.approx(-1.0)
    assert structure.smallest_eigenvalues(covariances, 3)[1] == pytest.approx(-1.0)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_covariance_that_is_not_a_number_is_bad_too(covariance_type):
    covariances = drawn_covariances(covariance_type)
    covariances[-1] = np.nan
    with pytest.raises(NotPositiveDefiniteError):
        covariance_structure(covariance_type).cholesky(covariances)


@pytest.mark.parametrize("n_features", [1, 4])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_free_numbers_are_counted_as_scikit_learn_does(covariance_type, n_features):
    reference = Reference(3, covariance_type=covariance_type, random_state=0)
    reference.fit(np.random.default_rng(0).normal(size=(50, n_features)))
    found = covariance_structure(covariance_type).n_free(3, n_features)
    assert found + 3 * n_features + 2 == reference._n_parameters()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_second_moments_add_up(covariance_type):
    structure = covariance_structure(covariance_type)
    rng = np.random.default_rng(2)
    deviations, resp = rng.normal(size=(20, 4)), rng.uniform(size=20)
    whole = np.zeros(structure.second_shape(3, 4))
    parts = np.zeros_like(whole)
    structure.add_second(whole, deviations, resp, 1)
    for part in (slice(0, 5), slice(5, 20)):
        structure.add_second(parts, deviations[part], resp[part], 1)
    np.testing.assert_allclose(parts, whole, rtol=1e-13)
    assert whole.any()


def test_packing_keeps_symmetric_matrices():
    matrices = np.random.default_rng(0).normal(size=(3, 5, 5))
    matrices += matrices.transpose(0, 2, 1)
    assert pack(matrices).shape == (3, 15)
    np.testing.assert_array_equal(unpack(pack(matrices), 5), matrices)
    np.testing.assert_array_equal(pack(matrices[0])[:6], [*matrices[0, 0], matrices[0, 1, 1]])
