"""Rows that are added to a fitted mixture: EM's step on all rows, and the old ones are not read."""

from __future__ import annotations

import logging
import pickle
from collections import Counter
from dataclasses import replace

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import Client, LocalCluster
from scipy.special import softmax
from sklearn.exceptions import ConvergenceWarning, NotFittedError
from zarr.storage import LocalStore, WrapperStore

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.errors import DataError, ModelFileError
from dask_gmm.mixture import sums_file
from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.kept_statistics import recentred
from dask_gmm.model.mstep import maximize
from dask_gmm.preprocessing import StandardScaler, load_pipeline, save_pipeline
from dask_gmm.storage.container import pack, unpack
from tests.model.mixtures import log_joint

OLD = 1500
TYPES = covariance_types()


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0, 0.0], [2.0, 1.0, 0.0], [0.0, 3.0, 1.0]])
    # Far from zero, where sums about another origin would cancel.
    return 100.0 + centres[rng.integers(3, size=2500)] + rng.normal(size=(2500, 3)) * [1.0, 0.5, 2.0]


@pytest.fixture(scope="module")
def weights():
    return np.random.default_rng(1).uniform(0.1, 3.0, size=2500)


def fitted(rows, covariance_type="full", sample_weight=None, **options):
    options = {"random_state": 0, "max_iter": 5, "tol": 0, **options}
    with pytest.warns(ConvergenceWarning):
        return GaussianMixture(3, covariance_type=covariance_type, **options).fit(
            rows, sample_weight=sample_weight
        )


def em_step(parameters, rows, covariance_type="full", sample_weight=None, **options):
    """Fit one iteration from these parameters to all rows."""
    with pytest.warns(ConvergenceWarning):
        return GaussianMixture(
            3,
            covariance_type=covariance_type,
            max_iter=1,
            weights_init=parameters.weights / parameters.weights.sum(),
            means_init=parameters.means,
            precisions_init=parameters.precisions,
            **options,
        ).fit(rows, sample_weight=sample_weight)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_an_update_is_ems_step_on_all_rows(rows, weights, assert_same_model, covariance_type, weighted):
    old, new = (weights[:OLD], weights[OLD:]) if weighted else (None, None)
    gm = fitted(rows[:OLD], covariance_type, old)
    parameters, before = gm.statistics_.parameters, gm.means_.copy()
    assert gm.update(rows[OLD:], sample_weight=new) is gm
    expected = em_step(parameters, rows, covariance_type, weights if weighted else None)
    assert_same_model(gm, expected, rtol=1e-12)
    assert gm.lower_bound_ == pytest.approx(expected.lower_bound_, rel=1e-12)
    assert np.abs(gm.means_ - before).max() > 1e-4
    totals = gm.statistics_.statistics.totals
    assert totals.n_rows == len(rows)
    assert totals.weight == pytest.approx(weights.sum() if weighted else len(rows), rel=1e-12)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_ten_updates_are_one_step_too(rows, weights, assert_same_model, covariance_type):
    gm = fitted(rows[:OLD], covariance_type, weights[:OLD])
    parameters = gm.statistics_.parameters
    for part, own in zip(np.split(rows[OLD:], 10), np.split(weights[OLD:], 10), strict=True):
        gm.update(part, sample_weight=own)
    assert_same_model(gm, em_step(parameters, rows, covariance_type, weights), rtol=1e-12)


def test_an_update_without_reg_covar_of_one_row(rows, assert_same_model):
    gm = fitted(rows[:-1], reg_covar=0.0)
    parameters = gm.statistics_.parameters
    gm.update(rows[-1:])
    assert_same_model(gm, em_step(parameters, rows, reg_covar=0.0), rtol=1e-12)


def accelerated(rows, max_iter):
    with pytest.warns(ConvergenceWarning):
        return GaussianMixture(4, random_state=1, tol=0, max_iter=max_iter, accelerate=True).fit(rows)


