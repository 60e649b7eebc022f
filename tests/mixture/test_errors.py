"""Values measured with known errors: fitted, predicted and denoised, for data of every kind."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr
from click.testing import CliRunner
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal

from dask_gmm import DataError, GaussianMixture, from_zarr, read_parquet
from dask_gmm.cli.commands import gmm as command
from dask_gmm.model.covariance import covariance_types

N, D, NAMES = 1200, 3, ["a", "b", "c"]
ERRORS = ["a_error", "b_error", "c_error"]


@pytest.fixture(scope="module")
def truth():
    rng = np.random.default_rng(3)
    return np.array([[0.0, 0, 0], [3, 2, 1]])[rng.integers(2, size=N)] + rng.normal(size=(N, D)) * [
        0.5,
        0.3,
        0.4,
    ]


@pytest.fixture(scope="module")
def errors():
    return np.random.default_rng(4).uniform(0.2, 1.0, size=(N, D))


@pytest.fixture(scope="module")
def rows(truth, errors):
    return truth + errors * np.random.default_rng(5).normal(size=(N, D))


@pytest.fixture(scope="module")
def expected(rows, errors):
    return GaussianMixture(2, random_state=0).fit(rows, X_err=errors)


def in_parquet(rows, errors, folder):
    frame = pd.DataFrame(np.hstack([rows, errors]), columns=[*NAMES, *ERRORS])
    frame.assign(ab=0.0).to_parquet(folder / "x.parquet", row_group_size=300)
    return folder / "x.parquet"


def in_zarr(values, path):
    zarr.create_array(path, data=values, chunks=(250, D))
    return path


def frame(values, names):
    return dd.from_pandas(pd.DataFrame(values, columns=names), npartitions=3)


KINDS = {
    "pandas": lambda x, e, f: (pd.DataFrame(x, columns=NAMES), pd.DataFrame(e, columns=ERRORS)),
    "dask array": lambda x, e, f: (da.from_array(x, chunks=(250, 2)), da.from_array(e, chunks=(400, 3))),
    "dask and numpy": lambda x, e, f: (da.from_array(x, chunks=(250, 3)), e),
    "dask frame": lambda x, e, f: (frame(x, NAMES), frame(e, ERRORS)),
    "zarr": lambda x, e, f: (in_zarr(x, f / "x.zarr"), in_zarr(e, f / "e.zarr")),
    "parquet": lambda x, e, f: (read_parquet(in_parquet(x, e, f), NAMES, errors=ERRORS), None),
    "xarray": lambda x, e, f: tuple(xr.DataArray(v.reshape(30, 40, D), dims=("y", "x", "f")) for v in (x, e)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data(rows, errors, expected, kind, tmp_path):
    X, X_err = KINDS[kind](rows, errors, tmp_path)
    gm = GaussianMixture(2, random_state=0).fit(X, X_err=X_err)
    assert_allclose(gm.means_, expected.means_, rtol=1e-9, atol=1e-9)
    assert_allclose(gm.covariances_, expected.covariances_, rtol=1e-8, atol=1e-9)
    labels = gm.predict(X, X_err=X_err)
    assert_array_equal(np.asarray(labels).ravel(), expected.predict(rows, X_err=errors))
    if kind == "xarray":
        assert labels.dims == ("y", "x")
    assert gm.score(X, X_err=X_err) == pytest.approx(expected.score(rows, X_err=errors), rel=1e-10)
    clean = np.asarray(gm.denoise(X, X_err=X_err)).reshape(-1, D)
    assert_allclose(clean, expected.denoise(rows, X_err=errors), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_the_truth_is_recovered(truth, rows, errors, covariance_type):
    settings = {"covariance_type": covariance_type, "random_state": 0, "tol": 1e-6, "max_iter": 1000}
    goal = GaussianMixture(2, **settings).fit(truth)
    ours = GaussianMixture(2, **settings).fit(rows, X_err=errors)
    ignoring = GaussianMixture(2, **settings).fit(rows)
    assert np.abs(ours.covariances_ - goal.covariances_).max() < 0.08
    assert np.abs(ignoring.covariances_ - goal.covariances_).max() > 0.3
    assert np.diff(ours.lower_bounds_).min() > -1e-5


def test_zero_errors_are_the_plain_mixture(rows):
    plain = GaussianMixture(2, random_state=0).fit(rows)
    ours = GaussianMixture(2, random_state=0).fit(rows, X_err=np.zeros_like(rows))
    assert_array_equal(ours.means_, plain.means_)
    assert_array_equal(ours.covariances_, plain.covariances_)
    assert_array_equal(ours.predict_proba(rows, X_err=np.zeros_like(rows)), plain.predict_proba(rows))


def test_infinite_errors_are_missing_values(rows, errors):
    holes = rows.copy()
    holes[np.random.default_rng(6).random(rows.shape) < 0.1] = np.nan
    told = ~np.isnan(holes).all(axis=1)
    holes, own = holes[told], errors[told]
    one = GaussianMixture(2, random_state=0, missing="em").fit(holes, X_err=own)
    infinite = np.where(np.isnan(holes), np.inf, own)
    other = GaussianMixture(2, random_state=0).fit(np.nan_to_num(holes, nan=7.0), X_err=infinite)
    assert_allclose(other.means_, one.means_, rtol=1e-10)


def test_correlated_errors(truth, errors):
    rng = np.random.default_rng(7)
    rho = rng.uniform(-0.8, 0.8, size=N)
    noise = rng.normal(size=(N, D))
    noise[:, 1] = rho * noise[:, 0] + np.sqrt(1 - rho**2) * noise[:, 1]
    X = truth + errors * noise
    one = GaussianMixture(2, random_state=0).fit(X, X_err=errors, X_corr={(0, 1): rho})
    named = GaussianMixture(2, random_state=0).fit(
        pd.DataFrame(X, columns=NAMES), X_err=errors, X_corr={(1, 0): rho}
    )
    assert_array_equal(named.means_, one.means_)
    lazy = GaussianMixture(2, random_state=0).fit(
        da.from_array(X, chunks=(250, 3)), X_err=errors, X_corr={(0, 1): da.from_array(rho, chunks=100)}
    )
    assert_allclose(lazy.covariances_, one.covariances_, rtol=1e-8, atol=1e-9)
    without = GaussianMixture(2, random_state=0).fit(X, X_err=errors)
    assert one.score(X, X_err=errors, X_corr={(0, 1): rho}) > without.score(X, X_err=errors)


def test_weights_and_chunks_of_a_cluster(rows, errors, tmp_path, fit_interrupted):
    path = in_parquet(rows, errors, tmp_path)
    source = read_parquet(path, NAMES, errors=ERRORS, correlations={("a", "b"): "ab"})
    weights = np.random.default_rng(1).uniform(size=N)
    on_threads = GaussianMixture(2, random_state=0).fit(source, sample_weight=weights)
    in_memory = GaussianMixture(2, random_state=0).fit(rows, sample_weight=weights, X_err=errors)
    assert_allclose(on_threads.means_, in_memory.means_, rtol=1e-9)
    with Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ):
        on_cluster = GaussianMixture(2, random_state=0).fit(source, sample_weight=weights)
    assert_array_equal(on_cluster.means_, on_threads.means_)
    settings = {"random_state": 0, "checkpoint": tmp_path / "c"}
    went_on, n_interruptions = fit_interrupted(
        lambda: GaussianMixture(2, **settings).fit(source, sample_weight=weights), 3
    )
    assert n_interruptions > 1
    assert_array_equal(went_on.means_, on_threads.means_)
    assert_array_equal(went_on.covariances_, on_threads.covariances_)


def test_zarr_variables_with_errors(rows, errors, expected, tmp_path):
    root = zarr.open_group(tmp_path / "g.zarr", mode="w")
    for name, values in zip([*NAMES, *ERRORS], np.hstack([rows, errors]).T, strict=True):
        root.create_array(name, data=values.reshape(30, 40), chunks=(7, 40))
    source = from_zarr(tmp_path / "g.zarr", NAMES, errors=ERRORS)
    gm = GaussianMixture(2, random_state=0).fit(source)
    assert_allclose(gm.means_, expected.means_, rtol=1e-9)
    assert gm.predict(source).shape == (30, 40)


def test_from_the_shell(rows, errors, expected, tmp_path):
    path, model = in_parquet(rows, errors, tmp_path), tmp_path / "m.gmm"
    columns = [item for name in NAMES for item in ("--column", name)]
    own = [item for name in ERRORS for item in ("--error-column", name)]
    where = ["--n-workers", "0"]
    told = CliRunner().invoke(
        command,
        [
            "fit",
            str(path),
            "--n-components",
            "2",
            "--random-state",
            "0",
            "--out",
            str(model),
            *columns,
            *own,
            *where,
        ],
    )
    assert told.exit_code == 0, told.stderr
    assert_allclose(GaussianMixture.load(model).means_, expected.means_, rtol=1e-9)
    told = CliRunner().invoke(command, ["score", str(path), str(model), *columns, *own, *where])
    assert told.exit_code == 0, told.stderr
    assert float(told.stdout.split('"score": ')[1].split(",")[0]) == pytest.approx(
        expected.score(rows, X_err=errors), rel=1e-9
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("spoil", "correlation", "message"),
    [
        ((17, 1, -0.5), None, "standard error of feature 1 is -0.5 beside a value, in row 17"),
        ((17, 1, np.nan), None, "standard error of feature 1 is nan beside a value, in row 17"),
        (None, 1.5, "correlation between the errors of features 0 and 1 is 1.5 in row 0"),
    ],
)
def test_bad_errors_are_named(rows, errors, spoil, correlation, message, lazy):
    own = errors.copy()
    if spoil is not None:
        own[spoil[0], spoil[1]] = spoil[2]
    X_corr = None if correlation is None else {(0, 1): np.full(N, correlation)}
    X = da.from_array(rows, chunks=(250, 3)) if lazy else rows
    with pytest.raises(DataError, match=message):
        GaussianMixture(2).fit(X, X_err=own, X_corr=X_corr)


@pytest.mark.parametrize("kind", ["dask array", "parquet", "dask frame"])
def test_bad_errors_are_named_by_lazy_predictions(rows, errors, expected, kind, tmp_path):
    own = errors.copy()
    own[17, 1] = -0.5
    X, X_err = KINDS[kind](rows, own, tmp_path)
    for predicted in (expected.predict(X, X_err=X_err), expected.denoise(X, X_err=X_err)):
        with pytest.raises(DataError, match=r"standard error of feature 1 is -0.5 beside a value, in row 17"):
            np.asarray(predicted)


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_of_infinite_errors(rows, errors, expected, kind, tmp_path):
    own = np.where(np.random.default_rng(6).random(rows.shape) < 0.3, np.inf, errors)
    own[5] = np.inf
    X, X_err = KINDS[kind](rows, own, tmp_path)
    found = np.asarray(expected.score_samples(X, X_err=X_err)).ravel()
    assert_allclose(found, expected.score_samples(rows, X_err=own), rtol=1e-10)
    holes = np.where(np.isinf(own), np.nan, rows)
    clean = np.asarray(expected.denoise(X, X_err=X_err)).reshape(-1, D)
    assert_allclose(clean, expected.denoise(holes, X_err=own), rtol=1e-10)
    assert_allclose(clean[5], expected.weights_ @ expected.means_)


def test_rows_with_holes_are_left_out_of_lazy_predictions(rows, errors, expected, tmp_path):
    holes = rows.copy()
    holes[::7, 1] = np.nan
    source = read_parquet(in_parquet(holes, errors, tmp_path), NAMES, errors=ERRORS, nan="drop")
    labels = np.asarray(expected.predict(source))
    assert_array_equal(labels[::7], -1)
    assert_array_equal(
        np.delete(labels, np.s_[::7]), expected.predict(rows, X_err=errors)[np.arange(N) % 7 > 0]
    )


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("feature", [1, slice(None)])
def test_infinite_errors_that_leave_nothing(rows, errors, feature, lazy):
    own = errors.copy()
    own[:, feature] = np.inf
    X = da.from_array(rows, chunks=(250, 3)) if lazy else rows
    message = "Feature 1 is missing in every row" if feature == 1 else "All 1200 rows of X are empty"
    with pytest.raises(DataError, match=message):
        GaussianMixture(2).fit(X, X_err=own)


def test_correlations_that_cannot_be_true_together(rows, errors):
    rho = {pair: np.full(N, -0.9) for pair in ((0, 1), (1, 2), (0, 2))}
    with pytest.raises(DataError, match="cannot be true together"):
        GaussianMixture(2).fit(rows, X_err=errors, X_corr=rho)


@pytest.mark.parametrize("lazy", [False, True])
def test_other_shapes_are_refused(rows, errors, lazy):
    X = da.from_array(rows, chunks=(250, 3)) if lazy else rows
    with pytest.raises(DataError, match="shape"):
        GaussianMixture(2).fit(X, X_err=errors[:-1])
    with pytest.raises(DataError, match="shape"):
        GaussianMixture(2).fit(X, X_err=errors[:, :2])
    with pytest.raises(ValueError, match="give X_err, too"):
        GaussianMixture(2).fit(X, X_corr={(0, 1): np.zeros(N)})
    with pytest.raises(ValueError, match="no feature"):
        GaussianMixture(2).fit(X, X_err=errors, X_corr={(0, 5): np.zeros(N)})
    with pytest.raises(ValueError, match="one feature"):
        GaussianMixture(2).fit(X, X_err=errors, X_corr={(1, 1): np.zeros(N)})
    with pytest.raises(DataError, match=r"give X_corr\[\('a', 'b'\)\] as a Series"):
        GaussianMixture(2).fit(
            frame(rows, NAMES), X_err=frame(errors, ERRORS), X_corr={("a", "b"): np.zeros(N)}
        )


def test_the_mixture_is_of_true_values(expected, rows, errors):
    drawn, _ = expected.sample(5000)
    assert drawn.std(axis=0)[1] < rows.std(axis=0)[1]
    clean = expected.denoise(rows, X_err=errors)
    assert clean.shape == rows.shape
