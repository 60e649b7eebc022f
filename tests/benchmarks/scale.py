"""What a pass costs at scale: ``python tests/benchmarks/scale.py NAME ...``; without a name, all.

Every number of the README's section on scale comes from here. Rows are generated as they are read, so that
no size is limited by the disk; generating is cheap next to the arithmetic.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import zarr
from processes import Cluster, PeakMemory, cluster
from zarr.storage import LocalStore
from zarr.testing.store import LatencyStore

from dask_gmm import GaussianMixture

warnings.simplefilter("ignore")


def make_block(seed_rows: Any, d: int, dtype: str, block_info: Any = None) -> Any:
    """Return cheap rows: the same normal rows in every block, shifted a little by its number."""
    (shape, location) = block_info[None]["chunk-shape"], block_info[None]["chunk-location"]
    rows = _base(seed_rows, d, dtype)[: shape[0]]
    return rows + np.asarray(0.001 * (location[0] % 7), dtype)


_BASES: dict[Any, Any] = {}


def _base(n: int, d: int, dtype: str) -> Any:
    if (n, d, dtype) not in _BASES:
        rng = np.random.default_rng(0)
        centres = rng.normal(size=(10, d)) * 1.5
        _BASES[n, d, dtype] = (centres[rng.integers(10, size=n)] + rng.normal(size=(n, d))).astype(dtype)
    return _BASES[n, d, dtype]


def generated(n: int, d: int, rows: int, dtype: str) -> da.Array:
    """Return a lazy array of n rows in blocks of `rows`."""
    sizes = (rows,) * (n // rows)
    return da.map_blocks(
        partial(make_block, rows, d, dtype), chunks=(sizes, (d,)), dtype=dtype, meta=np.empty((0, 0), dtype)
    )


def given_start(K: int, d: int, dtype: str) -> dict[str, Any]:
    """Return a start that needs no pass."""
    rng = np.random.default_rng(1)
    return {
        "weights_init": np.full(K, 1 / K),
        "means_init": rng.normal(size=(K, d)) * 1.5,
        "precisions_init": np.tile(np.eye(d), (K, 1, 1)),
        "tol": 0.0,
    }


def bits(model: GaussianMixture) -> list[bytes]:
    """Return the fitted parameters' bytes."""
    return [model.weights_.tobytes(), model.means_.tobytes(), model.covariances_.tobytes()]


def timed_passes(X: Any, K: int, d: int, dtype: str, passes: int, **options: Any) -> tuple[float, Any]:
    """Return seconds a pass and the model, from fits of one and of `passes` more passes."""
    seconds = []
    for max_iter in (1, 1 + passes):
        model = GaussianMixture(K, max_iter=max_iter, cache=False, **given_start(K, d, dtype), **options)
        began = time.perf_counter()
        model.fit(X)
        seconds.append(time.perf_counter() - began)
    return (seconds[1] - seconds[0]) / passes, model


def chunks() -> dict[str, Any]:
    """100 000 chunks: what the scheduler does, and the same bits as on local threads."""
    n_chunks, rows, d, K = 100_000, 50, 4, 3
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "many.zarr")
        stored = zarr.create_array(
            path, shape=(n_chunks * rows, d), chunks=(rows, d), dtype="f4", compressors=None
        )
        stored[:] = np.resize(_base(100_000, d, "float32"), stored.shape)
        sources = {"zarr": path, "lazy dask array": generated(n_chunks * rows, d, rows, "float32")}
        for name, X in sources.items():
            with cluster(2) as running:
                seconds, model, tasks = _counted(running, X, K, d)
            with dask.config.set(scheduler="threads"):
                local = GaussianMixture(K, max_iter=3, **given_start(K, d, "float32")).fit(X)
            results[name] = {
                **seconds,
                "tasks a pass": tasks,
                "same bits as threads": bits(model) == bits(local),
            }
    return results


def _counted(running: Cluster, X: Any, K: int, d: int) -> tuple[dict[str, float], Any, int]:
    costs = []
    for max_iter in (1, 3):
        before, began = running.scheduler_seconds(), time.perf_counter()
        model = GaussianMixture(K, max_iter=max_iter, cache=False, **given_start(K, d, "float32")).fit(X)
        costs.append((running.scheduler_seconds() - before, time.perf_counter() - began))
    tasks = running.client.run_on_scheduler(
        lambda dask_scheduler: sum(
            prefix.state_counts["memory"] + prefix.state_counts["released"]
            for name, prefix in dask_scheduler.task_prefixes.items()
        )
    )
    return (
        {
            "scheduler CPU seconds a pass": (costs[1][0] - costs[0][0]) / 2,
            "seconds a pass": (costs[1][1] - costs[0][1]) / 2,
        },
        model,
        tasks,
    )


