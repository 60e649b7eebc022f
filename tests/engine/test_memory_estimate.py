"""What a worker needs is known beforehand, and the advice for one that is too small is right."""

from __future__ import annotations

import os
import re
import tracemalloc

import dask.array as da
import numpy as np
import pytest
from dask.utils import parse_bytes
from distributed import Client, LocalCluster
from distributed.protocol.pickle import dumps, loads
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.engine.group import combine_values, run_group
from dask_gmm.engine.memory_estimate import (
    BASE_BYTES,
    READING_BYTES,
    PassBytes,
    TaskMemory,
)
from dask_gmm.engine.read_ahead import Reading
from dask_gmm.errors import ChunkTooLargeError
from dask_gmm.fitting.reductions import EStep
from dask_gmm.model.density import Density

MEGABYTE = 1 << 20


@pytest.mark.parametrize("reading", [0, READING_BYTES])
@pytest.mark.parametrize("room", [100, 120, 300])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_advice_fits_and_more_does_not(room, n_threads, reading):
    # Dask ends a worker at 95 % of its limit.
    limit = int((BASE_BYTES + n_threads * room * MEGABYTE) / 0.95)
    memory = TaskMemory(500 * MEGABYTE, "chunk c/0/0", PassBytes(10_000), reading)
    with pytest.raises(ChunkTooLargeError, match="chunk c/0/0") as error:
        memory.check(limit, n_threads)
    advised = parse_bytes(re.search(r"at most ([\d.]+ \w+) per chunk", str(error.value))[1])
    TaskMemory(int(0.95 * advised), "", PassBytes(10_000), reading).check(limit, n_threads)
    with pytest.raises(ChunkTooLargeError):
        TaskMemory(int(1.1 * advised), "", PassBytes(10_000), reading).check(limit, n_threads)
    needed = parse_bytes(re.search(r"memory_limit to ([\d.]+ \w+)", str(error.value))[1])
    memory.check(int(1.01 * needed), n_threads)


def test_no_limit_is_no_problem():
    TaskMemory(10**12, "").check(0, 4)


def bytes_of_statistics(K, d, n_mixtures):
    return 8 * n_mixtures * K * (1 + d + d * (d + 1) // 2)


@pytest.mark.parametrize(("K", "d"), [(24, 60), (9, 100), (2, 200)])
def test_a_task_has_what_it_computes_no_more_often_than_announced(make_source, K, d):
    rng, n_mixtures = np.random.default_rng(0), 3
    rows = rng.normal(size=(200, d))
    densities = [
        Density("full", np.full(K, 1 / K), rng.normal(size=(K, d)), np.tile(np.eye(d), (K, 1, 1)))
        for _ in range(n_mixtures)
    ]
    source = make_source([rows, rows])

    def task():
        payload = dumps([EStep(density, rows.dtype) for density in densities])
        reductions = loads(payload)
        values = run_group(Reading.of(source, [0, 1], 0).begin(), reductions)
        return len(payload), reductions, values

    task()  # compiles
    tracemalloc.start()
    try:
        n_payload, reductions, values = task()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.reset_peak()
        before = tracemalloc.get_traced_memory()[0]
        combine_values(reductions, [values, values])
        peak_of_merge = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    computed = PassBytes(bytes_of_statistics(K, d, n_mixtures))
    announced = TaskMemory(0, "", computed).task
    assert peak <= announced
    # The mixtures twice, two values, their sum.
    assert 2 * n_payload + 2 * computed.values + peak_of_merge <= announced


@pytest.mark.long
@pytest.mark.parametrize(("n_workers", "n_threads"), [(1, 1), (2, 2)])
def test_workers_of_exactly_the_announced_memory_merge_large_statistics(n_workers, n_threads):
    K, d, n_groups = 64, 200, 40

    def block(numbers):
        return np.random.default_rng(int(numbers[0, 0])).normal(size=(30, numbers.shape[1]))

    numbers = da.broadcast_to(da.arange(n_groups, chunks=1)[:, None], (n_groups, d), chunks=(1, d))
    chunks = ((np.nan,) * n_groups, (d,))  # each a group of its own
    X = da.map_blocks(block, numbers, chunks=chunks, dtype=float, meta=np.empty((0, d)))
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": np.random.default_rng(0).normal(size=(K, d)),
        "precisions_init": np.tile(np.eye(d), (K, 1, 1)),
    }
    model = GaussianMixture(K, n_init=3, max_iter=1, tol=0, reg_covar=1.0, cache=False, **start)
    memory = TaskMemory.of(lazy_source(X), PassBytes(bytes_of_statistics(K, d, 3)))
    with (
        LocalCluster(
            n_workers=n_workers,
            threads_per_worker=n_threads,
            memory_limit=memory.worker(n_threads),
            dashboard_address=None,
        ) as cluster,
        Client(cluster) as client,
    ):
        processes = set(client.run(os.getpid).values())
        with pytest.warns(ConvergenceWarning):
            model.fit(X)
        assert set(client.run(os.getpid).values()) == processes, "a worker was killed"
    with pytest.warns(ConvergenceWarning):
        on_threads = GaussianMixture(**model.get_params()).fit(X)
    np.testing.assert_array_equal(model.covariances_, on_threads.covariances_)
