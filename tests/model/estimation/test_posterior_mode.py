"""The posterior mode under a conjugate prior: monotone, by the formulas of mclust, without collapse."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp

from dask_gmm import CollapsedComponentError, GaussianMixture, GaussianMixtureIC
from dask_gmm.model.covariance import conjugate_types, covariance_structure
from dask_gmm.model.estimation.posterior_mode import PosteriorMode
from dask_gmm.model.estimation.prior import Prior
from tests.model.estimation_contract import EstimationContract
from tests.model.mixtures import log_joint, mixture, rows_of

TYPES = pytest.mark.parametrize("covariance_type", conjugate_types())


def prior_of(covariance_type, n_features=3, n_components=4, precision=0.5):
    structure = covariance_structure(covariance_type)
    scale = structure.scale_of(0.7 * np.eye(n_features), equal=False)
    return Prior(covariance_type, n_components, np.full(n_features, 0.3), precision, n_features + 2.0, scale)


class TestPosteriorMode(EstimationContract):
    """Its prior is of the type that a test asks for."""

    estimation = PosteriorMode(prior_of("full"))

    @pytest.fixture(params=conjugate_types())
    def covariance_type(self, request):
        return request.param

    def step(self, parameters, rows):
        self.estimation = PosteriorMode(prior_of(parameters.covariance_type))
        return super().step(parameters, rows)

    def e_step(self, parameters, rows):
        self.estimation = PosteriorMode(prior_of(parameters.covariance_type))
        return super().e_step(parameters, rows)


@TYPES
def test_the_formulas_of_mclust(covariance_type):
    """Fraley and Raftery (2007), table 1, written out."""
    parameters, d, k_all = mixture(covariance_type), 3, 4
    rows = rows_of(parameters, 300)
    joint = log_joint(parameters, rows)
    r = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    nk, n = r.sum(axis=0), len(rows)
    means = r.T @ rows / nk[:, np.newaxis]
    kappa, nu, m0, scale = 0.5, d + 2.0, np.full(d, 0.3), 0.7
    scatter = np.zeros((k_all, d, d))
    for k in range(k_all):
        away, apart = rows - means[k], means[k] - m0
        scatter[k] = (r[:, k] * away.T) @ away + kappa * nk[k] / (kappa + nk[k]) * np.outer(apart, apart)
    squares = np.diagonal(scatter, axis1=1, axis2=2)
    expected = {
        "full": (scale * np.eye(d) + scatter) / (nu + nk + d + 2)[:, np.newaxis, np.newaxis],
        "tied": (scale * np.eye(d) + scatter.sum(axis=0)) / (nu + n + d + 1 + k_all),
        "diag": (scale + squares) / (nu + nk + 3)[:, np.newaxis],
        "spherical": (scale + squares.sum(axis=1)) / (nu + (nk + 1) * d + 2),
    }[covariance_type]
    _, found = TestPosteriorMode().step(parameters, rows)
    assert_allclose(found.covariances, expected, rtol=1e-10)
    pulled = (nk[:, np.newaxis] * means + kappa * m0) / (nk + kappa)[:, np.newaxis]
    assert_allclose(found.means, pulled, rtol=1e-10)


@TYPES
def test_no_component_collapses(covariance_type):
    rows = np.repeat(np.random.default_rng(0).normal(size=(5, 3)), 60, axis=0)
    settings = {"covariance_type": covariance_type, "reg_covar": 0.0, "random_state": 0}
    if covariance_type != "tied":
        with pytest.raises(CollapsedComponentError):
            GaussianMixture(5, **settings).fit(rows)
    gm = GaussianMixture(5, **settings, mean_precision_prior="auto", max_iter=500).fit(rows)
    assert np.isfinite(gm.means_).all()
    assert gm.score(rows) < 50
    assert np.diff(gm.lower_bounds_).min() > -1e-9


@TYPES
def test_auto_is_what_mclust_takes(covariance_type):
    rows = np.random.default_rng(1).normal(size=(400, 3)) * [1, 2, 3]
    start = {
        "weights_init": [0.5, 0.5],
        "means_init": rows[:2],
        "precisions_init": mixture(covariance_type, n_components=2).precisions,
    }
    scale = np.cov(rows.T) / 2 ** (2 / 3)
    shape = {
        "full": scale,
        "tied": scale,
        "diag": np.full(3, np.trace(scale) / 3),
        "spherical": np.trace(scale) / 3,
    }
    settings = {"covariance_type": covariance_type, "reg_covar": 0.0, "max_iter": 200, **start}
    automatic = GaussianMixture(2, **settings, covariance_prior="auto").fit(rows)
    given = GaussianMixture(
        2,
        **settings,
        mean_prior=rows.mean(axis=0),
        mean_precision_prior=0.01,
        degrees_of_freedom_prior=5.0,
        covariance_prior=shape[covariance_type],
    ).fit(rows)
    assert automatic.n_iter_ == given.n_iter_
    assert_allclose(automatic.covariances_, given.covariances_, rtol=1e-9)
    lazy = GaussianMixture(2, **settings, mean_prior="auto").fit(da.from_array(rows, chunks=(90, 3)))
    assert_allclose(lazy.covariances_, automatic.covariances_, rtol=1e-8)


def test_with_holes_restarts_and_acceleration(tmp_path):
    rng = np.random.default_rng(2)
    rows = np.concatenate([rng.normal(size=(200, 3)), rng.normal(size=(200, 3)) + 4])
    holes = np.where(rng.random(rows.shape) < 0.1, np.nan, rows)
    X = da.from_array(holes[~np.isnan(holes).all(axis=1)], chunks=(70, 3))
    settings = {"mean_prior": "auto", "missing": "em", "reg_covar": 0.0, "random_state": 0, "tol": 1e-7}
    plain = GaussianMixture(2, **settings, max_iter=500).fit(X)
    faster = GaussianMixture(2, **settings, max_iter=500, accelerate=True, n_init=3).fit(X)
    assert_allclose(np.sort(faster.means_, axis=0), np.sort(plain.means_, axis=0), atol=1e-2)
    plain.save(tmp_path / "m.gmm")
    assert GaussianMixture.load(tmp_path / "m.gmm").mean_prior == "auto"
    went_on = plain.set_params(warm_start=True, max_iter=1)
    before = went_on.means_.copy()
    assert_allclose(went_on.fit(X).means_, before, atol=1e-3)


def test_selections_with_a_prior():
    rng = np.random.default_rng(3)
    rows = np.concatenate([rng.normal(size=(150, 2)), rng.normal(size=(150, 2)) + 6])
    rows[:40] = rows[0]
    selection = GaussianMixtureIC([1, 2, 3], mean_prior="auto", reg_covar=0.0, random_state=0).fit(rows)
    assert selection.best_estimator_.mean_prior == "auto"
    assert_array_equal(selection.results_["error"], [""] * 3)
