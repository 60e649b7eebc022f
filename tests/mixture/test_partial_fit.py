"""Streams: partial_fit in scikit-learn's sense, by stepwise EM."""

from __future__ import annotations

import pickle
import sys

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from sklearn.base import clone
from sklearn.utils.estimator_checks import (
    check_estimators_partial_fit_n_features,
    check_fit_score_takes_y,
    check_n_features_in,
)

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.errors import DataError
from dask_gmm.mixture.fitted import fitted_parameters
from dask_gmm.model.covariance import conjugate_types
from dask_gmm.model.running_sums import RunningSums, step_size

TYPES = conjugate_types()
BATCH = 2000


def drawn(n_rows, seed, covariance_type="full"):
    """Rows of five overlapping components: with correlations, or round."""
    rng = np.random.default_rng(seed)
    centres = 2.0 * np.random.default_rng(1).normal(size=(5, 4))
    if covariance_type == "full":
        shapes = np.eye(4) + 0.3 * np.random.default_rng(2).normal(size=(5, 4, 4))
    else:
        shapes = np.eye(4) * np.random.default_rng(3).uniform(0.7, 1.3, size=(5, 1, 1))
    labels = rng.integers(5, size=n_rows)
    return centres[labels] + np.einsum("ij,ijk->ik", rng.normal(size=(n_rows, 4)), shapes[labels])


def stream(rows, batch=BATCH, **options):
    gm = GaussianMixture(5, random_state=0, **options)
    for first in range(0, len(rows), batch):
        assert gm.partial_fit(rows[first : first + batch]) is gm
    return gm


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_stream_comes_near_batch_em(covariance_type):
    rows, held_out = drawn(200_000, 0, covariance_type), drawn(100_000, 9, covariance_type)
    followed = stream(rows, covariance_type=covariance_type)
    batch = GaussianMixture(
        5, covariance_type=covariance_type, random_state=0, tol=1e-6, max_iter=500, accelerate=True
    ).fit(rows)
    first = GaussianMixture(5, covariance_type=covariance_type, random_state=0).fit(rows[:BATCH])
    short = batch.score(held_out) - followed.score(held_out)
    assert short < 8e-4
    # It learned from the stream, not from its first batch.
    assert short < 0.05 * (batch.score(held_out) - first.score(held_out))


@pytest.mark.parametrize("offset", [0.0, 1e6])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_one_step_by_its_definition(covariance_type, offset):
    # Far from zero, where sums about another origin would cancel.
    shift = np.full(4, offset)
    rows = drawn(3000, 0) + shift
    weights = np.random.default_rng(4).uniform(0.1, 2.0, size=1000)
    gm = GaussianMixture(5, covariance_type=covariance_type, random_state=0).partial_fit(rows[:BATCH])
    before, resp = fitted_parameters(gm), gm.predict_proba(rows[BATCH:])
    score = gm.score(rows[BATCH:], sample_weight=weights)
    gm.partial_fit(rows[BATCH:], sample_weight=weights)

    share = 3.0**-0.7
    resp = resp * (weights / weights.sum())[:, np.newaxis]
    nk = (1 - share) * before.weights + share * resp.sum(axis=0)
    means = (1 - share) * before.weights[:, np.newaxis] * (before.means - shift)
    means = (means + share * resp.T @ (rows[BATCH:] - shift)) / nk[:, np.newaxis]
    matrices = before.structure.as_matrices(before.covariances, 5, 4) - 1e-6 * np.eye(4)
    expected = np.empty((5, 4, 4))
    for k in range(5):
        away = before.means[k] - shift - means[k]
        there = rows[BATCH:] - shift - means[k]
        of_batch = (resp[:, k, np.newaxis] * there).T @ there
        total = (1 - share) * before.weights[k] * (matrices[k] + np.outer(away, away)) + share * of_batch
        expected[k] = total / nk[k] + 1e-6 * np.eye(4)
    averaged = {
        "full": lambda: expected,
        "tied": lambda: np.einsum("k,kij->ij", nk, expected),
        "diag": lambda: np.diagonal(expected, axis1=1, axis2=2),
        "spherical": lambda: np.diagonal(expected, axis1=1, axis2=2).mean(axis=1),
    }[covariance_type]()
    tolerance = 1e-10 if offset == 0.0 else 1e-7
    np.testing.assert_allclose(gm.weights_, nk, rtol=tolerance)
    np.testing.assert_allclose(gm.means_ - shift, means, atol=tolerance * 10)
    np.testing.assert_allclose(gm.covariances_, averaged, rtol=tolerance * 10, atol=tolerance * 10)
    assert gm.lower_bound_ == pytest.approx(score, rel=1e-12)


