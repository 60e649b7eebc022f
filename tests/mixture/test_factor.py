"""Mixtures of factor analysers as users meet them: fits, float32, offsets, any workers, the shell."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.model.covariance import covariance_structure

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def factor_rows(n_rows=900, n_features=8, n_components=3, n_factors=2, seed=0):
    rng = np.random.default_rng(seed)
    loadings = rng.normal(size=(n_components, n_features, n_factors))
    means = 3.0 * rng.normal(size=(n_components, n_features))
    labels = rng.integers(n_components, size=n_rows)
    scores = rng.normal(size=(n_rows, n_factors))
    noise = 0.5 * rng.normal(size=(n_rows, n_features))
    return means[labels] + np.einsum("nij,nj->ni", loadings[labels], scores) + noise


def fitted(rows, **options):
    given = {"n_factors": 2, "covariance_type": "factor", "random_state": 0, **options}
    return GaussianMixture(3, **given).fit(rows)


def test_attributes():
    rows = factor_rows()
    gm = fitted(rows)
    assert gm.covariance_type_ == "factor(2)"
    assert gm.factor_loadings_.shape == (3, 8, 2)
    assert gm.noise_variance_.shape == (3, 8)
    expected = gm.factor_loadings_ @ gm.factor_loadings_.transpose(0, 2, 1)
    expected += gm.noise_variance_[:, :, np.newaxis] * np.eye(8)
    np.testing.assert_allclose(gm.covariances_, expected, rtol=1e-12)
    np.testing.assert_allclose(gm.precisions_ @ gm.covariances_, np.tile(np.eye(8), (3, 1, 1)), atol=1e-9)
    within = gm.factor_loadings_[0].T @ (gm.factor_loadings_[0] / gm.noise_variance_[0][:, np.newaxis])
    np.testing.assert_allclose(within[0, 1], 0.0, atol=1e-10)
    assert within[0, 0] > within[1, 1] > 0.0
    n_free = 3 * (8 * 2 - 1 + 8) + 3 * 8 + 2
    log_likelihood = gm.score(rows) * len(rows)
    assert gm.bic(rows) == pytest.approx(n_free * np.log(len(rows)) - 2.0 * log_likelihood)


def test_matrices_that_would_be_too_large_are_not_made(monkeypatch):
    gm = fitted(factor_rows())
    monkeypatch.setattr("dask_gmm.mixture.dense._MOST_BYTES", 100)
    assert not hasattr(gm, "covariances_")
    with pytest.raises(AttributeError, match="3 matrices of 8 features"):
        _ = gm.precisions_
    with pytest.raises(AttributeError, match="no attribute 'covariances_'"):
        _ = GaussianMixture(covariance_type="factor").covariances_


def test_one_factor_less_than_features_is_full():
    rows = factor_rows(n_features=4)
    factor = fitted(rows, n_factors=3, tol=1e-10, max_iter=5000)
    full = fitted(rows, covariance_type="full", tol=1e-10, max_iter=5000)
    assert factor.lower_bound_ == pytest.approx(full.lower_bound_, abs=1e-6)


def test_as_a_start_for_full():
    rows = factor_rows()
    factor = fitted(rows)
    full = GaussianMixture(
        3, weights_init=factor.weights_, means_init=factor.means_, precisions_init=factor.precisions_
    ).fit(rows)
    assert full.lower_bounds_[0] == pytest.approx(factor.score(rows), abs=1e-9)


@given(seed=st.integers(0, 10**6), n_factors=st.integers(1, 5), noise=st.sampled_from(["diag", "spherical"]))
@settings(max_examples=15, deadline=None)
def test_no_iteration_lowers_the_likelihood(seed, n_factors, noise):
    rows = factor_rows(200, 6, 2, 2, seed)
    weights = np.random.default_rng(seed).integers(0, 3, size=200)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        gm = GaussianMixture(
            2,
            covariance_type="factor",
            n_factors=n_factors,
            noise=noise,
            reg_covar=0.0,
            tol=0.0,
            max_iter=60,
            random_state=seed,
            init_params="k-means++",
        ).fit(rows, sample_weight=weights)
    assert np.diff(gm.lower_bounds_).min() > -1e-11


def test_offsets_and_float32():
    rows = factor_rows()
    plain = fitted(rows, max_iter=15, tol=0.0)
    far = fitted(rows + 1e8, max_iter=15, tol=0.0)
    np.testing.assert_allclose(far.covariances_, plain.covariances_, rtol=1e-5, atol=1e-5)
    single = fitted(rows.astype(np.float32), max_iter=15, tol=0.0)
    assert single.factor_loadings_.dtype == single.covariances_.dtype == np.float32
    np.testing.assert_allclose(single.covariances_, plain.covariances_, rtol=1e-3, atol=1e-3)
    assert single.lower_bound_ == pytest.approx(plain.lower_bound_, abs=1e-4)


def test_strong_factors_are_computed_in_float64():
    """Where loadings are many times the noise, float32 would cancel all that says where a row is."""
    structure = covariance_structure("factor(2)")
    rng = np.random.default_rng(0)
    loadings, noise = 1e3 * rng.normal(size=(1, 5, 2)), np.ones((1, 5))
    gm = GaussianMixture(1, covariance_type="factor", n_factors=2)
    gm.weights_, gm.means_, gm.covariance_type_ = np.ones(1), np.zeros((1, 5)), "factor(2)"
    gm.factor_loadings_, gm.noise_variance_, gm.n_features_in_ = loadings, noise, 5
    rows = (rng.normal(size=(50, 2)) @ loadings[0].T + rng.normal(size=(50, 5))).astype(np.float32)
    exact = gm.score_samples(rows.astype(np.float64))
    np.testing.assert_allclose(gm.score_samples(rows), exact, atol=1e-4)
    factors = structure.cholesky(np.concatenate([loadings, noise[:, :, np.newaxis]], axis=2))
    dense = np.array([structure.whitened(rows.astype(np.float64), np.zeros(5), factors, 0)])[0]
    expected = structure.log_det(factors, 1, 5)[0] - 0.5 * (dense**2).sum(axis=1) - 2.5 * np.log(2.0 * np.pi)
    np.testing.assert_allclose(exact, expected, rtol=1e-6)


def test_same_bits_on_any_workers(tmp_path):
    zarr.create_array(tmp_path / "x.zarr", data=factor_rows(2000).astype(np.float32), chunks=(150, 8))
    array = zarr.open_array(tmp_path / "x.zarr", mode="r")
    threads = fitted(array, max_iter=8)
    for n_workers in (1, 3):
        with (
            LocalCluster(n_workers, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
            Client(cluster),
        ):
            other = fitted(array, max_iter=8)
        for name in ("weights_", "means_", "factor_loadings_", "noise_variance_", "lower_bounds_"):
            np.testing.assert_array_equal(getattr(other, name), getattr(threads, name), err_msg=name)


def test_chunks_and_weights():
    rows = factor_rows(600)
    weights = np.random.default_rng(1).integers(0, 3, size=600)
    repeated = fitted(np.repeat(rows, weights, axis=0), means_init=rows[:3], max_iter=20, tol=0.0)
    start = {"means_init": rows[:3], "weights_init": np.full(3, 1 / 3), "precisions_init": None}
    assert repeated.n_iter_ == 20
    one = fitted(rows, **start, max_iter=10, tol=0.0)
    many = fitted(da.from_array(rows, chunks=(77, 8)), **start, max_iter=10, tol=0.0)
    np.testing.assert_allclose(many.covariances_, one.covariances_, rtol=1e-9, atol=1e-10)


def test_selection_over_factors():
    rows = factor_rows(2000)
    selection = GaussianMixtureIC(
        [2, 3], covariance_type=["factor", "diag", "full"], n_factors=[1, 2, 4], random_state=0
    ).fit(rows)
    names = list(dict.fromkeys(selection.results_["covariance_type"]))
    assert names == ["factor(1)", "factor(2)", "factor(4)", "diag", "full"]
    best = selection.best_estimator_
    assert (best.covariance_type, best.n_factors, best.n_components) == ("factor", 2, 3)
    np.testing.assert_array_equal(best.predict(rows), selection.predict(rows))


def test_other_types_are_forgotten():
    rows = factor_rows()
    gm = fitted(rows)
    gm.set_params(covariance_type="diag").fit(rows)
    assert not hasattr(gm, "factor_loadings_")
    assert gm.covariances_.shape == (3, 8)
    gm.set_params(covariance_type="factor").fit(rows)
    assert "covariances_" not in vars(gm)


def test_marginals_and_conditions():
    gm = fitted(factor_rows())
    part = gm.marginal([1, 4, 6])
    np.testing.assert_allclose(part.covariances_, gm.covariances_[:, [1, 4, 6]][:, :, [1, 4, 6]], rtol=1e-12)
    full = GaussianMixture.from_sklearn(gm.to_sklearn())
    known = {0: 0.5, 3: -1.0, 7: 2.0}
    ours, theirs = gm.condition(known), full.condition(known)
    np.testing.assert_allclose(ours.weights_, theirs.weights_, rtol=1e-9)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-9)
    np.testing.assert_allclose(ours.covariances_, theirs.covariances_, rtol=1e-8, atol=1e-10)


def test_what_does_not_go_together_is_refused():
    rows = factor_rows(100)
    with pytest.raises(ValueError, match="n_factors=8 must be less than the number of features, 8"):
        fitted(rows, n_factors=8)
    with pytest.raises(ValueError, match=r"no conjugate prior for covariance_type='factor\(2\)'"):
        fitted(rows, mean_prior="auto")
    with pytest.raises(ValueError, match="partial_fit has no sums"):
        GaussianMixture(3, covariance_type="factor").partial_fit(rows)
    with pytest.raises(ValueError, match="noise"):
        fitted(rows, noise="full")
    with pytest.raises(ValueError, match="n_factors of GaussianMixtureIC must be integers"):
        GaussianMixtureIC([2], covariance_type="factor", n_factors=[0]).fit(rows)
    gm = fitted(rows).set_params(n_factors=3)
    with pytest.raises(ValueError, match=r"'factor\(3\)', but the mixture was fitted with 'factor\(2\)'"):
        gm.to_sklearn()
