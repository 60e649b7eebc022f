"""Reading hides behind arithmetic between groups too, on threads and on workers, and no more work at once."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest
from distributed import Client, LocalCluster

from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.threads import ThreadsEngine

N_GROUPS = 8

# Here and not in an object: what a task works with is pickled.
begun: list[threading.Event] = []
working: list[int] = []


def note_beginning(index: int) -> float:
    begun[index].set()
    return 0.0


class UntilTheNextIsRead:
    """A reduction on a group that ends only when the next one is being read."""

    def zero(self):
        return []

    def update(self, value, block):
        working.append(1)
        number = int(block.rows[0, 0])
        if number + 1 < N_GROUPS:
            assert begun[number + 1].wait(30)
        # Long enough for another task to be found at work.
        time.sleep(0.02)
        n_working = len(working)
        working.pop()
        return [*value, n_working]

    def combine(self, values):
        return [one for value in values for one in value]


@pytest.fixture
def groups(make_source):
    """A stored source of one chunk a group; chunk i is full of i."""
    begun[:] = [threading.Event() for _ in range(N_GROUPS)]
    working.clear()
    source = make_source([np.full((1, 1), float(i)) for i in range(N_GROUPS)], seconds=note_beginning)
    source.stored = True
    return source


@pytest.mark.parametrize("n_threads", [1, 2])
def test_on_threads(groups, n_threads):
    engine = ThreadsEngine(groups, n_threads)
    (n_working,) = engine.run([UntilTheNextIsRead()])
    engine.close()
    assert len(n_working) == N_GROUPS
    assert max(n_working) <= n_threads


@pytest.mark.parametrize("n_threads", [1, 2])
def test_on_a_worker(groups, n_threads):
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=n_threads, processes=False, dashboard_address=None
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        engine = ClusterEngine(groups, client, cache=False)
        (n_working,) = engine.run([UntilTheNextIsRead()])
        engine.close()
    assert len(n_working) == N_GROUPS
    assert max(n_working) <= n_threads


def test_what_was_begun_ahead_ends_with_a_failed_pass(groups):
    class Failing(UntilTheNextIsRead):
        def update(self, value, block):
            raise RuntimeError("fails")

    engine = ThreadsEngine(groups, 1)
    with pytest.raises(RuntimeError, match="fails"):
        engine.run([Failing()])
    engine.close()
    assert len(groups.reads) <= 2
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("dask-gmm-read")]
