"""Values missing at random: fitted, predicted and filled in, for data of every kind."""

from __future__ import annotations

import re

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import xarray as xr
import zarr
from distributed import Client
from numpy.testing import assert_allclose, assert_array_equal

from dask_gmm import (
    DataError,
    GaussianMixture,
    GaussianMixtureIC,
    from_xarray,
    from_zarr,
    read_parquet,
    write_predictions,
)
from dask_gmm.model.covariance import covariance_types

TYPES = pytest.mark.parametrize("covariance_type", covariance_types())
N, D, NAMES = 900, 4, ["a", "b", "c", "d"]
EM = {"missing": "em", "random_state": 0}


@pytest.fixture(scope="module")
def whole():
    rng = np.random.default_rng(8)
    centres = 5.0 * rng.normal(size=(3, D))
    return centres[rng.integers(3, size=N)] + rng.normal(size=(N, D)) @ (
        np.eye(D) + 0.4 * rng.normal(size=(D, D))
    )


@pytest.fixture(scope="module")
def rows(whole):
    """With 15 % of the values missing, but for one in each row."""
    rng = np.random.default_rng(9)
    holes = rng.random(whole.shape) < 0.15
    holes[holes.all(axis=1), 0] = False
    return np.where(holes, np.nan, whole)


@pytest.fixture(scope="module")
def expected(rows):
    return GaussianMixture(3, **EM).fit(rows)


def as_variables(rows, folder):
    root = zarr.open_group(folder / "g.zarr", mode="w")
    for number, name in enumerate(NAMES):
        array = root.create_array(name, shape=(30, 30), chunks=(11, 30), dtype="f8", fill_value=-99.0)
        array.attrs["_FillValue"] = -99.0
        array[...] = np.nan_to_num(rows[:, number], nan=-99.0).reshape(30, 30)
    return from_zarr(folder / "g.zarr", NAMES)


def as_parquet(rows, folder):
    pd.DataFrame(rows, columns=NAMES).convert_dtypes().to_parquet(folder / "x.parquet", row_group_size=200)
    return folder / "x.parquet"


KINDS = {
    "numpy": lambda rows, folder: rows,
    "masked": lambda rows, folder: np.ma.masked_invalid(rows),
    "pandas": lambda rows, folder: pd.DataFrame(rows, columns=NAMES),
    "nullable": lambda rows, folder: pd.DataFrame(rows, columns=NAMES).astype("Float64"),
    "dask array": lambda rows, folder: da.from_array(rows, chunks=(170, 2)),
    "masked dask array": lambda rows, folder: da.ma.masked_invalid(da.from_array(rows, chunks=(170, 4))),
    "dask frame": lambda rows, folder: dd.from_pandas(pd.DataFrame(rows, columns=NAMES), npartitions=3),
    "parquet nulls": as_parquet,
    "zarr variables": as_variables,
    "xarray": lambda rows, folder: xr.DataArray(rows.reshape(30, 30, D), dims=("y", "x", "f")).chunk(y=7),
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_data(rows, expected, kind, tmp_path):
    X = KINDS[kind](rows, tmp_path)
    gm = GaussianMixture(3, **EM).fit(X)
    assert_allclose(gm.means_, expected.means_, rtol=1e-8, atol=1e-8)
    assert_allclose(gm.covariances_, expected.covariances_, rtol=1e-7, atol=1e-8)
    assert_array_equal(np.asarray(gm.predict(X)).ravel(), expected.predict(rows))
    assert_allclose(np.asarray(gm.score_samples(X)).ravel(), expected.score_samples(rows), rtol=1e-7)
    assert gm.score(X) == pytest.approx(expected.score(rows), rel=1e-9)
    filled = np.asarray(gm.impute(X), dtype=float).reshape(-1, D)
    assert_allclose(filled, expected.impute(rows), rtol=1e-7, atol=1e-7)


@TYPES
def test_nothing_missing_is_the_plain_mixture(whole, covariance_type):
    settings = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    plain = GaussianMixture(**settings).fit(whole)
    ours = GaussianMixture(**settings, missing="em").fit(whole)
    for name in ("weights_", "means_", "covariances_", "lower_bounds_"):
        assert_array_equal(getattr(ours, name), getattr(plain, name))
    assert_array_equal(ours.predict_proba(whole), plain.predict_proba(whole))
    assert ours.bic(whole) == plain.bic(whole)


@TYPES
def test_restarts_share_passes_and_may_be_accelerated(rows, covariance_type):
    X = da.from_array(rows, chunks=(170, 4))
    settings = {"n_components": 3, "covariance_type": covariance_type, **EM, "max_iter": 500}
    alone = GaussianMixture(**settings, tol=1e-8).fit(X)
    many = GaussianMixture(**settings, tol=1e-8, n_init=3).fit(X)
    assert many.lower_bound_ >= alone.lower_bound_ - 1e-6
    faster = GaussianMixture(**settings, tol=1e-8, accelerate=True).fit(X)
    assert faster.lower_bound_ > alone.lower_bound_ - 1e-3
    assert np.diff(alone.lower_bounds_).min() > -1e-6


def test_sampled_starts(rows):
    gm = GaussianMixture(3, **EM, init_params="sample", max_iter=300).fit(
        da.from_array(rows, chunks=(170, 4))
    )
    assert gm.score(rows) > GaussianMixture(1, **EM).fit(rows).score(rows) + 0.5


@TYPES
def test_the_same_bits_on_a_cluster_and_from_a_checkpoint(rows, tmp_path, covariance_type, fit_interrupted):
    zarr.create_array(tmp_path / "x.zarr", data=rows, chunks=(100, 4))
    settings = {"covariance_type": covariance_type, **EM, "tol": 1e-9, "max_iter": 60}

    def fit(**parameters):
        return GaussianMixture(3, **settings, **parameters).fit(tmp_path / "x.zarr")

    on_threads = fit()
    with Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ):
        on_cluster = fit()
    went_on, n_interruptions = fit_interrupted(lambda: fit(checkpoint=tmp_path / "c"), 2)
    assert n_interruptions >= 2
    for other in (on_cluster, went_on):
        for name in ("means_", "covariances_", "weights_", "lower_bounds_"):
            assert_array_equal(getattr(other, name), getattr(on_threads, name))
    went_on.save(tmp_path / "m.gmm")
    loaded = GaussianMixture.load(tmp_path / "m.gmm")
    assert loaded.missing == "em"
    assert_array_equal(loaded.predict(rows), on_threads.predict(rows))


