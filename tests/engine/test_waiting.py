"""What a cluster that is gone looks like to a fit: a typed error, whichever call found out."""

from __future__ import annotations

from concurrent.futures import CancelledError
from types import SimpleNamespace

import dask
import pytest
from distributed import Client, LocalCluster
from distributed.client import ClosedClientError
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

from dask_gmm.engine import waiting
from dask_gmm.engine.waiting import (
    ClusterError,
    NoWorkersError,
    Patience,
    SchedulerLostError,
    WorkersKilledError,
    connected,
)


@pytest.mark.parametrize(
    "error",
    [CommClosedError("closed"), TimeoutError(), CancelledError(), ClosedClientError("send", 1), OSError()],
)
def test_calls_to_a_scheduler_that_is_gone(error):
    with (
        pytest.raises(
            SchedulerLostError, match=rf"\({type(error).__name__}\).*goes on from the last pass"
        ) as told,
        connected(),
    ):
        raise error
    assert told.value.__cause__ is error
    assert isinstance(told.value, ClusterError)


def test_other_errors_are_left_alone():
    with pytest.raises(ZeroDivisionError), connected():
        raise ZeroDivisionError


def test_a_closed_client():
    with LocalCluster(n_workers=1, processes=False, dashboard_address=":0") as cluster:
        client = Client(cluster, set_as_default=False)
        client.close()
        with pytest.raises(SchedulerLostError), connected():
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


def test_all_tasks_of_killed_workers_are_given_back():
    future = Dying(3)
    assert Patience(future, "note").result(future, KEYS) == "done"
    assert future.retried == [["one", "two", "root"]] * 3


def test_until_they_were_too_often():
    future = Dying(3)
    with dask.config.set({"dask-gmm.killed-retries": 2}):
        patience = Patience(future, "Chunks have 3 GiB, workers 2 GiB.")
    with pytest.raises(WorkersKilledError, match="Chunks have 3 GiB, workers 2 GiB"):
        patience.result(future, KEYS)
    assert len(future.retried) == 2


@pytest.mark.parametrize("error", [TimeoutError("the task's"), UnboundLocalError("the task's")])
def test_a_task_that_times_out_by_itself_is_no_reason_to_wait(error):
    class TimedOut:
        status = "error"

        def result(self, timeout):
            raise self.exception()

        def exception(self):
            return error

    with pytest.raises(type(error), match="the task's"):
        Patience(SimpleNamespace(), "").result(TimedOut())


def test_a_result_in_the_instant_of_the_timeout():
    class JustInTime:
        status, asked = "finished", 0

        def result(self, timeout):
            self.asked += 1
            if self.asked == 1:
                # What `distributed.utils.sync` does then.
                raise UnboundLocalError("cannot access local variable 'result'")
            return "done"

    assert Patience(SimpleNamespace(), "").result(JustInTime()) == "done"


def test_waiting_for_workers_ends(monkeypatch):
    class Pending:
        status = "pending"

        def result(self, timeout):
            clock.now += timeout
            raise TimeoutError

    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(waiting, "monotonic", lambda: clock.now)
    client = SimpleNamespace(nthreads=lambda callback_timeout: {})
    with pytest.raises(NoWorkersError, match="No worker has been left for 600 s"):
        Patience(client, "").result(Pending())
    assert 600 < clock.now < 650
