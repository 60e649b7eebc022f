"""Acceleration, races, restarts and sweeps: the same however rows are cut, weighted and read, and by whom."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_zarr

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

WAYS = ("accelerated", "raced", "restarts", "sweep")


@pytest.fixture(scope="module")
def rows(make_rows):
    """Rows on which EM creeps."""
    return make_rows(6000, 2, 4, spread=2.0, seed=3)


def fit(way, X, sample_weight=None, **parameters):
    """Fit in one of the ways; those that race start on a part of the rows."""
    budget = "30 kB" if way == "raced" else "64 MiB"
    given = {
        "accelerated": {"accelerate": True, "tol": 1e-8},
        "raced": {"n_init": 5, "accelerate": True, "tol": 1e-6},
        "restarts": {"n_init": 3, "init_params": "random", "accelerate": True, "tol": 1e-6},
        "sweep": {"accelerate": True},
    }[way]
    given |= {"random_state": 0, "max_iter": 500, **parameters}
    if way == "sweep":
        estimator = GaussianMixtureIC([2, 4], covariance_type=("full", "tied"), **given)
    else:
        estimator = GaussianMixture(4, **given)
    with dask.config.set({"dask-gmm.start-bytes": budget}):
        return estimator.fit(X, sample_weight=sample_weight)


def bounds(fitted):
    """Return the ends of all that was fitted."""
    return fitted.results_["lower_bound"] if hasattr(fitted, "results_") else np.array([fitted.lower_bound_])


@pytest.mark.parametrize("way", WAYS)
def test_the_chunking_does_not_matter(rows, make_source, assert_same_model, way):
    whole = fit(way, make_source([rows]))
    for n_pieces in (4, 23):
        cut = fit(way, make_source(np.array_split(rows, n_pieces)))
        assert cut.n_iter_ == whole.n_iter_
        # L-BFGS makes more of a rounding error than EM does; what is fitted stays the same.
        np.testing.assert_allclose(bounds(cut), bounds(whole), rtol=1e-10)
        assert_same_model(cut, whole, 1e-5)


@pytest.mark.parametrize("way", WAYS)
def test_the_cluster_does_not_matter(rows, assert_same_model, way):
    X = da.from_array(rows, chunks=(500, -1))
    here = fit(way, X)
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        there = fit(way, X)
    np.testing.assert_array_equal(bounds(there), bounds(here))
    assert there.lower_bounds_ == here.lower_bounds_
    assert_same_model(there, here, 0.0)


@pytest.mark.parametrize("way", WAYS)
def test_neither_does_an_interruption(rows, make_source, assert_same_model, tmp_path, fit_interrupted, way):
    source = make_source(np.array_split(rows, 3))
    whole = fit(way, source)
    resumed, n_interruptions = fit_interrupted(lambda: fit(way, source, checkpoint=tmp_path / "fit"), 6)
    assert n_interruptions > 1
    np.testing.assert_array_equal(bounds(resumed), bounds(whole))
    assert resumed.lower_bounds_ == whole.lower_bounds_
    assert_same_model(resumed, whole, 0.0)


@pytest.mark.parametrize("way", WAYS)
def test_rows_without_weight_do_not_count(rows, make_source, way):
    # Rows of another mixture, between those that count.
    mixed = np.repeat(rows, 2, axis=0)
    mixed[1::2] = 50.0 - mixed[1::2]
    weights = np.tile([0.5, 0.0], len(rows))
    weighted = fit(way, make_source(np.array_split(mixed, 5)), weights)
    # Other rows are drawn to start from, but none of those without weight.
    assert weighted.means_.max() < 20.0
    np.testing.assert_allclose(bounds(weighted), bounds(fit(way, rows)), atol=5e-3)


@pytest.mark.parametrize("way", WAYS)
def test_single_precision(rows, way):
    double, single = (
        fit(way, da.from_array(rows.astype(dtype), chunks=500), tol=1e-5) for dtype in ("f8", "f4")
    )
    assert single.means_.dtype == np.float32
    # Where EM creeps, this tolerance is met at places that differ by more than rounding.
    np.testing.assert_allclose(bounds(single), bounds(double), atol=1e-3)


@pytest.mark.parametrize("way", WAYS)
def test_rows_with_nan_can_be_left_out(rows, tmp_path, way):
    holed = np.insert(rows, np.arange(0, len(rows), 7), np.nan, axis=0)
    arrays = [
        zarr.create_array(tmp_path / name, data=values, chunks=(700, 2))
        for name, values in (("holed", holed), ("whole", rows))
    ]
    dropped, whole = (fit(way, from_zarr(X, nan="drop")) for X in arrays)
    # Other rows are drawn where not all are: rows count by their number in the store.
    np.testing.assert_allclose(bounds(dropped), bounds(whole), atol=1e-4 if way == "raced" else 1e-6)


@pytest.mark.parametrize("way", ["accelerated", "sweep"])
@pytest.mark.parametrize("reg_covar", [0.0, 1e-3, 0.3])
def test_any_constant_on_the_diagonal(rows, way, reg_covar):
    plain, fast = (fit(way, rows, reg_covar=reg_covar, accelerate=fast, tol=1e-8) for fast in (False, True))
    # EM itself may creep too slowly to arrive.
    assert (bounds(fast) > bounds(plain) - 1e-3).all()
    assert fast.converged_


def test_a_warm_start_goes_on_accelerated(rows):
    whole = fit("accelerated", rows)
    stopped = fit("accelerated", rows, max_iter=30, warm_start=True)
    assert not stopped.converged_
    resumed = stopped.set_params(max_iter=500).fit(rows)
    assert resumed.converged_
    assert resumed.lower_bound_ == pytest.approx(whole.lower_bound_, abs=1e-6)
    assert resumed.lower_bounds_[0] >= fit("accelerated", rows, max_iter=30).lower_bound_