def test_what_is_kept_makes_the_fitted_mixture(rows):
    steps = accelerated(rows, 40).history_.to_dicts()
    undone = [step["iteration"] for step in steps if step["rejected"]]
    assert undone
    # Wherever a fit stops: before it is accelerated, at a step of L-BFGS, and at one that is undone.
    for max_iter in (1, 7, undone[0] - 1, *undone[:3]):
        gm = accelerated(rows, max_iter)
        again = em_step_of_kept(gm)
        np.testing.assert_allclose(again.means, gm.means_, rtol=1e-13)
        np.testing.assert_allclose(again.covariances, gm.covariances_, rtol=1e-12)


def em_step_of_kept(gm):
    kept = gm.statistics_
    return maximize(kept.parameters, kept.statistics, kept.origins, reg_covar=1e-6, dtype=np.dtype("f8"))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_sums_about_other_origins(rows, covariance_type):
    gm = fitted(rows, covariance_type)
    kept = gm.statistics_
    there = kept.origins + np.random.default_rng(3).normal(size=kept.origins.shape)
    structure, factors = kept.parameters.structure, kept.parameters.precisions_cholesky
    moved = recentred(kept.statistics, kept.parameters, kept.origins, there)
    # By the definition, from the rows and their responsibilities.
    resp = softmax(log_joint(kept.parameters, rows), axis=1)
    second = np.zeros_like(kept.statistics.second)
    for k in range(3):
        structure.add_second(second, rows - there[k], resp[:, k], k, factors)
        np.testing.assert_allclose(moved.first[k], resp[:, k] @ (rows - there[k]), atol=1e-8)
    np.testing.assert_allclose(moved.second, second, atol=1e-8)


class CountingStore(WrapperStore[LocalStore]):
    """Counts the chunks that are read."""

    def __init__(self, store):
        super().__init__(store)
        self.reads = Counter()

    async def get(self, key, prototype, byte_range=None):
        if not key.endswith(".json"):
            self.reads[key] += 1
        return await super().get(key, prototype, byte_range)


@pytest.fixture
def counted(tmp_path):
    def store(name, rows):
        array = zarr.create_array(tmp_path / name, shape=rows.shape, chunks=(100, 3), dtype="f8")
        array[...] = rows
        return CountingStore(LocalStore(tmp_path / name, read_only=True))

    return store


@pytest.mark.parametrize("passes", [1, 3])
def test_old_rows_are_not_read(rows, counted, passes):
    old, new = counted("old.zarr", rows[:OLD]), counted("new.zarr", rows[OLD:])
    gm, X = fitted(zarr.open_array(old, mode="r")), zarr.open_array(new, mode="r")
    old.reads.clear()
    new.reads.clear()
    gm.update(X, passes=passes)
    assert not old.reads
    assert len(new.reads) == 10
    assert set(new.reads.values()) == {passes}


def test_further_passes_follow_new_rows(rows):
    # Two blocks, the old one as it was: each pass is closer to what EM on all rows would find.
    drifted = rows[OLD:] + np.array([1.0, 0.0, 0.5])
    bounds = []
    for passes in (1, 3, 10):
        gm = fitted(rows[:OLD], max_iter=50).update(drifted, passes=passes)
        bounds.append(gm.score(np.concatenate([rows[:OLD], drifted])))
    assert bounds[0] < bounds[1] < bounds[2]
    with pytest.raises(ValueError, match="passes must be an integer of at least 1"):
        gm.update(drifted, passes=0)


def test_updates_after_more_passes_begin_where_the_last_pass_was(rows):
    gm = fitted(rows[:OLD])
    first = fitted(rows[:OLD]).update(rows[OLD:2000])
    gm.update(rows[OLD:2000], passes=2)
    np.testing.assert_allclose(gm.statistics_.parameters.means, first.means_, rtol=1e-14)
    # The old sums stayed, the new ones were counted once.
    assert gm.statistics_.statistics.totals.n_rows == 2000
    assert gm.statistics_.statistics.nk.sum() == pytest.approx(2000, rel=1e-12)


