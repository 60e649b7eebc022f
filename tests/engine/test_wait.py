"""What a cluster that is gone looks like to a fit: a typed error, whichever call found out."""

from __future__ import annotations

from concurrent.futures import CancelledError
from types import SimpleNamespace

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.client import ClosedClientError, FutureCancelledError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from dask_gmm.engine import wait as waiting
from dask_gmm.engine.wait import Patience, scheduler_errors
from dask_gmm.errors import ClusterError, DataError, NoWorkersError, SchedulerLostError, WorkersKilledError


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.mark.parametrize(
    "error",
    [CommClosedError("closed"), TimeoutError(), CancelledError(), ClosedClientError("send", 1), OSError()],
)
def test_calls_to_a_scheduler_that_is_gone(error):
    with (
        pytest.raises(
            SchedulerLostError, match=rf"\({type(error).__name__}\).*goes on from the last pass"
        ) as told,
        scheduler_errors(),
    ):
        raise error
    assert told.value.__cause__ is error
    assert isinstance(told.value, ClusterError)


def test_what_tasks_are_made_of_may_be_lost_while_the_scheduler_answers():
    with (
        pytest.raises(DataError, match=r"not on this cluster any more.*persist it with the client"),
        scheduler_errors(),
    ):
        raise FutureCancelledError("gmm-pass-0", "lost dependencies")
    with pytest.raises(SchedulerLostError), scheduler_errors():
        raise FutureCancelledError("gmm-pass-0", "scheduler-connection-lost")


def test_other_errors_are_left_alone():
    with pytest.raises(ZeroDivisionError), scheduler_errors():
        raise ZeroDivisionError


def test_a_closed_client():
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        client = Client(cluster, set_as_default=False)
        client.close()
        with pytest.raises(SchedulerLostError), scheduler_errors():
            client.submit(int, pure=False)


class Dying:
    """A future whose tasks are killed with their workers so many times, and the client that knows it."""

    key, id = "root", "client"

    def __init__(self, n_deaths):
        self.left, self.retried, self.status = n_deaths, [], "error"
        self.scheduler = SimpleNamespace(get_task_status=self.states, retry=self.retry)

    def result(self, timeout):
        if self.left:
            self.left -= 1
            raise KilledWorker("task", SimpleNamespace(address="tcp://w"), 0)
        return "done"

    def sync(self, call, callback_timeout, **arguments):
        return call(**arguments)

    def states(self, keys):
        # What the scheduler makes of two parts that were killed at once.
        found = {"one": "erred", "two": "erred", "merge": "released", "other": "memory", "root": "erred"}
        return {key: found[key] for key in keys}

    def retry(self, keys, client):
        self.retried.append(keys)
        self.status = "pending"


KEYS = ["one", "two", "other", "merge", "root"]


def test_all_tasks_of_killed_workers_are_given_back(monkeypatch):
    monkeypatch.setattr(Patience, "_fetching", lambda self, future: future)
    future = Dying(3)
    assert Patience(future, "note").result(future, KEYS) == "done"
    assert future.retried == [["one", "two", "root"]] * 3


def test_until_they_were_too_often(monkeypatch):
    monkeypatch.setattr(Patience, "_fetching", lambda self, future: future)
    future = Dying(3)
    with dask.config.set({"dask-gmm.killed-retries": 2}):
        patience = Patience(future, "Chunks have 3 GiB, workers 2 GiB.")
    with pytest.raises(WorkersKilledError, match="Chunks have 3 GiB, workers 2 GiB"):
        patience.result(future, KEYS)
    assert len(future.retried) == 2


def test_a_task_that_times_out_by_itself_is_no_reason_to_wait(client):
    def time_out():
        raise TimeoutError("the task's")

    with pytest.raises(TimeoutError, match="the task's"):
        Patience(client, "").result(client.submit(time_out, pure=False))


def test_a_large_result_arrives_whatever_is_done_meanwhile(client, monkeypatch):
    monkeypatch.setattr(waiting, "_MEANWHILE_SECONDS", 1e-4)
    calls = []
    future = client.submit(bytes, 100_000_000, pure=False)
    assert len(Patience(client, "").result(future, meanwhile=lambda: calls.append(1))) == 100_000_000
    assert calls


def test_waiting_for_workers_ends(monkeypatch):
    class Pending:
        status = "pending"

        def result(self, timeout):
            clock.now += timeout
            raise TimeoutError

        def done(self):
            return False

    monkeypatch.setattr(Patience, "_fetching", lambda self, future: future)
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(waiting, "monotonic", lambda: clock.now)
    workers = {"tcp://w": {"status": "closing_gracefully"}}
    client = SimpleNamespace(
        scheduler=SimpleNamespace(identity=lambda n_workers: {"workers": workers}),
        sync=lambda call, callback_timeout, **arguments: call(**arguments),
    )
    with pytest.raises(NoWorkersError, match="No worker has been running for 600 s"):
        Patience(client, "").result(Pending())
    assert 600 < clock.now < 650