def test_float32_rows(rows, expected):
    gm = GaussianMixture(3, **EM).fit(rows.astype(np.float32))
    assert gm.means_.dtype == np.float32
    assert_allclose(gm.means_, expected.means_, rtol=1e-3, atol=1e-3)
    assert gm.impute(rows.astype(np.float32)).dtype == np.float32


def test_selection(rows):
    selection = GaussianMixtureIC([1, 2, 3, 4], **EM).fit(da.from_array(rows, chunks=(170, 4)))
    assert selection.n_components_ == 3
    assert selection.best_estimator_.missing == "em"


def test_weights_are_repetitions(rows):
    weights = np.random.default_rng(1).integers(0, 3, size=N)
    start = {
        "weights_init": np.full(3, 1 / 3),
        "means_init": rows[~np.isnan(rows).any(axis=1)][:3],
        "precisions_init": np.tile(np.eye(D), (3, 1, 1)),
    }
    one = GaussianMixture(3, **EM, **start).fit(rows, sample_weight=weights)
    other = GaussianMixture(3, **EM, **start).fit(np.repeat(rows, weights, axis=0))
    assert_allclose(one.means_, other.means_, rtol=1e-9)
    assert one.bic(rows, weights) == pytest.approx(other.bic(np.repeat(rows, weights, axis=0)), rel=1e-9)


def test_empty_rows_count_for_nothing(rows, expected):
    more = np.concatenate([rows, np.full((50, D), np.nan)])
    with pytest.warns(UserWarning, match="50 of 950 rows are empty"):
        gm = GaussianMixture(3, **EM, means_init=expected.means_).fit(more)
    same = GaussianMixture(3, **EM, means_init=expected.means_).fit(rows)
    assert_allclose(gm.means_, same.means_, rtol=1e-9)
    assert gm.bic(more) == pytest.approx(gm.bic(rows), rel=1e-12)
    assert_array_equal(gm.score_samples(more)[-50:], 0.0)
    assert_allclose(gm.predict_proba(more)[-1], gm.weights_)
    assert gm.predict(more)[-1] == gm.weights_.argmax()
    assert_allclose(gm.impute(more)[-1], gm.weights_ @ gm.means_)


