"""What a pass costs at scale: ``python tests/benchmarks/scale.py NAME ...``; without a name, all.

Every number of README.md's section on scale comes from here. Rows are generated as they are read, so that
no size is limited by the disk; generating is cheap next to the arithmetic.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import tempfile
import threading
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import dask
import numpy as np
import psutil
import sklearn.mixture
import zarr
from fits import fitted, given_start, seconds_of_passes
from processes import Cluster, PeakMemory, cluster
from rows import block_of_rows, generated, many_files, stored
from zarr.storage import LocalStore
from zarr.testing.store import LatencyStore

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.checkpointing.identity import source_identity
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.memory_estimate import TaskMemory
from dask_gmm.engine.plan import Plan
from dask_gmm.engine.threads import ThreadsEngine

warnings.simplefilter("ignore")


def bits(model: GaussianMixture) -> list[bytes]:
    """Return the fitted parameters' bytes."""
    return [model.weights_.tobytes(), model.means_.tobytes(), model.covariances_.tobytes()]


def chunks() -> dict[str, Any]:
    """100 000 chunks: what the scheduler and the client do, and the same bits as on local threads."""
    n_chunks, rows, d = 100_000, 50, 4
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        sources = {
            "zarr": partial(many_files, folder, n_chunks, d, rows),
            "lazy dask array": partial(generated, n_chunks * rows, d, rows),
        }
        for name, make in sources.items():
            X = make()
            with cluster(2) as running:
                results[name], model = _counted(running, X)
            with dask.config.set(scheduler="threads"):
                local = fitted(X, 3, 1)
            results[name]["same bits as threads"] = bits(model) == bits(local)
    return results


def listing() -> dict[str, Any]:
    """1 000 000 chunks that nobody reads: what the client does before the first of them is asked for."""
    n_chunks, rows, d = 1_000_000, 50, 8
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        array = zarr.create_array(folder, shape=(n_chunks * rows, d), chunks=(rows, d), dtype="f8")
        source = from_zarr(array)
        steps: dict[str, Callable[[], Any]] = {
            "chunks": lambda: source.chunks,
            "plan": partial(Plan.of, source),
            "memory of a task": partial(TaskMemory.of, source, 1),
            "identity of a checkpoint": partial(source_identity, source),
            "engine on threads": partial(ThreadsEngine, source),
        }
        before = psutil.Process().memory_info().rss
        kept = []
        for name, step in steps.items():
            began = time.perf_counter()
            kept.append(step())
            results[f"{name}, seconds"] = time.perf_counter() - began
        results["bytes that stay"] = psutil.Process().memory_info().rss - before
    return results


def _counted(running: Cluster, X: Any) -> tuple[dict[str, Any], GaussianMixture]:
    client = psutil.Process()
    seen: dict[int, tuple[float, int, int]] = {}
    for passes in (1, 2):
        cpu, tasks = running.scheduler_seconds(), running.tasks_done()
        model = fitted(X, 3, passes)
        # Tasks of a fit that is over are still being forgotten.
        time.sleep(2)
        seen[passes] = (
            running.scheduler_seconds() - cpu,
            running.tasks_done() - tasks,
            client.memory_info().rss,
        )
        if passes == 1:
            short = model
    cpu, tasks, memory = (many - few for few, many in zip(seen[1], seen[2], strict=True))
    return {
        "scheduler CPU seconds a pass": cpu,
        "tasks a pass": tasks,
        "client MB": client.memory_info().rss // 1_000_000,
        "client MB that a fit of one more pass adds": memory / 1e6,
        "seconds a pass": statistics.median(seconds_of_passes(model)),
    }, short


