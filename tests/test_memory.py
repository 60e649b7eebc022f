"""Memory does not grow with the rows: a worker keeps to its estimate, predictions need next to nothing."""

from __future__ import annotations

import tracemalloc

import dask.array as da
import numpy as np
import psutil
import pytest
from distributed import Client, LocalCluster, get_worker
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.engine.memory_estimate import PassBytes, TaskMemory

ROWS, D, K = 50_000, 16, 4
STATISTICS_BYTES = 8 * K * (1 + D + D * (D + 1) // 2)


def watched_block(block_info=None):
    """Return random rows, noting the worker's memory."""
    rng = np.random.default_rng(block_info[None]["chunk-location"][0])
    worker = get_worker()
    worker.peak = max(getattr(worker, "peak", 0), psutil.Process().memory_info().rss)
    return rng.normal(size=(ROWS, D))


def peak_of_fit(n_chunks):
    X = da.map_blocks(watched_block, chunks=((ROWS,) * n_chunks, (D,)), dtype=float, meta=np.empty((0, 0)))
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": np.random.default_rng(0).normal(size=(K, D)),
        "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
    }
    model = GaussianMixture(K, tol=0, max_iter=2, cache=False, **start)
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=1, dashboard_address=None, memory_limit="4GB"
        ) as cluster,
        Client(cluster) as client,
    ):
        with pytest.warns(ConvergenceWarning):
            model.fit(X)
        (peak,) = client.run(lambda dask_worker: dask_worker.peak).values()
    return peak, TaskMemory.of(DaskArraySource(X), PassBytes(values=STATISTICS_BYTES)).process(1)


@pytest.mark.long
def test_memory_is_flat_while_rows_grow_tenfold():
    few, estimate = peak_of_fit(12)
    many, _ = peak_of_fit(120)
    print(f"peak of a worker: {few / 1e6:.0f} MB with 77 MB of rows, {many / 1e6:.0f} MB with 768 MB of rows")
    print(f"estimate: {estimate / 1e6:.0f} MB")
    assert many < 1.1 * few
    assert many < estimate


def peak_of_prediction(method, n, d, n_components):
    """Return the bytes that a prediction of rows in memory takes beyond its result."""
    rng = np.random.default_rng(0)
    model = GaussianMixture(n_components, init_params="random_from_data", max_iter=1, reg_covar=1.0)
    with pytest.warns(ConvergenceWarning):
        model.fit(rng.normal(size=(1000, d)))
    predict, rows = getattr(model, method), rng.normal(size=(n, d))
    predict(rows[:100])
    tracemalloc.start()
    try:
        result = predict(rows)
        return tracemalloc.get_traced_memory()[1] - result.nbytes
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples"])
@pytest.mark.parametrize(("d", "n_components"), [(1, 50), (16, 16)])
def test_predictions_take_little_memory_beside_their_result(method, d, n_components):
    few, many = (peak_of_prediction(method, n, d, n_components) for n in (100_000, 1_000_000))
    assert many < 20e6
    assert many < 1.5 * few + 1e6
