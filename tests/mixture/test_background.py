"""Mixtures over a uniform background as users meet them: garbage is left to it, and nothing else."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.errors import DataError
from dask_gmm.model.covariance import covariance_types

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

MEANS = np.array([[0.0, 0.0, 0.0], [6.0, 1.0, 0.0], [1.0, 5.0, 4.0]])
SCALES = np.array([0.7, 1.0, 0.5])


def clean_rows(n_rows=4000, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(3, size=n_rows)
    return MEANS[labels] + SCALES[labels, np.newaxis] * rng.normal(size=(n_rows, 3))


def with_garbage(share, n_rows=4000, seed=0):
    """Return rows of which a share is uniform in a box, shuffled, and which these are."""
    rng = np.random.default_rng(seed + 100)
    n_strays = int(share * n_rows)
    strays = rng.uniform(-12.0, 16.0, size=(n_strays, 3))
    rows = np.concatenate([clean_rows(n_rows - n_strays, seed), strays])
    order = rng.permutation(n_rows)
    return rows[order], (np.arange(n_rows) >= n_rows - n_strays)[order]


def fitted(rows, **options):
    given = {"background": "uniform", "means_init": MEANS + 0.3, "tol": 1e-7, "max_iter": 500}
    return GaussianMixture(3, **{"random_state": 0, **given, **options}).fit(rows)


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_without_garbage_it_is_the_plain_mixture(covariance_type):
    rows = clean_rows(2000)
    options = {"covariance_type": covariance_type, "tol": 1e-10, "max_iter": 3000, "random_state": 0}
    plain = fitted(rows, background=None, **options)
    over = fitted(rows, background_volume=1e5, **options)
    assert over.background_weight_ < 1e-6
    np.testing.assert_allclose(over.means_, plain.means_, atol=1e-6)
    np.testing.assert_allclose(over.covariances_, plain.covariances_, atol=1e-4)
    assert np.diff(over.lower_bounds_).min() > -1e-10


@pytest.mark.parametrize("share", [0.02, 0.1, 0.3])
def test_garbage_is_left_to_it(share):
    rows, strays = with_garbage(share)
    start = {"weights_init": np.full(3, 1 / 3), "precisions_init": np.tile(np.eye(3), (3, 1, 1))}
    over, plain = fitted(rows, **start), fitted(rows, background=None, **start)
    n_rows = len(rows) * (1.0 - share) / 3.0
    errors = 3.0 * SCALES / np.sqrt(n_rows)
    assert (np.abs(over.means_ - MEANS).max(axis=1) < 1.5 * errors).all()
    variances = np.einsum("kii->ki", over.covariances_)
    assert (np.abs(variances / SCALES[:, np.newaxis] ** 2 - 1.0) < 5.0 * np.sqrt(2.0 / n_rows)).all()
    assert not (np.abs(plain.means_ - MEANS).max(axis=1) < 1.5 * errors).all()
    assert over.background_weight_ == pytest.approx(share, abs=0.01)
    found = over.predict(rows) == -1
    assert found[strays].mean() > 0.9
    assert strays[found].mean() > 0.9
    proba = over.predict_proba(rows)
    np.testing.assert_array_equal(found, 1.0 - proba.sum(axis=1) > proba.max(axis=1))
    assert over.weights_.sum() + over.background_weight_ == pytest.approx(1.0)


def test_its_volume_is_the_box_of_the_rows():
    rows, _ = with_garbage(0.1)
    from_data = fitted(rows)
    assert from_data.background_log_volume_ == pytest.approx(np.log(np.ptp(rows, axis=0)).sum(), rel=1e-12)
    given = fitted(rows, background_volume=float(np.exp(from_data.background_log_volume_)))
    np.testing.assert_allclose(given.means_, from_data.means_, rtol=1e-9)
    # mclust counts the volume where the data say it.
    assert from_data.bic(rows) - given.bic(rows) == pytest.approx(np.log(len(rows)), rel=1e-6)
    rows[:, 2] = 1.0
    with pytest.raises(DataError, match="Feature 2 of X has the same value in all rows"):
        fitted(rows, means_init=None, random_state=0)


def test_the_score_is_of_the_whole_density():
    rows, _ = with_garbage(0.1)
    over = fitted(rows)
    twin = GaussianMixture(3, background=None)
    vars(twin).update({name: value for name, value in vars(over).items() if "background" not in name})
    components = twin.score_samples(rows)
    expected = np.logaddexp(components, np.log(over.background_weight_) - over.background_log_volume_)
    np.testing.assert_allclose(over.score_samples(rows), expected, rtol=1e-10)
    assert over.lower_bound_ == pytest.approx(expected.mean(), abs=1e-5)


def test_same_bits_on_any_workers_and_in_any_kind(tmp_path):
    rows, _ = with_garbage(0.1)
    zarr.create_array(tmp_path / "x.zarr", data=rows.astype(np.float32), chunks=(500, 3))
    array = zarr.open_array(tmp_path / "x.zarr", mode="r")
    threads = fitted(array, max_iter=10)
    with (
        LocalCluster(2, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster),
    ):
        other = fitted(array, max_iter=10)
    for name in ("weights_", "means_", "covariances_", "background_weight_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(other, name), getattr(threads, name), err_msg=name)
    double = fitted(rows, max_iter=10, tol=0.0)
    lazy = fitted(da.from_array(rows, chunks=(333, 3)), max_iter=10, tol=0.0)
    np.testing.assert_allclose(lazy.covariances_, double.covariances_, rtol=1e-9)
    np.testing.assert_allclose(threads.means_, double.means_, atol=1e-3)
    np.testing.assert_array_equal(np.asarray(double.predict(da.from_array(rows))), double.predict(rows))


def test_starts_on_a_sample_and_restarts():
    rows, _ = with_garbage(0.1, 8000)
    options = {"means_init": None, "random_state": 0, "n_init": 4}
    for found in (fitted(rows, **options), fitted(rows, init_params="sample", **options)):
        assert found.background_weight_ == pytest.approx(0.1, abs=0.02)
        order = np.argsort(found.means_ @ [1.0, 0.1, 0.0])
        np.testing.assert_allclose(found.means_[order], MEANS[[0, 2, 1]], atol=0.15)


def test_weights_count_as_rows():
    rows, _ = with_garbage(0.1, 1000)
    weights = np.random.default_rng(1).integers(0, 3, size=1000)
    box = float(np.exp(fitted(rows).background_log_volume_))
    options = {"background_volume": box, "max_iter": 15, "tol": 0.0, "random_state": 0}
    start = {"weights_init": np.full(3, 1 / 3), "precisions_init": np.tile(np.eye(3), (3, 1, 1))}
    weighted = GaussianMixture(3, background="uniform", means_init=MEANS, **options, **start).fit(
        rows, sample_weight=weights
    )
    repeated = fitted(np.repeat(rows, weights, axis=0), **{**options, **start, "means_init": MEANS})
    np.testing.assert_allclose(weighted.covariances_, repeated.covariances_, rtol=1e-9)
    assert weighted.background_weight_ == pytest.approx(repeated.background_weight_, rel=1e-9)


def test_files_and_checkpoints(tmp_path):
    rows, _ = with_garbage(0.1)
    gm = fitted(rows)
    gm.save(tmp_path / "m.gmm")
    loaded = GaussianMixture.load(tmp_path / "m.gmm")
    assert (loaded.background_weight_, loaded.background_log_volume_) == (
        gm.background_weight_,
        gm.background_log_volume_,
    )
    np.testing.assert_array_equal(loaded.predict(rows), gm.predict(rows))
    checkpointed = fitted(da.from_array(rows, chunks=(500, 3)), checkpoint=tmp_path / "c")
    again = fitted(da.from_array(rows, chunks=(500, 3)), checkpoint=tmp_path / "c")
    np.testing.assert_array_equal(again.means_, checkpointed.means_)
    assert again.background_weight_ == checkpointed.background_weight_
    plain = gm.set_params(background=None).fit(rows)
    assert not hasattr(plain, "background_weight_")


def test_selection_over_a_background():
    rows, _ = with_garbage(0.05)
    options = {"background": "uniform", "random_state": 0, "n_init": 3}
    selection = GaussianMixtureIC(range(1, 6), criterion="bic", **options).fit(rows)
    assert selection.n_components_ == 3
    assert (selection.predict(rows) == -1).mean() == pytest.approx(0.05, abs=0.02)


def test_what_does_not_go_with_it_is_refused():
    rows, _ = with_garbage(0.1, 500)
    with pytest.raises(ValueError, match="does not go with accelerate=True"):
        fitted(rows, accelerate=True)
    with pytest.raises(ValueError, match="does not go with missing='em'"):
        fitted(rows, missing="em")
    with pytest.raises(ValueError, match="does not go with measurement errors"):
        GaussianMixture(2, background="uniform").fit(rows, X_err=np.full_like(rows, 0.1))
    with pytest.raises(ValueError, match="partial_fit is not for"):
        GaussianMixture(2, background="uniform").partial_fit(rows)
    gm = fitted(rows)
    for ask in (
        gm.to_sklearn,
        lambda: gm.update(rows),
        lambda: gm.marginal([0]),
        lambda: gm.condition({0: 1.0}),
        lambda: gm.impute(rows),
        lambda: gm.predict(rows, X_err=np.full_like(rows, 0.1)),
    ):
        with pytest.raises(ValueError, match="does not go with a background"):
            ask()


def test_thresholds_summaries_and_reports_know_it(tmp_path):
    rows, _ = with_garbage(0.1)
    gm = fitted(rows, contamination=0.02)
    # Rows that are nothing but background are all as likely, and more of them than that share.
    assert gm.threshold_ == pytest.approx(np.log(gm.background_weight_) - gm.background_log_volume_)
    counts = gm.summarize(rows).to_frame()["n_rows"]
    labels = gm.predict(rows)
    assert [counts.loc[k].iloc[0] for k in range(3)] == [(labels == k).sum() for k in range(3)]
    gm.report(tmp_path / "page.html", rows)
    assert (tmp_path / "page.html").stat().st_size > 10_000
