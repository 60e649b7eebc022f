"""Passes on a cluster next to the threads of one process: ``python tests/benchmarks/workers.py``.

The same rows, in memory everywhere: on one worker, on two, and in this process on two threads. Each worker
has one thread. The time of a pass is the difference between two fits of different lengths, divided by the
passes; rounds alternate between the three, and medians and ratios are printed.
"""

from __future__ import annotations

import argparse
import json
import statistics
import warnings
from contextlib import ExitStack
from functools import partial
from typing import Any

import dask
import dask.array as da
import numpy as np
from distributed import Client, LocalCluster, wait
from engines import make_problem, ours, seconds_an_iteration

from dask_gmm import GaussianMixture

warnings.simplefilter("ignore")

D, K, N_CHUNKS = 16, 16, 16


def make_chunk(n_rows: int, block_info: Any = None) -> Any:
    """Return the rows of one chunk."""
    number = block_info[None]["chunk-location"][0]
    rows, _ = make_problem(n_rows, D, K, "full")
    return rows + np.random.default_rng(number).normal(size=D) * 0.01


def lazy_rows(n: int) -> da.Array:
    """Return overlapping rows, the same wherever they are computed."""
    n_rows = n // N_CHUNKS
    return da.map_blocks(
        partial(make_chunk, n_rows), chunks=((n_rows,) * N_CHUNKS, (D,)), dtype=float, meta=np.empty((0, 0))
    )


def on_workers(rows: Any, start: dict[str, Any], iterations: int) -> tuple[Any, ...]:
    """Fit on the current cluster."""
    model = GaussianMixture(max_iter=iterations, **start).fit(rows)
    return model.n_iter_, model.weights_, model.means_, model.covariances_


def cluster_of(n_workers: int, stack: ExitStack) -> Client:
    """Start workers of one thread each."""
    options = {"threads_per_worker": 1, "dashboard_address": None, "memory_limit": "6GB"}
    cluster = stack.enter_context(LocalCluster(n_workers=n_workers, **options))
    return stack.enter_context(Client(cluster, set_as_default=False))


def main() -> None:
    """Time all three, print ratios and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--rows", type=int, default=5_000_000)
    options = parser.parse_args()
    _, start = make_problem(1000, D, K, "full")
    lazy = lazy_rows(options.rows)
    with ExitStack() as stack:
        places: dict[str, tuple[Any, Any, Client | None]] = {}
        for n_workers in (1, 2):
            client = cluster_of(n_workers, stack)
            with client.as_current():
                kept = client.persist(lazy)
                wait(kept)
            places[f"{n_workers} workers"] = on_workers, kept, client
        with dask.config.set(scheduler="threads"):
            places["2 threads"] = ours(2), lazy.compute(), None
        seconds: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(options.rounds):
            for name, (fit, rows, client) in places.items():
                with client.as_current() if client is not None else dask.config.set(scheduler="threads"):
                    seconds[name].append(seconds_an_iteration(fit, rows, start, name))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    ratios = {
        "two workers over one": medians["1 workers"] / medians["2 workers"],
        "two workers over two threads": medians["2 workers"] / medians["2 threads"],
    }
    print(json.dumps({"rows": options.rows, "seconds a pass": medians, **ratios}, indent=1))


if __name__ == "__main__":
    main()
