"""What a pass costs the scheduler: ``python tests/benchmarks/many_workers.py --workers 100 --groups 1024``.

A scheduler in a process of its own, and any number of Dask's own workers in another: each has a thread and
connections of its own and does all that a worker does, on rows so few that messages are all that counts. For
each pass the processor's seconds are printed, of the scheduler, of the workers' process and of this one, less
what the same time costs them where nothing is done: heartbeats, which are many here because all workers share
a processor or two. Elapsed seconds say nothing for the same reason.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from statistics import median
from typing import Any

import dask
import numpy as np
import psutil
from distributed import Client, Scheduler, Worker

from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.source import Block, Chunk
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.fitting.reductions import EStep
from dask_gmm.model.density import Density
from dask_gmm.model.parameters import Parameters

# What these workers would do beside passing messages.
QUIET = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.system-monitor.interval": "60 s",
    "distributed.worker.memory.pause": False,
    "distributed.worker.memory.terminate": False,
    # So many take long to begin on a processor or two.
    "distributed.comm.timeouts.connect": "300 s",
    "distributed.scheduler.worker-ttl": None,
}
N_ROWS, CHUNKS_A_GROUP = 20, 4
IDLE_SECONDS = 10.0


class Tiny(BaseSource):
    """A source of so many groups of rows that are drawn where they are read."""

    numbered = True
    dtype = np.dtype(np.float64)

    def __init__(self, n_groups: int, n_features: int) -> None:
        self.n_features = n_features
        n_chunks = CHUNKS_A_GROUP * n_groups
        self.sample_shape = (n_chunks * N_ROWS,)
        self.chunks = [Chunk(f"chunk {index}", N_ROWS, 16 << 20) for index in range(n_chunks)]

    def reader(self, indices: Sequence[int]) -> Drawing:
        """Return what draws any chunk."""
        return Drawing(self.n_features)


class Drawing:
    """Draws a chunk's rows."""

    def __init__(self, n_features: int) -> None:
        self.n_features = n_features

    def read(self, index: int) -> Block:
        """Return chunk `index`."""
        rows = np.random.default_rng(index).normal(size=(N_ROWS, self.n_features))
        return Block(rows=rows, name=f"chunk {index}", index=index, numbers=lambda: np.arange(N_ROWS))

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: rows are drawn."""


async def run_scheduler(told: Any) -> None:
    """Run a scheduler until its process is ended."""
    async with Scheduler(port=0, host="127.0.0.1", dashboard=False) as scheduler:
        told.send(scheduler.address)
        await scheduler.finished()


async def run_workers(told: Any, address: str, n_workers: int) -> None:
    """Run workers until their process is ended."""
    options = {"nthreads": 1, "memory_limit": 0, "dashboard": False, "host": "127.0.0.1"}
    workers = [Worker(address, **options) for _ in range(n_workers)]
    for first in range(0, n_workers, 20):
        await asyncio.gather(*workers[first : first + 20])
    told.send(None)
    await asyncio.gather(*(worker.finished() for worker in workers))


def run(what: Any, settings: Mapping[str, Any], *args: Any) -> None:
    """Run a coroutine function, as the only one of this process."""
    logging.getLogger("distributed").setLevel(logging.WARNING)
    with dask.config.set(settings):
        asyncio.run(what(*args))


@contextmanager
def started(what: Any, settings: Mapping[str, Any], *args: Any) -> Iterator[tuple[Any, psutil.Process]]:
    """Have a process of its own run this; yield what it tells first, and the process."""
    context = multiprocessing.get_context("spawn")
    here, there = context.Pipe()
    process = context.Process(target=run, args=(what, settings, there, *args), daemon=True)
    process.start()
    try:
        if not here.poll(600):
            raise TimeoutError(f"{what.__name__} does not begin")
        yield here.recv(), psutil.Process(process.pid)
    finally:
        process.kill()
        process.join()


def mixture(n_components: int, n_features: int) -> Parameters:
    """Return any mixture of this size."""
    means = np.random.default_rng(0).normal(size=(n_components, n_features))
    weights = np.full(n_components, 1 / n_components)
    return Parameters.from_covariances("full", weights, means, [np.eye(n_features)] * n_components)


def processor_seconds(process: psutil.Process) -> float:
    """Return what a process has used so far."""
    times = process.cpu_times()
    return float(times.user + times.system)


def taken_by(
    action: Callable[[], Any], watched: Mapping[str, psutil.Process]
) -> tuple[Any, dict[str, float]]:
    """Return an action's value and what it took."""
    began = time.perf_counter()
    before = {name: processor_seconds(process) for name, process in watched.items()}
    value = action()
    took = {name: processor_seconds(process) - before[name] for name, process in watched.items()}
    return value, {**took, "elapsed": time.perf_counter() - began}


def main() -> None:
    """Print a line for each pass, and medians as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--workers", type=int, default=100)
    parser.add_argument("--groups", type=int, default=1024)
    parser.add_argument("--components", type=int, default=3)
    parser.add_argument("--features", type=int, default=3)
    parser.add_argument("--passes", type=int, default=6, help="the first is not counted")
    parser.add_argument("--saturation", help="distributed.scheduler.worker-saturation")
    options = parser.parse_args()
    settings = dict(QUIET)
    if options.saturation is not None:
        settings["distributed.scheduler.worker-saturation"] = options.saturation
    reductions = [EStep(Density.of(mixture(options.components, options.features)), np.dtype(np.float64))]
    taken, first = [], None
    with (
        dask.config.set(settings),
        started(run_scheduler, settings) as (address, scheduler),
        started(run_workers, settings, address, options.workers) as (_, workers),
        Client(address, set_as_default=False) as client,
    ):
        client.wait_for_workers(options.workers)
        source: Any = Tiny(options.groups, options.features)
        watched = {"scheduler": scheduler, "workers": workers, "client": psutil.Process()}
        _, idle = taken_by(lambda: time.sleep(IDLE_SECONDS), watched)
        print("idle", {name: round(seconds / IDLE_SECONDS, 3) for name, seconds in idle.items()}, flush=True)
        with closing(ClusterEngine(source, client, cache=False)) as engine:
            for number in range(options.passes):
                (statistics,), took = taken_by(lambda: engine.run(reductions, lambda number: None), watched)
                took |= {name: took[name] - idle[name] * took["elapsed"] / IDLE_SECONDS for name in watched}
                print(number, {name: round(seconds, 2) for name, seconds in took.items()}, flush=True)
                events = [event for _, event in client.get_events("dask-gmm") if event["action"] == "group"]
                done = Counter(event["worker"] for event in events[-engine.n_groups :])
                print(f"  {len(done)} workers did up to {max(done.values())} groups", flush=True)
                taken.append(took)
                first = statistics if first is None else first
                assert statistics.first.tobytes() == first.first.tobytes(), "other bits"
            n_groups = engine.n_groups
    medians = {name: median(took[name] for took in taken[1:]) for name in taken[0]}
    print(json.dumps({"workers": options.workers, "groups": n_groups, "seconds a pass": medians}))


if __name__ == "__main__":
    main()