def linear() -> dict[str, Any]:
    """2 GB and 20 GB of generated rows through two workers of 1 GB each."""
    d, K, rows = 16, 8, 125_000
    results = {}
    for gigabytes in (2, 20):
        X = generated(gigabytes * 1_000_000_000 // (4 * d) // rows * rows, d, rows, "float32")
        with cluster(2, "1GB") as running, PeakMemory(running) as memory:
            seconds, _ = timed_passes(X, K, d, "float32", 2 if gigabytes == 2 else 1)
        results[f"{gigabytes} GB"] = {"seconds a pass": seconds, "peak worker MB": memory.peak / 1e6}
    results["growth over tenfold"] = results["20 GB"]["seconds a pass"] / (
        10 * results["2 GB"]["seconds a pass"]
    )
    return results


def billion() -> dict[str, Any]:
    """A billion rows of 32 float32 features, 10 full components, two workers of 1 GB each."""
    d, K, rows = 32, 10, 250_000
    X = generated(1_000_000_000, d, rows, "float32")
    with cluster(2, "1GB") as running, PeakMemory(running) as memory:
        model = GaussianMixture(K, max_iter=1, cache=False, **given_start(K, d, "float32"))
        began = time.perf_counter()
        model.fit(X)
        seconds = time.perf_counter() - began
    return {"seconds for one whole pass": seconds, "peak worker MB": memory.peak / 1e6}


def latency() -> dict[str, Any]:
    """A store that answers after 50 ms: the pass against reading alone and arithmetic alone."""
    d, K, rows, n_chunks = 32, 24, 25_000, 40
    with tempfile.TemporaryDirectory() as folder:
        path = str(Path(folder) / "slow.zarr")
        stored = zarr.create_array(
            path, shape=(rows * n_chunks, d), chunks=(rows, d), dtype="f4", compressors=None
        )
        for number in range(n_chunks):
            stored[number * rows : (number + 1) * rows] = _base(rows, d, "float32")
        slow = zarr.open_array(LatencyStore(LocalStore(path, read_only=True), get_latency=0.05), mode="r")
        with dask.config.set(scheduler="sync"):
            reading = _seconds(lambda: [slow[i * rows : (i + 1) * rows] for i in range(n_chunks)])
            arithmetic, _ = timed_passes(np.asarray(stored[:]), K, d, "float32", 3)
            together, _ = timed_passes(slow, K, d, "float32", 3)
    return {
        "reading alone": reading,
        "arithmetic alone": arithmetic,
        "a pass": together,
        "over the larger": together / max(reading, arithmetic),
    }


def _seconds(function: Callable[[], Any]) -> float:
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def elastic() -> dict[str, Any]:
    """A worker joins in the middle of a pass, and one leaves: seconds and bits."""
    d, K, rows = 16, 8, 125_000
    X = generated(120 * rows, d, rows, "float32")
    results: dict[str, Any] = {}
    expected = None
    for name in ("one worker", "joined by a second", "two workers", "one of two leaves"):
        with cluster(2 if "two" in name else 1, "1GB") as running:
            timed_passes(generated(4 * rows, d, rows, "float32"), K, d, "float32", 1)
            if name == "joined by a second":
                threading.Timer(0.2, running.add_worker).start()
            if name == "one of two leaves":
                threading.Timer(1.0, running.workers[0].terminate).start()
            began = time.perf_counter()
            model = GaussianMixture(K, max_iter=3, cache=False, **given_start(K, d, "float32")).fit(X)
            seconds = time.perf_counter() - began
        expected = expected or bits(model)
        results[name] = {"seconds": seconds, "same bits": bits(model) == expected}
    return results


def placement() -> dict[str, Any]:
    """1 GB, K = 50, d = 64: parameters far over 100 kB; bytes that each of two workers took."""
    d, K, rows = 64, 50, 15_625
    X = generated(250 * rows, d, rows, "float32")
    with cluster(2, "2GB") as running:
        model = GaussianMixture(K, max_iter=2, cache=False, **given_start(K, d, "float32")).fit(X)
        counts = running.client.run(lambda dask_worker: len(dask_worker.state.log))
    return {"scheduler log lengths": list(counts.values()), "iterations": model.n_iter_}


BENCHMARKS = {
    function.__name__: function for function in (chunks, linear, latency, elastic, placement, billion)
}


def main() -> None:
    """Run the benchmarks named on the command line and print their results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    for name in parser.parse_args().names or BENCHMARKS:
        print(json.dumps({name: BENCHMARKS[name]()}, indent=2, default=float))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
