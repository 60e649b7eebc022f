"""Workers short of memory: what is free is given back, and none that Dask paused holds a pass up for ever."""

from __future__ import annotations

import logging
import time
from contextlib import ExitStack

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, get_worker
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture
from dask_gmm.engine import memory_pressure as pressure
from dask_gmm.engine import plan
from dask_gmm.engine import wait as waiting
from dask_gmm.engine.memory_pressure import give_back_afterwards, give_back_if_short

LIMIT = 1 << 30
ROWS = da.from_array(np.random.default_rng(0).normal(size=(600, 3)), chunks=(25, 3))


@pytest.fixture
def make_client():
    """Start workers that are paused at a share of 1 GiB: ``make_client(n_workers, pause)``."""
    with ExitStack() as stack:

        def make(n_workers, pause=0.8):
            stack.enter_context(dask.config.set({"distributed.worker.memory.pause": pause}))
            options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": LIMIT}
            return stack.enter_context(
                Client(stack.enter_context(LocalCluster(n_workers=n_workers, **options)))
            )

        yield make


@pytest.fixture
def impatient(monkeypatch):
    """Looks at the cluster follow quickly."""
    monkeypatch.setattr(waiting, "_LOOK_SECONDS", 0.2)


@pytest.fixture
def fit(monkeypatch):
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)

    def run(X):
        model = GaussianMixture(2, random_state=0, max_iter=3, tol=0, cache=False)
        with pytest.warns(ConvergenceWarning):
            return model.fit(X)

    return run


def states(client):
    workers = client.scheduler_info(n_workers=-1)["workers"]
    return [worker["status"] for worker in workers.values()]


def until_paused(client):
    until = time.monotonic() + 20
    while "paused" not in states(client):
        assert time.monotonic() < until, "no worker was paused"
        time.sleep(0.05)


def litter(dask_worker):
    """Free memory that the process keeps, up to nine tenths of its limit."""
    from dask_gmm.engine.allocator import keep_freed_memory

    keep_freed_memory()
    blocks, dask_worker.between = [], []
    while dask_worker.monitor.get_process_memory() < 0.9 * LIMIT:
        blocks.append(np.ones(1 << 17))
        # Free memory at the end of the heap would be returned by itself.
        dask_worker.between.append(np.ones(1 << 13))
    del blocks
    return dask_worker.monitor.get_process_memory()


def test_freed_memory_does_not_hold_up_a_pass(make_client, impatient, fit, caplog):
    client = make_client(1)
    (held,) = client.run(litter).values()
    assert held > 0.8 * LIMIT, "it was not kept"
    until_paused(client)
    fit(ROWS)
    assert states(client) == ["running"]
    assert not [record for record in caplog.records if record.name == "dask_gmm"]


def test_a_worker_that_stays_paused_goes_on(make_client, impatient, fit, monkeypatch, caplog):
    monkeypatch.setattr(pressure, "_LOOKS", 2)
    # The package alone takes more.
    make_client(1, pause=0.15)
    with caplog.at_level(logging.WARNING, logger="dask_gmm"):
        fit(ROWS)
    told = [record.getMessage() for record in caplog.records if record.name == "dask_gmm"]
    assert told
    assert "is resumed. A task needs about" in told[0]
    assert "workers have 1.00 GiB" in told[0]


def test_tasks_that_a_paused_worker_has_are_done(make_client, impatient, fit, monkeypatch):
    monkeypatch.setattr(pressure, "_LOOKS", 2)
    client = make_client(2)
    quiet = fit(ROWS)
    address = next(iter(client.nthreads()))

    def slowly(rows):
        # Within a pass, when the worker has been given tasks.
        worker = get_worker()
        if worker.address == address and not hasattr(worker, "was_paused"):
            worker.was_paused = True
            worker.memory_manager.memory_pause_fraction = 0.01
        time.sleep(0.1)
        return rows

    model = fit(ROWS.map_blocks(slowly, dtype=float, meta=np.empty((0, 3))))
    (level,) = client.run(
        lambda dask_worker: dask_worker.memory_manager.memory_pause_fraction, workers=[address]
    ).values()
    assert level > 0.06, "it was not paused, or not resumed"
    np.testing.assert_allclose(model.means_, quiet.means_, rtol=1e-6)


def test_a_worker_that_does_not_answer_is_not_waited_for(make_client, monkeypatch):
    monkeypatch.setattr(pressure, "_ANSWER_SECONDS", 0.5)
    client = make_client(1)
    monkeypatch.setattr(pressure, "_give_back", lambda: time.sleep(3))
    began = time.monotonic()
    pressure.Relief(client, "").look(list(client.nthreads()))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize(("limit", "n_calls"), [(1 << 20, 1), (1 << 50, 0), (None, 0)])
def test_tasks_give_back_where_memory_is_short(limit, n_calls, monkeypatch):
    calls = []
    monkeypatch.setattr(pressure, "give_back_freed_memory", lambda: calls.append(1))
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None, memory_limit=1 << 50) as cluster,
        Client(cluster) as client,
    ):
        client.run(lambda dask_worker: setattr(dask_worker.memory_manager, "memory_limit", limit))
        assert client.submit(give_back_afterwards(len), "rows", pure=False).result() == 4
        assert len(calls) == n_calls
        with pytest.raises(TypeError):
            client.submit(give_back_afterwards(len), 4, pure=False).result()
        assert len(calls) == 2 * n_calls


def test_there_is_no_worker_to_be_short_of_memory(monkeypatch):
    monkeypatch.setattr(pressure, "give_back_freed_memory", lambda: pytest.fail("was called"))
    give_back_if_short()
