"""One pass, on threads or a cluster: all blocks, in order, each read once, errors as they are."""

from __future__ import annotations

import threading
import time
from collections import Counter
from contextlib import closing
from dataclasses import dataclass

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, get_worker

from dask_gmm.data.dispatch import lazy_source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.threads import ThreadsEngine
from dask_gmm.errors import DataError

N_CHUNKS = 40


@dataclass(frozen=True)
class Listing:
    """Lists the first number of each block, in the order in which values are merged."""

    factor: int = 1

    def zero(self):
        return []

    def update(self, value, block):
        return [*value, self.factor * int(block.rows[0, 0])]

    def combine(self, values):
        return [number for value in values for number in value]


@dataclass(frozen=True)
class Failing(Listing):
    """Fails at one block."""

    at: int = 3

    def update(self, value, block):
        if block.rows[0, 0] == self.at:
            raise DataError(f"bad block {self.at}")
        return super().update(value, block)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=3, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(params=["one thread", "threads", "cluster"])
def make_engine(request):
    match request.param:
        case "one thread":
            return lambda source: ThreadsEngine(source, 1)
        case "threads":
            return lambda source: ThreadsEngine(source, 4)
    client = request.getfixturevalue("client")
    return lambda source: ClusterEngine(source, client)


@pytest.fixture
def rows():
    """A dask array with unknown chunks, one group each: chunk i is full of i."""
    blocks = da.repeat(da.arange(N_CHUNKS, chunks=1), 5)[:, None] * da.ones((1, 2))
    return blocks[da.isfinite(blocks[:, 0])]


def test_values_are_merged_in_the_order_of_the_chunks(make_engine, rows):
    engine = make_engine(lazy_source(rows))
    assert engine.n_groups == N_CHUNKS
    first, second = engine.run([Listing(), Listing(10)])
    assert first == list(range(N_CHUNKS))
    assert second == list(range(0, 10 * N_CHUNKS, 10))
    assert engine.run([Listing(3)]) == [list(range(0, 3 * N_CHUNKS, 3))]
    engine.close()


def test_chunks_of_a_group_are_added_in_order(make_engine):
    source = lazy_source(da.repeat(da.arange(N_CHUNKS, chunks=1), 5)[:, None] * da.ones((1, 2)))
    engine = make_engine(source)
    assert engine.n_groups == 1
    assert engine.run([Listing()]) == [list(range(N_CHUNKS))]
    engine.close()


def test_groups_are_told_in_the_calling_thread(make_engine, rows):
    engine, told, threads = make_engine(lazy_source(rows)), [], set()

    def group_done(number):
        told.append(number)
        threads.add(threading.get_ident())

    engine.run([Listing()], group_done)
    assert sorted(told) == list(range(N_CHUNKS))
    assert threads == {threading.get_ident()}
    engine.close()


def test_an_error_comes_as_it_is(make_engine, rows):
    engine = make_engine(lazy_source(rows))
    with pytest.raises(DataError, match="bad block 3"):
        engine.run([Failing()])
    # The engine can go on.
    assert engine.run([Listing()]) == [list(range(N_CHUNKS))]
    engine.close()


def test_no_chunks(make_engine, make_source):
    source = make_source([np.zeros((0, 2))])
    source.chunks = []
    assert make_engine(source).run([Listing()]) == [[]]


def test_reductions_too_large_for_a_task(make_engine, rows):
    @dataclass(frozen=True)
    class Large(Listing):
        ballast: bytes = b"x" * 100_000

    engine = make_engine(lazy_source(rows))
    assert engine.run([Large()]) == [list(range(N_CHUNKS))]
    engine.close()


@dataclass(frozen=True)
class Where(Listing):
    """Lists the workers that the groups were done by."""

    ballast: bytes = b""

    def update(self, value, block):
        time.sleep(0.002)
        return [*value, get_worker().name]


LARGE = b"x" * 200_000


@pytest.mark.parametrize(
    ("saturation", "ballast"),
    [
        (1.1, LARGE),
        *(pytest.param(saturation, LARGE, marks=pytest.mark.long) for saturation in (1.0, "inf")),
        *(pytest.param(saturation, b"", marks=pytest.mark.long) for saturation in (1.0, 1.1, "inf")),
    ],
    ids=lambda value: f"{len(value)} bytes" if isinstance(value, bytes) else value,
)
def test_all_workers_have_their_share_in_every_pass(rows, saturation, ballast):
    # Fewer groups than twice the threads, which Dask takes for tasks that belong to their inputs; and a
    # memory manager that drops what is kept more than once all the time.
    settings = {
        "distributed.scheduler.worker-saturation": saturation,
        "distributed.scheduler.active-memory-manager.interval": "50ms",
    }
    n_workers = 24
    # No limit of memory: a 24th of the machine's is soon less than what the process of all tests holds, and
    # Dask pauses every worker that finds its process above it.
    options = {"n_workers": n_workers, "threads_per_worker": 1, "dashboard_address": None, "memory_limit": 0}
    with (
        dask.config.set(settings),
        LocalCluster(processes=False, **options) as cluster,
        Client(cluster, set_as_default=False) as client,
        closing(ClusterEngine(lazy_source(rows), client)) as engine,
    ):
        for _ in range(7):
            (workers,) = engine.run([Where(ballast=ballast)])
            assert len(workers) == N_CHUNKS
            assert max(Counter(workers).values()) <= N_CHUNKS / 4
            assert len(set(workers)) > n_workers / 2


@pytest.mark.parametrize("n_threads", [1, 3])
def test_threads_read_each_chunk_once(make_source, n_threads):
    source = make_source([np.full((2, 2), float(number)) for number in range(N_CHUNKS)])
    ThreadsEngine(source, n_threads).run([Listing(), Listing()])
    assert sorted(source.reads) == list(range(N_CHUNKS))


def test_an_error_on_threads_ends_the_pass_early(make_source):
    source = make_source([np.full((2, 2), float(n)) for n in range(N_CHUNKS)], seconds=lambda index: 0.002)
    with pytest.raises(DataError):
        ThreadsEngine(source, 2).run([Failing(at=0)])
    assert len(source.reads) < N_CHUNKS // 2


def test_rows_that_are_kept_are_read_once(make_source):
    source = make_source([np.full((2, 2), float(number)) for number in range(N_CHUNKS)])
    engine = ThreadsEngine(source, 2, keep=True)
    for _ in range(3):
        assert engine.run([Listing()]) == [list(range(N_CHUNKS))]
    assert sorted(source.reads) == list(range(N_CHUNKS))


def test_the_scheduler_chooses(make_source, rows):
    source = lazy_source(rows)
    assert isinstance(choose_engine(source), ThreadsEngine)
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        engine = choose_engine(source)
        assert isinstance(engine, ClusterEngine)
        engine.close()
        with dask.config.set(scheduler="threads"):
            assert isinstance(choose_engine(source), ThreadsEngine)
        in_memory = make_source([np.zeros((2, 2))])
        in_memory.in_memory = True
        assert isinstance(choose_engine(in_memory), ThreadsEngine)
    with dask.config.set(scheduler="sync"):
        names = set()
        choose_engine(source).run([_naming(names)])
    assert names == {threading.current_thread().name} or len(names) == 1


def _naming(names):
    class Naming(Listing):
        def update(self, value, block):
            names.add(threading.current_thread().name)
            return value

    return Naming()