def test_the_drift(rows, caplog):
    gm = fitted(rows[:OLD], max_iter=50)
    kept = gm.statistics_
    with caplog.at_level(logging.INFO, logger="dask_gmm"):
        gm.update(rows[OLD:])
    note = gm.update_
    assert (note.n_rows, note.weight) == (1000, 1000.0)
    assert note.log_likelihood_before == kept.statistics.mean_log_likelihood
    assert abs(note.drift) < 0.2
    assert str(note) in caplog.text
    far = fitted(rows[:OLD], max_iter=50).update(rows[OLD:] + 3.0).update_
    assert far.drift == far.log_likelihood - far.log_likelihood_before < -1.0


@pytest.mark.parametrize(
    "kind",
    [
        lambda part: da.from_array(part, chunks=(300, 3)),
        lambda part: pd.DataFrame(part, columns=["a", "b", "c"]),
    ],
    ids=["dask", "pandas"],
)
def test_every_kind_of_data(rows, assert_same_model, kind):
    gm = fitted(kind(rows[:OLD]))
    parameters = gm.statistics_.parameters
    gm.update(kind(rows[OLD:]))
    assert_same_model(gm, em_step(parameters, rows), rtol=1e-12)
    assert hasattr(gm, "feature_names_in_") == isinstance(kind(rows[:2]), pd.DataFrame)


def test_float32_stays_float32(rows):
    gm = fitted(rows[:OLD].astype("f4")).update(rows[OLD:])
    assert {getattr(gm, name).dtype for name in ("weights_", "means_", "covariances_")} == {np.dtype("f4")}
    assert gm.statistics_.statistics.second.dtype == np.float64


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_missing_values_and_errors(rows, assert_same_model, covariance_type):
    holes = rows.copy()
    holes[np.random.default_rng(5).random(rows.shape) < 0.1] = np.nan
    gm = fitted(holes[:OLD], covariance_type, missing="em")
    parameters = gm.statistics_.parameters
    gm.update(holes[OLD:])
    assert_same_model(gm, em_step(parameters, holes, covariance_type, missing="em"), rtol=1e-12)


@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_missing_values_whose_sums_do_not_add_up(rows, covariance_type):
    holes = rows.copy()
    holes[::7, 1] = np.nan
    with pytest.raises(ValueError, match="missing values with covariance_type='diag' or 'spherical'"):
        fitted(holes, covariance_type, missing="em").update(rows)
    whole = fitted(rows[:OLD], covariance_type, missing="em")
    with pytest.raises(ValueError, match=f"with missing values cannot be added .*{covariance_type}"):
        whole.update(holes[OLD:])
    assert whole.update(rows[OLD:]).statistics_.statistics.totals.n_rows == len(rows)


@pytest.mark.parametrize("first", ["error", "em"])
def test_rows_observed_in_another_way(rows, assert_same_model, first):
    gm = fitted(rows[:OLD], "diag", missing=first)
    parameters = gm.statistics_.parameters
    gm.update(rows[OLD:2000]).set_params(missing="em" if first == "error" else "error")
    gm.update(rows[2000:2200]).update(rows[2200:])
    assert_same_model(gm, em_step(parameters, rows, "diag"), rtol=1e-12)


def test_a_cluster(rows, assert_same_model):
    there, here = fitted(rows[:OLD]), fitted(rows[:OLD])
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        there.update(da.from_array(rows[OLD:2000], chunks=(100, 3)), passes=2)
        there.partial_fit(da.from_array(rows[2000:], chunks=(100, 3)))
    here.update(rows[OLD:2000], passes=2).partial_fit(rows[2000:])
    assert_same_model(there, here, rtol=1e-10)


