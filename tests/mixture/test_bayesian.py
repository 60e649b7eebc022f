"""BayesianGaussianMixture gives scikit-learn's answers, on data of every kind."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import zarr
from click.testing import CliRunner
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from dask_gmm import BayesianGaussianMixture, GaussianMixture, ModelFileError, read_parquet
from dask_gmm.cli.commands import gmm as command
from dask_gmm.model.covariance import conjugate_types

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
TYPES = pytest.mark.parametrize("covariance_type", conjugate_types())
PRIORS = pytest.mark.parametrize("prior", ["dirichlet_process", "dirichlet_distribution"])
POSTERIOR = (
    *("weights_", "means_", "covariances_", "precisions_cholesky_", "degrees_of_freedom_", "mean_precision_"),
    *("mean_prior_", "covariance_prior_", "weight_concentration_prior_", "degrees_of_freedom_prior_"),
)


@parametrize_with_checks([BayesianGaussianMixture()])
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    parts = [
        rng.normal(size=(150, 3)) @ (np.eye(3) + 0.3 * rng.normal(size=(3, 3))) + 4 * k for k in range(3)
    ]
    return rng.permutation(np.concatenate(parts))


def assert_same(ours, theirs, rtol=1e-9):
    assert ours.n_iter_ == theirs.n_iter_
    for name in POSTERIOR:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=rtol, atol=1e-10, err_msg=name)
    concentration = np.array(ours.weight_concentration_), np.array(theirs.weight_concentration_)
    assert_allclose(*concentration, rtol=rtol)
    assert_allclose(ours.lower_bound_, np.ravel(theirs.lower_bound_)[0], rtol=1e-10)


@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
@PRIORS
@TYPES
def test_scikit_learns_answers(rows, covariance_type, prior, init_params):
    settings = {
        "n_components": 5,
        "covariance_type": covariance_type,
        "weight_concentration_prior_type": prior,
        "init_params": init_params,
        "random_state": 3,
        "n_init": 2,
        "max_iter": 40,
    }
    theirs = sklearn.mixture.BayesianGaussianMixture(**settings).fit(rows)
    ours = BayesianGaussianMixture(**settings).fit(rows)
    assert_same(ours, theirs)
    assert_array_equal(ours.predict(rows), theirs.predict(rows))
    assert_allclose(ours.predict_proba(rows), theirs.predict_proba(rows), atol=1e-10)
    assert_allclose(ours.score_samples(rows), theirs.score_samples(rows), rtol=1e-10)
    assert_array_equal(ours.to_sklearn().predict(rows), theirs.predict(rows))


@TYPES
def test_given_priors(rows, covariance_type):
    settings = {
        "n_components": 4,
        "covariance_type": covariance_type,
        "weight_concentration_prior": 0.01,
        "mean_prior": [1.0, 2.0, 3.0],
        "mean_precision_prior": 0.5,
        "degrees_of_freedom_prior": 7.5,
        "covariance_prior": {"full": np.eye(3), "tied": np.eye(3), "diag": np.ones(3), "spherical": 2.0}[
            covariance_type
        ],
        "random_state": 0,
    }
    theirs = sklearn.mixture.BayesianGaussianMixture(**settings).fit(rows)
    assert_same(BayesianGaussianMixture(**settings).fit(rows), theirs)


def test_going_on_from_the_last_fit(rows):
    both = []
    for kind in (BayesianGaussianMixture, sklearn.mixture.BayesianGaussianMixture):
        model = kind(n_components=4, warm_start=True, max_iter=3, random_state=0)
        both.append(model.fit(rows).fit(rows).fit(rows))
    assert_same(*both)
    ours = BayesianGaussianMixture(n_components=4, warm_start=True, max_iter=3, random_state=0, tol=0)
    ours.fit(rows).fit(rows).fit(rows)
    lazy = BayesianGaussianMixture(n_components=4, warm_start=True, max_iter=3, random_state=0, tol=0)
    X = da.from_array(rows, chunks=(100, 3))
    assert_allclose(lazy.fit(X).fit(X).fit(X).means_, ours.means_, rtol=1e-8)


def as_parquet(rows, folder):
    pd.DataFrame(rows, columns=list("abc")).to_parquet(folder / "x.parquet", row_group_size=120)
    return read_parquet(folder / "x.parquet")


def as_zarr(rows, folder):
    zarr.create_array(folder / "x.zarr", data=rows, chunks=(100, 3))
    return folder / "x.zarr"


@pytest.mark.parametrize(
    "kind", [as_parquet, as_zarr, lambda rows, folder: da.from_array(rows, chunks=(77, 2))]
)
@TYPES
def test_every_kind_of_data(rows, covariance_type, kind, tmp_path):
    settings = {"n_components": 4, "covariance_type": covariance_type, "random_state": 0, "max_iter": 30}
    theirs = sklearn.mixture.BayesianGaussianMixture(**settings, tol=0).fit(rows)
    ours = BayesianGaussianMixture(**settings, tol=0).fit(kind(rows, tmp_path))
    for name in POSTERIOR:
        assert_allclose(getattr(ours, name), getattr(theirs, name), rtol=1e-7, atol=1e-8, err_msg=name)
    # The bound is per row there.
    assert_allclose(ours.lower_bound_ * len(rows), np.ravel(theirs.lower_bound_)[0], rtol=1e-9)
    assert np.diff(ours.lower_bounds_).min() > -1e-9


def test_an_offset_costs_no_digits(rows):
    near = BayesianGaussianMixture(n_components=3, random_state=0).fit(np.round(rows * 2**20) / 2**20)
    far = BayesianGaussianMixture(n_components=3, random_state=0).fit(
        np.round(rows * 2**20) / 2**20 + 2.0**27
    )
    assert_allclose(far.covariances_, near.covariances_, rtol=1e-6, atol=1e-6)


def test_the_same_bits_on_a_cluster_and_after_a_stop(rows, tmp_path, fit_interrupted):
    path = as_zarr(rows, tmp_path)
    settings = {"n_components": 4, "random_state": 0}
    on_threads = BayesianGaussianMixture(**settings).fit(path)
    with Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ):
        on_cluster = BayesianGaussianMixture(**settings).fit(path)
    interrupted, n_deaths = fit_interrupted(
        lambda: BayesianGaussianMixture(**settings, checkpoint=tmp_path / "c").fit(path), 2
    )
    assert n_deaths > 0
    for other in (on_cluster, interrupted):
        for name in POSTERIOR:
            assert_array_equal(getattr(other, name), getattr(on_threads, name))


def test_holes_weights_and_files(rows, tmp_path):
    holes = np.where(np.random.default_rng(1).random(rows.shape) < 0.1, np.nan, rows)
    told = ~np.isnan(holes).all(axis=1)
    bgm = BayesianGaussianMixture(n_components=4, missing="em", random_state=0, max_iter=300).fit(holes[told])
    assert bgm.n_effective_components_ >= 3
    bgm.save(tmp_path / "b.gmm")
    loaded = BayesianGaussianMixture.load(tmp_path / "b.gmm")
    assert_array_equal(loaded.predict_proba(rows), bgm.predict_proba(rows))
    assert isinstance(loaded.weight_concentration_, tuple)
    assert loaded.get_params() == bgm.get_params()
    with pytest.raises(ModelFileError, match="holds a BayesianGaussianMixture"):
        GaussianMixture.load(tmp_path / "b.gmm")
    weights = np.random.default_rng(2).integers(1, 3, size=len(rows))
    one = BayesianGaussianMixture(n_components=3, random_state=0, tol=0, max_iter=100)
    other = BayesianGaussianMixture(n_components=3, random_state=0, tol=0, max_iter=100)
    one.fit(rows, sample_weight=weights)
    other.fit(np.repeat(rows, weights, axis=0))
    assert_allclose(np.sort(one.weights_), np.sort(other.weights_), rtol=1e-6)


def test_from_the_shell(rows, tmp_path):
    model = tmp_path / "b.gmm"
    arguments = [
        "fit",
        str(as_zarr(rows, tmp_path)),
        "--n-components",
        "4",
        "--out",
        str(model),
        "--bayesian",
    ]
    done = CliRunner().invoke(command, [*arguments, "--random-state", "0", "--n-workers", "0"])
    assert done.exit_code == 0, done.stderr
    expected = BayesianGaussianMixture(n_components=4, random_state=0).fit(tmp_path / "x.zarr")
    assert_array_equal(BayesianGaussianMixture.load(model).means_, expected.means_)
    out = tmp_path / "labels.parquet"
    done = CliRunner().invoke(
        command, ["predict", str(tmp_path / "x.zarr"), str(model), str(out), "--n-workers", "0"]
    )
    assert done.exit_code == 0, done.stderr
    assert_array_equal(pd.read_parquet(out)["labels"], expected.predict(rows))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"degrees_of_freedom_prior": 1.0}, "should be greater than 2, but got 1.000"),
        ({"mean_prior": [0.0, 1.0]}, "'means' should have the shape of"),
        ({"covariance_prior": np.eye(2)}, "'full covariance_prior' should have the shape of"),
        ({"covariance_prior": -np.eye(3)}, "'full precision' should be symmetric, positive-definite"),
        ({"weight_concentration_prior": 0.0}, "weight_concentration_prior"),
    ],
)
def test_bad_priors_are_refused(rows, parameters, message):
    with pytest.raises(ValueError, match=message):
        BayesianGaussianMixture(n_components=2, **parameters).fit(rows)
