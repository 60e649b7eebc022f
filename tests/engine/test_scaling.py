"""Clusters that lose all workers between passes, and every way of queueing tasks: the same bits."""

from __future__ import annotations

import threading
import time

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture
from dask_gmm.engine.cluster import ClusterEngine

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

OPTIONS = {"processes": False, "threads_per_worker": 1, "dashboard_address": None}


@pytest.fixture(scope="module")
def rows(make_rows):
    """Twenty groups of rows: a chunk of unknown size is one."""
    rows = da.from_array(make_rows(600), chunks=(30, 3))
    return rows[da.isfinite(rows[:, 0])]


def fit(rows, **parameters):
    return GaussianMixture(2, max_iter=4, tol=0, random_state=0, **parameters).fit(rows)


@pytest.fixture(scope="module")
def quiet(rows):
    with dask.config.set(scheduler="threads"):
        return fit(rows)


@pytest.fixture(scope="module")
def assert_same_bits():
    def assert_same_bits(fitted, quiet):
        assert fitted.lower_bounds_ == quiet.lower_bounds_
        for name in ("weights_", "means_", "covariances_"):
            assert getattr(fitted, name).tobytes() == getattr(quiet, name).tobytes()

    return assert_same_bits


def without_workers(cluster, client):
    cluster.scale(0)
    while client.nthreads():
        time.sleep(0.005)


@pytest.mark.parametrize("cache", [False, True], ids=["read", "kept"])
def test_to_zero_and_back_between_passes(rows, quiet, assert_same_bits, monkeypatch, cache):
    run, n_workers = ClusterEngine.run, []

    def run_with_nobody(self, reductions, group_done=None):
        without_workers(cluster, client)
        coming = threading.Timer(0.1, cluster.scale, (1 + len(n_workers) % 3,))
        coming.start()
        try:
            return run(self, reductions, group_done)
        finally:
            coming.join()
            n_workers.append(len(client.nthreads()))

    monkeypatch.setattr(ClusterEngine, "run", run_with_nobody)
    with LocalCluster(n_workers=2, **OPTIONS) as cluster, Client(cluster) as client:
        assert_same_bits(fit(rows, cache=cache), quiet)
    assert len(n_workers) >= 4
    assert min(n_workers) >= 1


def test_a_fit_that_begins_without_workers(rows, quiet, assert_same_bits):
    with LocalCluster(n_workers=0, **OPTIONS) as cluster, Client(cluster):
        coming = threading.Timer(0.3, cluster.scale, (2,))
        coming.start()
        assert_same_bits(fit(rows), quiet)
        coming.join()


def test_an_adaptive_cluster(rows, quiet, assert_same_bits, monkeypatch):
    run, n_workers = ClusterEngine.run, []

    def run_and_shrink(self, reductions, group_done=None):
        try:
            return run(self, reductions, group_done)
        finally:
            most = len(client.nthreads())
            # One stays, with the result that is let go when the next pass is submitted.
            until = time.monotonic() + 5
            while len(client.nthreads()) > 1 and time.monotonic() < until:
                time.sleep(0.005)
            n_workers.append((most, len(client.nthreads())))

    monkeypatch.setattr(ClusterEngine, "run", run_and_shrink)
    with LocalCluster(n_workers=0, **OPTIONS) as cluster, Client(cluster) as client:
        cluster.adapt(minimum=0, maximum=3, interval="10ms", wait_count=1, target_duration="1ms")
        assert_same_bits(fit(rows), quiet)
    assert max(most for most, _ in n_workers) > 1
    assert {least for _, least in n_workers} <= {0, 1}


@pytest.mark.parametrize("saturation", ["inf", 1.0, 1.1, 3.0])
def test_every_way_of_queueing(rows, quiet, assert_same_bits, saturation):
    with (
        dask.config.set({"distributed.scheduler.worker-saturation": saturation}),
        LocalCluster(n_workers=3, **OPTIONS) as cluster,
        Client(cluster),
    ):
        assert_same_bits(fit(rows), quiet)
        assert_same_bits(fit(rows, cache=True), quiet)
        assert_same_bits(fit(rows.persist()), quiet)


def test_passes_leave_no_tasks_behind(rows):
    with LocalCluster(n_workers=2, **OPTIONS) as cluster, Client(cluster) as client:
        fit(rows)
        until = time.monotonic() + 10
        while cluster.scheduler.tasks and time.monotonic() < until:
            time.sleep(0.01)
        assert not cluster.scheduler.tasks
        assert not cluster.scheduler.task_groups
        assert not client.futures
        assert np.isfinite(fit(rows).lower_bound_)