def test_measured_rows(rows, assert_same_model):
    errors = np.random.default_rng(6).uniform(0.1, 0.5, size=rows.shape)
    with pytest.warns(ConvergenceWarning):
        gm = GaussianMixture(3, random_state=0, max_iter=3).fit(rows[:OLD], X_err=errors[:OLD])
    kept = gm.statistics_.parameters
    gm.update(rows[OLD:], X_err=errors[OLD:])
    with pytest.warns(ConvergenceWarning):
        expected = GaussianMixture(
            3,
            max_iter=1,
            weights_init=kept.weights / kept.weights.sum(),
            means_init=kept.means,
            precisions_init=kept.precisions,
        ).fit(rows, X_err=errors)
    assert_same_model(gm, expected, rtol=1e-12)


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["f4", "f8"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_loaded_models_update_to_the_same_bits(tmp_path, rows, assert_same_model, covariance_type, dtype):
    rows = rows.astype(dtype)
    gm = fitted(rows[:OLD], covariance_type)
    gm.save(tmp_path / "m.gmm")
    loaded = GaussianMixture.load(tmp_path / "m.gmm")
    copied = pickle.loads(pickle.dumps(gm))
    for other in (loaded, copied):
        other.update(rows[OLD:], passes=2)
    gm.update(rows[OLD:], passes=2)
    for other in (loaded, copied):
        assert_same_model(other, gm, rtol=0)
        assert other.lower_bound_ == gm.lower_bound_
    loaded.save(tmp_path / "again.gmm")
    gm.save(tmp_path / "m.gmm")
    assert (tmp_path / "again.gmm").read_bytes() == (tmp_path / "m.gmm").read_bytes()


def test_files_without_sums(tmp_path, rows, monkeypatch):
    gm = fitted(rows[:OLD])
    gm.save(tmp_path / "small.gmm", with_statistics=False)
    gm.save(tmp_path / "default.gmm")
    monkeypatch.setattr(sums_file, "_MOST_BYTES", 10)
    gm.save(tmp_path / "large.gmm")
    gm.save(tmp_path / "asked.gmm", with_statistics=True)
    assert [
        hasattr(GaussianMixture.load(tmp_path / f"{name}.gmm"), "statistics_")
        for name in ("small", "default", "large", "asked")
    ] == [False, True, False, True]
    without = GaussianMixture.load(tmp_path / "small.gmm")
    with pytest.raises(ValueError, match="save with with_statistics=True"):
        without.update(rows[OLD:])
    np.testing.assert_array_equal(without.predict(rows), gm.predict(rows))


def test_pipelines_carry_them_too(tmp_path, rows):
    from sklearn.pipeline import make_pipeline

    scaler = StandardScaler().fit(rows)
    pipeline = make_pipeline(scaler, fitted(scaler.transform(rows[:OLD])))
    save_pipeline(pipeline, tmp_path / "p.gmm")
    save_pipeline(pipeline, tmp_path / "q.gmm", with_statistics=False)
    loaded = load_pipeline(tmp_path / "p.gmm")[-1]
    np.testing.assert_array_equal(
        loaded.update(scaler.transform(rows[OLD:])).means_,
        pipeline[-1].update(scaler.transform(rows[OLD:])).means_,
    )
    assert not hasattr(load_pipeline(tmp_path / "q.gmm")[-1], "statistics_")


@pytest.mark.parametrize(
    ("name", "change"),
    [
        ("second", lambda array: array[:, :3]),
        ("nk", lambda array: -array),
        ("first", lambda array: np.full_like(array, np.nan)),
        ("means", lambda array: array[:, :2]),
        ("origins", lambda array: array[:2]),
        ("weights", lambda array: array.astype("f4")),
        ("n_rows", lambda array: array * 0),
    ],
)
def test_sums_of_another_mixture_are_refused(tmp_path, rows, name, change):
    fitted(rows).save(tmp_path / "m.gmm")
    header, arrays = unpack((tmp_path / "m.gmm").read_bytes(), "m.gmm")
    arrays[f"statistics_.{name}"] = change(arrays[f"statistics_.{name}"])
    (tmp_path / "m.gmm").write_bytes(pack(header, arrays))
    with pytest.raises(ModelFileError, match="holds no model"):
        GaussianMixture.load(tmp_path / "m.gmm")


# --- refusals -----------------------------------------------------------------------------


def test_refusals_leave_the_estimator_as_it_was(rows):
    with pytest.raises(NotFittedError):
        GaussianMixture().update(rows)
    gm = fitted(rows[:OLD])
    before = dict(vars(gm))
    with pytest.raises(ValueError, match="X has 2 features, but GaussianMixture is expecting 3"):
        gm.update(rows[:, :2])
    with pytest.raises(DataError, match="NaN"):
        gm.update(da.from_array(np.full((4, 3), np.nan), chunks=(2, 3)))
    with pytest.raises(ValueError, match="minimum of 1 is required"):
        gm.update(rows[:0])
    with pytest.raises(DataError, match="X has no rows"):
        gm.update(da.from_array(rows[:0], chunks=(1, 3)))
    with pytest.raises(ValueError, match="covariance_type"):
        gm.set_params(covariance_type="diag").update(rows[OLD:])
    gm.set_params(covariance_type="full")
    assert vars(gm).keys() == before.keys()
    assert all(vars(gm)[name] is value for name, value in before.items() if name.endswith("_"))
    with pytest.raises(ValueError, match="statistics_, which this model does not have"):
        GaussianMixture.from_sklearn(gm.to_sklearn()).update(rows)
    assert not hasattr(GaussianMixture(3, max_iter=0, random_state=0).fit(rows), "statistics_")


def test_fits_forget_updates(rows):
    gm = fitted(rows[:OLD]).update(rows[OLD:])
    with pytest.warns(ConvergenceWarning):
        gm.fit(rows[:OLD])
    assert not hasattr(gm, "update_")
    assert gm.statistics_.statistics.totals.n_rows == OLD


# --- checkpoints --------------------------------------------------------------------------


def test_a_finished_checkpoint_has_the_sums(tmp_path, rows, assert_same_model):
    zarr.create_array(tmp_path / "x.zarr", data=rows[:OLD], chunks=(300, 3))
    options = {"checkpoint": tmp_path / "fit.checkpoint", "max_iter": 4}
    whole = fitted(from_zarr(tmp_path / "x.zarr"), **options)
    resumed = fitted(from_zarr(tmp_path / "x.zarr"), **options)
    for gm in (whole, resumed):
        gm.update(rows[OLD:])
    assert_same_model(resumed, whole, rtol=0)
    assert resumed.statistics_.statistics.totals == whole.statistics_.statistics.totals


def test_one_from_before_there_were_sums_loads(tmp_path, rows, monkeypatch):
    from dask_gmm.fitting import iteration

    zarr.create_array(tmp_path / "x.zarr", data=rows[:OLD], chunks=(300, 3))
    options = {"checkpoint": tmp_path / "fit.checkpoint", "max_iter": 4}
    monkeypatch.setattr(iteration, "replace", lambda run, kept: replace(run, kept=None))
    fitted(from_zarr(tmp_path / "x.zarr"), **options)
    monkeypatch.undo()
    resumed = fitted(from_zarr(tmp_path / "x.zarr"), **options)
    assert not hasattr(resumed, "statistics_")
    with pytest.raises(ValueError, match="update needs the sums"):
        resumed.update(rows[OLD:])


PRIOR = {
    "mean_prior": np.full(3, 101.0),
    "mean_precision_prior": 5.0,
    "covariance_prior": np.eye(3),
    "degrees_of_freedom_prior": 9.0,
}


def test_a_prior_of_numbers_is_that_of_all_rows(rows):
    gm = fitted(rows[:OLD], **PRIOR)
    expected = em_step(gm.statistics_.parameters, rows, **PRIOR)
    gm.update(rows[OLD:])
    np.testing.assert_allclose(gm.means_, expected.means_, rtol=1e-12)
    np.testing.assert_allclose(gm.covariances_, expected.covariances_, rtol=1e-9)
    assert gm.partial_fit(rows[OLD:]).n_samples_seen_ == 3500


@pytest.mark.parametrize("method", ["update", "partial_fit"])
def test_a_prior_from_the_rows_is_not_taken_from_some_of_them(rows, method):
    gm = fitted(rows[:OLD], mean_precision_prior=5.0)
    means = gm.means_.copy()
    with pytest.raises(ValueError, match="covariance_prior and degrees_of_freedom_prior, or fit all"):
        getattr(gm, method)(rows[OLD:])
    np.testing.assert_array_equal(gm.means_, means)