def test_the_step_size():
    assert step_size(1, 0.7, 2) == 3.0**-0.7
    # All batches alike: each share is that of one batch in those so far.
    assert [step_size(t, 1.0, 1.0) for t in (1, 2, 9)] == [1 / 2, 1 / 3, 1 / 10]


def test_equal_shares_are_the_mean_of_all_batches():
    # One component has nothing to find: the answer is that of all rows.
    rows = drawn(5000, 0) + 50.0
    gm = GaussianMixture(1, step_exponent=1, step_offset=1)
    for batch in np.split(rows, 5):
        gm.partial_fit(batch)
    expected = GaussianMixture(1).fit(rows)
    np.testing.assert_allclose(gm.means_, expected.means_, rtol=1e-12)
    np.testing.assert_allclose(gm.covariances_, expected.covariances_, rtol=1e-10)


def test_origins_stay_while_means_move():
    rows = drawn(2000, 0)
    gm = stream(rows, 1000)
    origins, means = gm._stream.origins.copy(), gm.means_.copy()
    for step in range(30):
        gm.partial_fit(rows[:1000] + 0.5 * step)
    np.testing.assert_array_equal(gm._stream.origins, origins)
    assert np.abs(gm.means_ - means).max() > 5.0
    # It follows where the stream goes.
    assert gm.score(rows + 14.5) > gm.score(rows) + 2.0


def test_the_exponent_and_offset_decide_how_much_is_forgotten():
    rows = drawn(2000, 0)
    moved = []
    for options in ({"step_exponent": 1.0, "step_offset": 50}, {}, {"step_exponent": 0.55, "step_offset": 0}):
        gm = GaussianMixture(1, **options).partial_fit(rows).partial_fit(rows + 1.0)
        moved.append((gm.means_ - rows.mean(axis=0)).mean())
    np.testing.assert_allclose(moved, [1 / 51, 3**-0.7, 1.0], rtol=1e-9)


@pytest.mark.parametrize(
    "options", [{"step_exponent": 0.4}, {"step_exponent": 1.1}, {"step_offset": -1}, {"step_exponent": "a"}]
)
def test_steps_out_of_range(options):
    with pytest.raises(ValueError, match=next(iter(options))):
        GaussianMixture(**options).partial_fit(drawn(100, 0))


# --- conventions ---------------------------------------------------------------------------


def test_a_thousand_calls_leave_nothing_behind():
    rows = drawn(1000, 0)
    gm = GaussianMixture(2, random_state=0).partial_fit(rows).partial_fit(rows)
    names, size = set(vars(gm)), len(pickle.dumps(gm))
    for _ in range(1000):
        gm.partial_fit(rows[:50])
    assert set(vars(gm)) == names
    # A number of rows has more digits.
    assert len(pickle.dumps(gm)) < size + 10
    assert gm.n_samples_seen_ == 2000 + 1000 * 50
    assert sys.getrefcount(rows) < 10
    assert not {"history_", "statistics_", "threshold_"} & names


