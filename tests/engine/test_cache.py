"""Which rows stay in the workers' memory between passes, by counting what is read."""

from __future__ import annotations

import os
import signal
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import dask.array as da
import numpy as np
import pytest
from dask.utils import parse_bytes
from distributed import Client, LocalCluster
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.engine.cache import groups_to_keep
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.memory_estimate import PassBytes, TaskMemory
from dask_gmm.engine.plan import Plan

N_CHUNKS, ROWS, D, PASSES = 32, 131_072, 4, 4
CHUNK_BYTES = ROWS * D * 8


def noted_chunk(path, block_info=None):
    """Return random rows, and leave a line in a file."""
    number = block_info[None]["chunk-location"][0]
    with open(path, "a") as log:
        log.write(f"{number}\n")
    return np.random.default_rng(number).normal(size=(ROWS, D))


class Noted:
    """A lazy array that knows how often each chunk was computed."""

    def __init__(self, path):
        self.path = Path(path)
        self.X = da.map_blocks(
            noted_chunk,
            str(path),
            chunks=((ROWS,) * N_CHUNKS, (D,)),
            dtype=float,
            meta=np.empty((0, 0)),
        )

    def reads(self):
        return Counter(map(int, self.path.read_text().split()))


@pytest.fixture
def noted(tmp_path):
    return Noted(tmp_path / "reads")


def fit(noted, passes=PASSES, **options):
    start = {
        "weights_init": [0.5, 0.5],
        "means_init": [[0.0] * D, [1.0] * D],
        "precisions_init": [np.eye(D)] * 2,
    }
    model = GaussianMixture(2, tol=0, max_iter=passes, **start, **options)
    with pytest.warns(ConvergenceWarning):
        return model.fit(noted.X)


def limit_for(share):
    """Return the memory limit of each of two workers that leaves room for this share of the rows."""
    memory = TaskMemory(CHUNK_BYTES, "", PassBytes(1000))
    room = share * N_CHUNKS * CHUNK_BYTES / 2
    return int((room + memory.process(1)) / 0.55)


@contextmanager
def two_workers(memory_limit):
    options = {"threads_per_worker": 1, "memory_limit": memory_limit, "dashboard_address": None}
    with LocalCluster(n_workers=2, **options) as cluster, Client(cluster) as client:
        yield client


def bits(model):
    return [model.weights_.tobytes(), model.means_.tobytes(), model.covariances_.tobytes()]


def spilled(client):
    return client.run(lambda dask_worker: dask_worker.data.cumulative_metrics.get(("disk-write", "bytes"), 0))


@pytest.mark.long
@pytest.mark.parametrize(
    ("cache", "share", "kept"), [("auto", 0.51, 0.5), ("auto", 1.1, 1), (False, 1.1, 0), (True, 1.1, 1)]
)
def test_kept_rows_are_read_once_and_the_rest_in_each_pass(noted, cache, share, kept):
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, memory_limit=limit_for(share), dashboard_address=None
        ) as cluster,
        Client(cluster) as client,
    ):
        model = fit(noted, cache=cache)
        assert set(spilled(client).values()) == {0}
    expected = Counter({1: int(kept * N_CHUNKS), PASSES: N_CHUNKS - int(kept * N_CHUNKS)})
    assert Counter(noted.reads().values()) == +expected
    assert bits(model) == bits(fit(noted))


@dataclass(frozen=True)
class Sums:
    """A reduction that lists the sum of each block."""

    def zero(self):
        return []

    def update(self, value, block):
        return [*value, float(block.rows.sum())]

    def combine(self, values):
        return [number for value in values for number in value]


@pytest.mark.long
def test_what_a_lost_worker_kept_is_read_again(noted):
    with two_workers(limit_for(1.1)) as client:
        engine = ClusterEngine(DaskArraySource(noted.X), client, "auto")
        before = engine.run([Sums()])
        assert set(noted.reads().values()) == {1}
        held = {
            worker: sum(str(key).startswith("gmm-rows") for key in keys)
            for worker, keys in client.has_what().items()
        }
        lost = max(held, key=held.get)
        os.kill(client.run(os.getpid, workers=[lost])[lost], signal.SIGKILL)
        assert engine.run([Sums()]) == before
        engine.close()
    times = Counter(noted.reads().values())
    # The dead worker's part, nothing else, and that once; a part of it may have a copy elsewhere.
    assert set(times) == {1, 2}
    assert times[2] <= N_CHUNKS // engine.n_groups * held[lost]


class Persisted(DaskArraySource):
    """Says of the second half of its chunks that they are persisted."""

    def futures(self, indices):
        return {index: None for index in indices if index >= N_CHUNKS // 2}


def test_a_fixed_part_is_kept():
    source = DaskArraySource(da.zeros((N_CHUNKS * ROWS, D), chunks=(ROWS, D)))
    groups, memory = Plan.of(source).groups, TaskMemory.of(source, PassBytes(1000))
    workers = [(limit_for(0.51), 1)] * 2
    assert groups_to_keep(source, groups, "auto", memory, workers) == frozenset(range(len(groups) // 2))
    assert groups_to_keep(source, groups, "auto", memory, [(0, 1)]) == frozenset()
    assert groups_to_keep(source, groups, "auto", memory, [(parse_bytes("400MB"), 1)]) == frozenset()
    # More threads need more room.
    assert len(groups_to_keep(source, groups, "auto", memory, [(limit_for(0.5), 4)] * 2)) < len(groups) // 2


def test_persisted_rows_are_not_kept_twice():
    source = Persisted(da.zeros((N_CHUNKS * ROWS, D), chunks=(ROWS, D)))
    groups, memory = Plan.of(source).groups, TaskMemory.of(source, PassBytes(1000))
    kept = groups_to_keep(source, groups, "auto", memory, [(limit_for(3), 1)] * 2)
    assert kept == frozenset(range(len(groups) // 2))