def test_features_that_are_never_seen_together(whole):
    rows = whole.copy()
    rows[: N // 2, 0] = np.nan
    rows[N // 2 :, 1] = np.nan
    with pytest.warns(UserWarning, match="Never observed together: 'a' and 'b'"):
        GaussianMixture(2, **EM, covariance_type="diag").fit(
            dd.from_pandas(pd.DataFrame(rows, columns=NAMES))
        )


def test_a_feature_that_is_hardly_ever_seen(whole):
    rows = whole.copy()
    rows[5:, 2] = np.nan
    with pytest.warns(UserWarning, match="Feature 2 is observed in less than 1% of the rows"):
        GaussianMixture(2, **EM).fit(rows)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda rows: rows.fill(np.nan), "All 900 rows of X are empty"),
        (lambda rows: rows[:, 2].fill(np.nan), "Feature 2 is missing in every row"),
        (lambda rows: rows[:, 1:3].fill(np.nan), "Feature 1, feature 2 are missing in every row"),
        (lambda rows: rows.__setitem__((17, 1), np.inf), "infinity"),
    ],
)
def test_bad_input_is_named(rows, spoil, message, lazy):
    bad = rows.copy()
    spoil(bad)
    X = da.from_array(bad, chunks=(170, 4)) if lazy else bad
    with pytest.raises(ValueError, match=message):
        GaussianMixture(2, **EM).fit(X)


def test_holes_are_for_those_who_ask(rows, tmp_path):
    with pytest.raises(ValueError, match="NaN"):
        GaussianMixture(2).fit(rows)
    kept = from_zarr(as_zarr(rows, tmp_path), nan="keep")
    with pytest.raises(DataError, match="NaN"):
        GaussianMixture(2).fit(kept)
    assert GaussianMixture(2, **EM).fit(kept).converged_
    with pytest.raises(ValueError, match="set one of them"):
        GaussianMixture(2, missing="em", nan="drop").fit(rows)
    with pytest.raises(ValueError, match="'missing' parameter"):
        GaussianMixture(2, missing="guess").fit(rows)


def as_zarr(rows, folder):
    zarr.create_array(folder / "x.zarr", data=rows, chunks=(170, 4))
    return folder / "x.zarr"


def test_dropping_rows_is_another_thing(rows):
    dropped = GaussianMixture(3, nan="drop", random_state=0).fit(rows)
    complete = sklearn.mixture.GaussianMixture(3, random_state=0).fit(rows[~np.isnan(rows).any(axis=1)])
    assert_allclose(dropped.means_, complete.means_, rtol=1e-9)


# --- filling in --------------------------------------------------------------------------------------------


def test_imputed_data_are_what_was_given(rows, expected, tmp_path):
    filled = expected.impute(rows)
    there = ~np.isnan(rows)
    assert_array_equal(filled[there], rows[there])
    frame = pd.DataFrame(rows, columns=NAMES, index=np.arange(N) + 7).astype({"a": np.float32})
    found = GaussianMixture(3, **EM).fit(frame).impute(frame)
    assert list(found.columns) == NAMES
    assert found.index.equals(frame.index)
    assert found.dtypes.equals(frame.dtypes)
    assert_array_equal(found["b"][frame["b"].notna()], frame["b"][frame["b"].notna()])

    lazy = dd.from_pandas(pd.DataFrame(rows, columns=NAMES), npartitions=3)
    computed = GaussianMixture(3, **EM).fit(lazy).impute(lazy)
    assert isinstance(computed, dd.DataFrame)
    assert list(computed.columns) == NAMES
    assert computed.npartitions == 3

    array = xr.DataArray(
        rows.reshape(30, 30, D).transpose(2, 0, 1),
        dims=("f", "y", "x"),
        coords={"f": NAMES, "y": np.arange(30) * 0.5},
        name="sea",
        attrs={"units": "1"},
    ).chunk(y=7)
    gm = GaussianMixture(3, **EM).fit(from_xarray(array, "f"))
    back = gm.impute(array)
    assert back.dims == array.dims
    assert back.name == "sea"
    assert back.attrs == array.attrs
    assert back.chunks is not None
    assert_array_equal(back.y, array.y)
    assert_allclose(back.values.transpose(1, 2, 0).reshape(-1, D), filled, rtol=1e-7, atol=1e-7)

    data = xr.Dataset({name: (("y", "x"), rows[:, i].reshape(30, 30)) for i, name in enumerate(NAMES)})
    again = GaussianMixture(3, **EM).fit(data).impute(data)
    assert list(again.data_vars) == NAMES
    assert_allclose(again["c"].values.ravel(), filled[:, 2], rtol=1e-7, atol=1e-7)


def test_draws_follow_the_conditional_distribution():
    covariance = np.array([[1.0, 0.8, 0.3], [0.8, 1.0, 0.1], [0.3, 0.1, 1.0]])
    x = np.random.default_rng(0).multivariate_normal(np.zeros(3), covariance, size=20_000)
    gm = GaussianMixture(1, missing="em").fit(x)
    holes = x.copy()
    holes[:, 1] = np.nan
    holes[::2, 2] = np.nan
    drawn = gm.impute(holes, draw=True, random_state=0)
    assert_allclose(np.cov(drawn.T), covariance, atol=0.03)
    assert_allclose(drawn.mean(axis=0), 0.0, atol=0.03)
    assert_array_equal(drawn, gm.impute(holes, draw=True, random_state=0))
    assert (drawn[:, 1] != gm.impute(holes, draw=True, random_state=1)[:, 1]).all()
    assert_array_equal(drawn[:, 0], x[:, 0])