def test_the_first_batch_is_fitted():
    rows = drawn(1500, 0)
    gm = GaussianMixture(3, random_state=0, contamination=0.1, warm_start=True).partial_fit(rows)
    expected = GaussianMixture(3, random_state=0, tol=1e-5).fit(rows)
    np.testing.assert_array_equal(gm.means_, expected.means_)
    assert gm.n_iter_ == expected.n_iter_
    assert gm.n_samples_seen_ == 1500
    # What the user set stays.
    assert (gm.tol, gm.contamination, gm.warm_start) == (1e-3, 0.1, True)
    with pytest.raises(ValueError, match="n_samples >= n_components but got n_components = 3, n_samples = 2"):
        GaussianMixture(3).partial_fit(rows[:2])
    # Later ones may have fewer.
    assert gm.partial_fit(rows[:1]).n_samples_seen_ == 1501
    assert (gm.n_iter_, gm.converged_, len(gm.lower_bounds_)) == (expected.n_iter_ + 1, False, 1)


def test_it_goes_on_after_a_fit_and_fit_clears(tmp_path):
    rows = drawn(3000, 0)
    fitted = GaussianMixture(3, random_state=0, tol=1e-5).fit(rows[:2000])
    # A fit is as good as a first batch.
    after = clone(fitted).partial_fit(rows[:2000]).partial_fit(rows[2000:])
    fitted.partial_fit(rows[2000:])
    np.testing.assert_array_equal(after.means_, fitted.means_)
    assert fitted.n_samples_seen_ == 3000
    with pytest.raises(ValueError, match="partial_fit"):
        fitted.update(rows)
    fitted.fit(rows)
    assert not hasattr(fitted, "n_samples_seen_")
    assert not hasattr(fitted, "_stream")
    assert fitted.update(rows).statistics_.statistics.totals.n_rows == 6000
    # An update is where a stream begins anew.
    fitted.partial_fit(rows)
    assert fitted.n_samples_seen_ == 9000


@pytest.mark.parametrize("covariance_type", TYPES)
def test_models_without_sums_are_a_first_batch_too(covariance_type):
    rows = drawn(4000, 0)
    whole = GaussianMixture(5, covariance_type=covariance_type, random_state=0).fit(rows[:2000])
    model = GaussianMixture.from_sklearn(whole.to_sklearn())
    whole.partial_fit(rows[2000:])
    model.partial_fit(rows[2000:])
    np.testing.assert_allclose(model.means_, whole.means_, rtol=1e-9)
    np.testing.assert_allclose(model.covariances_, whole.covariances_, rtol=1e-7)
    assert model.n_samples_seen_ == 2000
    sums = RunningSums.of_mixture(fitted_parameters(whole), 1e-6)
    assert (sums.n_batches, sums.n_rows) == (1, 0)


def test_max_iter_zero_begins_at_the_start():
    rows = drawn(2000, 0)
    gm = GaussianMixture(5, random_state=0, max_iter=0).partial_fit(rows)
    assert gm.n_samples_seen_ == 2000
    before = gm.score(rows)
    assert gm.partial_fit(rows).score(rows) > before


def test_later_batches_are_checked():
    rows = drawn(600, 0)
    gm = GaussianMixture(3, random_state=0).partial_fit(pd.DataFrame(rows, columns=list("abcd")))
    before = dict(vars(gm))
    with pytest.raises(ValueError, match="feature names should match"):
        gm.partial_fit(pd.DataFrame(rows, columns=list("abce")))
    with (
        pytest.warns(UserWarning, match="valid feature names"),
        pytest.raises(ValueError, match="expecting 4 features"),
    ):
        gm.partial_fit(rows[:, :3])
    lazy = da.from_array(np.where(rows > 1, np.nan, rows), chunks=(100, 4))
    with pytest.warns(UserWarning, match="valid feature names"), pytest.raises(DataError, match="NaN"):
        gm.partial_fit(lazy)
    with pytest.raises(ValueError, match="n_components is 4, but the stream began with 3"):
        gm.set_params(n_components=4).partial_fit(pd.DataFrame(rows, columns=list("abcd")))
    gm.set_params(n_components=3, covariance_type="diag")
    with pytest.raises(ValueError, match="covariance_type"):
        gm.partial_fit(pd.DataFrame(rows, columns=list("abcd")))
    gm.set_params(covariance_type="full")
    assert all(vars(gm)[name] is value for name, value in before.items() if name.endswith("_"))
    assert gm._stream is before["_stream"]


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_copies_and_files_go_on_alike(tmp_path, dtype, assert_same_model):
    rows = drawn(3000, 0).astype(dtype)
    gm = stream(rows[:2000], 500)
    gm.save(tmp_path / "m.gmm")
    others = [GaussianMixture.load(tmp_path / "m.gmm"), pickle.loads(pickle.dumps(gm))]
    gm.partial_fit(rows[2000:])
    assert gm.means_.dtype == np.dtype(dtype)
    for other in others:
        other.partial_fit(rows[2000:])
        assert_same_model(other, gm, rtol=0)
        assert other.n_samples_seen_ == gm.n_samples_seen_ == 3000
    gm.save(tmp_path / "n.gmm", with_statistics=False)
    assert not hasattr(GaussianMixture.load(tmp_path / "n.gmm"), "n_samples_seen_")