def linear() -> dict[str, Any]:
    """2 GB and 20 GB of generated rows through two workers of 1 GB each."""
    d, K, rows = 16, 8, 125_000
    results: dict[str, Any] = {}
    medians = []
    for gigabytes, passes in ((2, 6), (20, 2)):
        X = generated(gigabytes * 1_000_000_000 // (4 * d) // rows * rows, d, rows)
        with cluster(2, "1GB") as running, PeakMemory(running) as memory:
            fitted(X[: 16 * rows], K, 1)
            seconds = seconds_of_passes(fitted(X, K, passes), 0 if passes == 2 else 1)
            trouble = running.trouble()
        medians.append(statistics.median(seconds))
        results[f"{gigabytes} GB"] = {
            "seconds a pass": seconds,
            "peak worker MB": memory.megabytes,
            **trouble,
        }
    return {**results, "over linear": medians[1] / medians[0] / 10}


def billion() -> dict[str, Any]:
    """A billion rows of 32 float32 features in 100 000 chunks, 10 full components, two workers of 1 GB."""
    d, K, rows = 32, 10, 10_000
    X = generated(1_000_000_000, d, rows)
    with cluster(2, "1GB") as running, PeakMemory(running) as memory:
        fitted(X[: 100 * rows], K, 1)
        cpu, tasks = running.scheduler_seconds(), running.tasks_done()
        model = fitted(X, K, 1)
        cpu, tasks = running.scheduler_seconds() - cpu, running.tasks_done() - tasks
        trouble = running.trouble()
    return {
        "seconds for one whole pass": seconds_of_passes(model, 0),
        "scheduler CPU seconds of the fit": cpu,
        "tasks of the fit": tasks,
        "client MB": psutil.Process().memory_info().rss // 1_000_000,
        "peak worker MB": memory.megabytes,
        **trouble,
    }


class Nothing:
    """A reduction that reads the rows and leaves it at that."""

    def zero(self) -> int:
        """Return the number of no rows."""
        return 0

    def update(self, value: int, block: Any) -> int:
        """Count rows."""
        return value + len(block.rows)

    def combine(self, values: Any) -> int:
        """Add up."""
        return sum(values)


def latency() -> dict[str, Any]:
    """A store that answers after 50 ms: the pass against reading alone and arithmetic alone."""
    d, K, rows, n_chunks = 32, 24, 25_000, 120
    with tempfile.TemporaryDirectory() as folder:
        array = stored(folder, rows * n_chunks, d, rows)
        store = LatencyStore(LocalStore(array.store.root, read_only=True), get_latency=0.05)
        slow = zarr.open_array(store, mode="r")
        return {
            name: _overlap(slow, array, K, scheduler)
            for name, scheduler in (("one thread", "sync"), ("two threads", "threads"))
        }


def _overlap(slow: Any, array: Any, K: int, scheduler: str) -> dict[str, float]:
    rows = array.chunks[0]
    in_memory = np.asarray(array[:])
    with dask.config.set(scheduler=scheduler):
        one_by_one = _seconds(lambda: [slow[i : i + rows] for i in range(0, len(in_memory), rows)])
        engine = choose_engine(lazy_source(slow))
        reading = _seconds(lambda: engine.run([Nothing()]))
        arithmetic, together = (
            statistics.median(seconds_of_passes(fitted(X, K, 4))) for X in (in_memory, slow)
        )
    return {
        "reading chunks one by one": one_by_one,
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
    d, rows = 16, 125_000
    X = generated(480 * rows, d, rows)
    results: dict[str, Any] = {}
    expected = None
    for name in ("one worker", "joined by a second", "two workers", "one of two leaves"):
        with cluster(2 if "two" in name else 1, "1GB") as running:
            fitted(X[: 16 * rows], 8, 1)
            if name == "joined by a second":
                threading.Timer(0.2, running.add_worker).start()
            if name == "one of two leaves":
                threading.Timer(1.0, running.workers[0].terminate).start()
            model = fitted(X, 8, 2)
        expected = expected or bits(model)
        results[name] = {
            "seconds of the passes": seconds_of_passes(model, 0),
            "same bits": bits(model) == expected,
        }
    return results


def placement() -> dict[str, Any]:
    """1 GB, K = 50, d = 64: parameters far over 100 kB; what each of two workers took."""
    d, K, rows = 64, 50, 15_625
    with cluster(2, "2GB") as running:
        model = fitted(generated(250 * rows, d, rows), K, 2)
        done = sorted(running.rows_by_worker().values())
    mean = sum(done) / len(done)
    return {
        "rows of each worker": done,
        "largest over mean": max(done) / mean,
        "seconds a pass": seconds_of_passes(model),
    }


def neighbours() -> dict[str, Any]:
    """500 000 rows, d = K = 16, as in Spark ML's 2.2 s an iteration, here and in scikit-learn."""
    n, d, K = 500_000, 16, 16
    rows = block_of_rows(n, d, "float64")
    results: dict[str, Any] = {"dask_gmm": statistics.median(seconds_of_passes(fitted(rows, K, 12)))}
    times = []
    for iterations in (1, 4):
        theirs = sklearn.mixture.GaussianMixture(max_iter=iterations, **given_start(K, d))
        times.append(_seconds(partial(theirs.fit, rows)))
    results["scikit-learn"] = (times[1] - times[0]) / 3
    with tempfile.TemporaryDirectory() as folder, cluster(2) as running:
        X = stored(folder, n, d, 31_250, "float64")
        results["dask_gmm, Zarr, two workers"] = statistics.median(seconds_of_passes(fitted(X, K, 12)))
        results["workers"] = len(running.workers)
    return results


BENCHMARKS = {
    function.__name__: function
    for function in (chunks, listing, placement, latency, elastic, neighbours, linear, billion)
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