def test_draws_do_not_depend_on_the_chunks(rows, expected, tmp_path):
    found = [
        np.asarray(expected.impute(from_zarr(_chunked(rows, tmp_path, size)), draw=True, random_state=3))
        for size in (100, 900)
    ]
    assert_allclose(*found, rtol=1e-13)


def _chunked(rows, folder, size):
    zarr.create_array(folder / f"{size}.zarr", data=rows, chunks=(size, 4))
    return folder / f"{size}.zarr"


def test_a_missing_column_is_predicted(whole):
    gm = GaussianMixture(3, random_state=0).fit(whole)
    known = whole.copy()
    known[:, 3] = np.nan
    predicted = gm.impute(known)[:, 3]
    assert np.corrcoef(predicted, whole[:, 3])[0, 1] > 0.7


@TYPES
def test_marginal_and_conditional_mixtures(whole, covariance_type):
    frame = pd.DataFrame(whole, columns=NAMES)
    gm = GaussianMixture(3, covariance_type=covariance_type, random_state=0).fit(frame)
    part = gm.marginal(["d", "a"])
    assert list(part.feature_names_in_) == ["d", "a"]
    holes = whole.copy()
    holes[:, [1, 2]] = np.nan
    seen = GaussianMixture(3, covariance_type=covariance_type, missing="em", random_state=0).fit(frame)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        setattr(seen, name, getattr(gm, name))
    expected = seen.score_samples(pd.DataFrame(holes, columns=NAMES))
    assert_allclose(part.score_samples(frame[["d", "a"]]), expected, rtol=1e-9)
    value = {"b": 0.5, "d": -1.0}
    rest = gm.condition(value)
    points = frame[["a", "c"]][:50]
    joint = points.assign(b=0.5, d=-1.0)[NAMES]
    given = gm.marginal(["b", "d"]).score_samples(pd.DataFrame([value]))
    assert_allclose(rest.score_samples(points), gm.score_samples(joint) - given, rtol=1e-8)
    assert rest.sample(5)[0].shape == (5, 2)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda gm: gm.marginal([]), "at least one"),
        (lambda gm: gm.marginal([0, 0]), "once"),
        (lambda gm: gm.marginal([4]), "no feature 4"),
        (lambda gm: gm.marginal(["z"]), "no feature 'z'"),
        (lambda gm: gm.condition(dict.fromkeys(range(4), 0.0)), "nothing is left"),
        (lambda gm: gm.condition({0: np.nan}), "finite"),
    ],
)
def test_features_are_checked(expected, call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call(expected)


@pytest.mark.parametrize("ending", ["zarr", "parquet"])
def test_imputed_rows_are_written(rows, expected, ending, tmp_path):
    source = read_parquet(as_parquet(rows, tmp_path), nan="keep")
    gm = GaussianMixture(3, **EM).fit(source)
    target = tmp_path / f"filled.{ending}"
    write_predictions(gm, source, target, ["imputed", "labels"])
    if ending == "parquet":
        found = pd.read_parquet(target)
    else:
        group = zarr.open_group(target)
        found = pd.DataFrame({name: group[name][:] for name in [*NAMES, "labels"]})
    assert_allclose(found[NAMES], expected.impute(rows), rtol=1e-7, atol=1e-7)
    assert_array_equal(found["labels"], expected.predict(rows))


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("unit", [1e-140, 1e140])
@TYPES
def test_any_unit_of_the_rows(covariance_type, unit):
    """Variances and their inverses may be anything that float64 holds, however many values are missing."""
    rng = np.random.default_rng(0)
    mixed = rng.normal(size=(1500, 9)) @ (np.eye(9) + rng.normal(size=(9, 9)) / 3.0)
    rows = mixed + 4.0 * rng.integers(2, size=(1500, 1))
    rows[rng.random(rows.shape) < 0.75] = np.nan
    rows = rows[~np.isnan(rows).all(axis=1)]
    options = {**EM, "covariance_type": covariance_type, "reg_covar": 0.0, "max_iter": 5}
    fitted, other = GaussianMixture(2, **options).fit(rows), GaussianMixture(2, **options).fit(unit * rows)
    seen = np.count_nonzero(~np.isnan(rows)) / len(rows)
    assert other.lower_bound_ + seen * np.log(unit) == pytest.approx(fitted.lower_bound_, rel=1e-9)
    assert_allclose(other.means_ / unit, fitted.means_, rtol=1e-7, atol=1e-9)