# --- kinds of data -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["dask", "zarr", "dataframe"])
def test_a_lazy_batch_is_one_step_over_all_its_chunks(tmp_path, kind, assert_same_model):
    rows = drawn(3000, 0)

    def lazy(part, name):
        if kind == "dask":
            return da.from_array(part, chunks=(130, 4))
        if kind == "zarr":
            zarr.create_array(tmp_path / name, data=part, chunks=(130, 4))
            return from_zarr(tmp_path / name)
        return pd.DataFrame(part)

    at_once = GaussianMixture(3, random_state=0).partial_fit(rows[:2000]).partial_fit(rows[2000:])
    gm = GaussianMixture(3, random_state=0).partial_fit(lazy(rows[:2000], "a.zarr"))
    assert gm.n_samples_seen_ == 2000
    gm.partial_fit(lazy(rows[2000:], "b.zarr"))
    assert gm._stream.n_batches == 2
    assert_same_model(gm, at_once, rtol=1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "diag"])
def test_batches_with_missing_values(covariance_type):
    rows, held_out = drawn(20_000, 0), drawn(20_000, 9)
    holes = np.where(np.random.default_rng(3).random(rows.shape) < 0.1, np.nan, rows)
    followed = stream(holes, covariance_type=covariance_type, missing="em")
    whole = stream(rows, covariance_type=covariance_type)
    assert followed.score(held_out) == pytest.approx(whole.score(held_out), abs=0.01)
    n_told = (~np.isnan(holes).all(axis=1)).sum()
    assert followed.n_samples_seen_ == n_told


# --- scikit-learn and dask-ml --------------------------------------------------------------


@pytest.mark.parametrize(
    "check", [check_estimators_partial_fit_n_features, check_n_features_in, check_fit_score_takes_y]
)
def test_scikit_learns_checks_of_partial_fit(check):
    check("GaussianMixture", GaussianMixture())


class Incremental:
    """What `dask_ml.wrappers.Incremental` does with an estimator, as its `fit` has it.

    It clones, then calls `partial_fit` with one block after the other (dask_ml._partial.fit).
    """

    def __init__(self, estimator, shuffle_blocks):
        assert not shuffle_blocks
        self.estimator = estimator

    def fit(self, X):
        self.estimator_ = clone(self.estimator)
        for block in X.to_delayed().ravel():
            self.estimator_.partial_fit(block.compute(), None)
        return self


def test_blocks_of_an_incremental_wrapper():
    try:
        from dask_ml.wrappers import Incremental as Wrapper
    except ImportError:
        Wrapper = Incremental
    rows = drawn(4000, 0)
    blocks = da.from_array(rows, chunks=(1000, 4))
    fitted = Wrapper(GaussianMixture(5, random_state=0), shuffle_blocks=False).fit(blocks)
    expected = stream(rows, 1000)
    np.testing.assert_array_equal(fitted.estimator_.means_, expected.means_)
