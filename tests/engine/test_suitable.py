"""Workers with too little memory get no tasks, whenever they came, and nobody waits for them without end."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import closing

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, get_worker
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import ChunkTooLargeError, GaussianMixture
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.engine import plan, suitable
from dask_gmm.engine import wait as waiting
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.memory_estimate import PassBytes, TaskMemory
from dask_gmm.errors import NoWorkersError

SMALL, LARGE = 100 << 20, 4 << 30
N_GROUPS = 20


@pytest.fixture(scope="module")
def cluster_client():
    options = {"n_workers": 3, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
    # All are in this process, which is larger than the small ones may be.
    memory = {
        f"distributed.worker.memory.{what}": False for what in ("target", "spill", "pause", "terminate")
    }
    with (
        dask.config.set(memory),
        LocalCluster(memory_limit=LARGE, **options) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture
def client(cluster_client):
    yield cluster_client
    for address in cluster_client.nthreads():
        resize(cluster_client, address, LARGE)


@pytest.fixture
def source(monkeypatch):
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.2)
    monkeypatch.setattr(suitable, "_PAUSE_SECONDS", 0.1)
    monkeypatch.setattr(suitable, "_REMEMBERED_SECONDS", 0.1)
    return lazy_source(da.ones((10 * N_GROUPS, 2), chunks=(10, 2)))


def resize(client, address, limit):
    """Let a worker have been started with this limit."""

    def on_worker(dask_worker):
        dask_worker.memory_manager.memory_limit = limit

    def on_scheduler(dask_scheduler):
        dask_scheduler.workers[address].memory_limit = limit

    client.run(on_worker, workers=[address])
    client.run_on_scheduler(on_scheduler)


class Addresses:
    """A reduction whose value lists where each block and each merge was done."""

    def zero(self):
        return []

    def update(self, value, block):
        time.sleep(0.002)
        return [*value, get_worker().address]

    def combine(self, values):
        return [*(address for value in values for address in value), get_worker().address]


def where(engine):
    (addresses,) = engine.run([Addresses()])
    return addresses


@pytest.mark.parametrize("n_small", [1, 2])
@pytest.mark.parametrize("late", [False, True])
def test_small_workers_get_no_tasks(client, source, late, n_small, caplog):
    *small, large = client.nthreads()
    small = small[:n_small]
    if late:
        engine = ClusterEngine(source, client, cache=False)
        assert len(where(engine)) > N_GROUPS
    for address in small:
        resize(client, address, SMALL)
    with caplog.at_level(logging.WARNING, logger="dask_gmm"):
        if not late:
            engine = ClusterEngine(source, client, cache=False)
        with closing(engine):
            for _ in range(2):
                assert not set(where(engine)) & set(small)
                assert large in where(engine)
    told = [record.getMessage() for record in caplog.records if "is given no tasks" in record.getMessage()]
    if not late:
        assert len(told) == n_small
        assert "workers have 100.00 MiB" in told[0]


def test_large_workers_that_come_while_there_are_small_ones_get_tasks(client, source):
    small, new, _ = client.nthreads()
    resize(client, small, SMALL)
    resize(client, new, SMALL)
    with closing(ClusterEngine(source, client, cache=False)) as engine:
        assert new not in where(engine)
        resize(client, new, LARGE)
        assert new in where(engine)


def test_a_pass_waits_for_a_large_worker(client, source):
    engine = ClusterEngine(source, client, cache=False)
    for address in client.nthreads():
        resize(client, address, SMALL)
    last = list(client.nthreads())[-1]
    timer = threading.Timer(0.5, resize, (client, last, LARGE))
    timer.start()
    with closing(engine):
        assert set(where(engine)) == {last}
    timer.join()


def test_nobody_waits_without_end_for_a_large_worker(client, source):
    with dask.config.set({"dask-gmm.no-workers-timeout": "500 ms"}):
        engine = ClusterEngine(source, client, cache=False)
    for address in client.nthreads():
        resize(client, address, SMALL)
    told = r"No worker with memory enough.*A task needs about"
    with closing(engine), pytest.raises(NoWorkersError, match=told):
        engine.run([Addresses()])


def test_a_cluster_of_small_workers_is_refused(client, source):
    for address in client.nthreads():
        resize(client, address, SMALL)
    with pytest.raises(ChunkTooLargeError, match=r"its memory limit is 100\.00 MiB"):
        ClusterEngine(source, client, cache=False)


def test_rows_that_stay_are_loaded_by_large_workers(client, source):
    small, *large = client.nthreads()
    engine = ClusterEngine(source, client, cache=True)
    resize(client, small, SMALL)
    with closing(engine):
        where(engine)
        held = {address for key, on in client.who_has().items() if "gmm-rows" in str(key) for address in on}
    # What was asked for before it shrank may be there.
    assert set(large) <= held


@pytest.mark.long
def test_a_fit_outlives_the_large_worker_while_a_small_one_is_there(tmp_path, monkeypatch):
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.5)
    limit = 2 * TaskMemory(0, "", PassBytes()).worker(1)

    def slowly(rows):
        time.sleep(0.1)
        return rows

    rng = np.random.default_rng(0)
    rows = rng.normal(size=(400, 3)) + 3 * rng.integers(2, size=(400, 1))
    X = da.from_array(rows, chunks=(20, 3)).map_blocks(slowly, dtype=float, meta=np.empty((0, 3)))
    model = GaussianMixture(2, random_state=0, max_iter=5, tol=0, cache=False)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, memory_limit=limit, dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        command = [sys.executable, "-m", "distributed.cli.dask_worker", cluster.scheduler_address]
        options = ["--memory-limit", "400MB", "--nthreads", "1", "--no-dashboard", "--name", "small"]
        (large,) = client.run(os.getpid).values()

        def disturb():
            small.append(subprocess.Popen([*command, *options], cwd=tmp_path))
            client.wait_for_workers(2)
            time.sleep(1)
            os.kill(large, signal.SIGKILL)

        small = []
        thread = threading.Timer(1, disturb)
        thread.start()
        try:
            with pytest.warns(ConvergenceWarning):
                model.fit(X)
            thread.join()
            assert large not in client.run(os.getpid).values(), "it was not killed"
        finally:
            thread.join()
            for process in small:
                process.terminate()
                process.wait()
    with pytest.warns(ConvergenceWarning):
        alone = GaussianMixture(**model.get_params()).fit(X)
    np.testing.assert_array_equal(model.means_, alone.means_)
