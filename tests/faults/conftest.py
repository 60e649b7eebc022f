"""Clusters of real processes, rows that take time to read, and what counts the faults."""

from __future__ import annotations

import logging
import os
import random
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster, Status
from distributed.utils import get_mp_context

from dask_gmm import GaussianMixture
from dask_gmm.engine import plan

N_CHUNKS = 24
# Workers that are forked live again in a tenth of the time: a small machine could not keep up with the kills.
_FAST_START = {"distributed.worker.multiprocessing-method": "forkserver"}


class SlowRows:
    """A dask array whose chunks take time to compute, and note that they were.

    Attributes
    ----------
    x : dask.array.Array
        Rows of a mixture in `N_CHUNKS` chunks, each a task of its own.
    """

    def __init__(self, notes: Path, seconds: float) -> None:
        self._notes = notes

        # Defined here to be pickled by value: workers cannot import the tests.
        def chunk(numbers: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
            time.sleep(seconds)
            descriptor = os.open(notes, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(descriptor, b".")
            os.close(descriptor)
            rng = np.random.default_rng(int(numbers[0, 0]))
            return rng.normal(size=(50, 3)) + 1.5 * rng.integers(3, size=(50, 1))

        numbers = da.arange(N_CHUNKS, chunks=1)[:, None]
        meta = np.empty((0, 3))  # or Dask would call the function to find out
        self.x = da.map_blocks(chunk, numbers, chunks=((50,) * N_CHUNKS, (3,)), dtype=np.float64, meta=meta)

    @property
    def n_reads(self) -> int:
        """Chunks that were computed."""
        return self._notes.stat().st_size if self._notes.exists() else 0


@pytest.fixture
def slow_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., SlowRows]:
    """Make rows whose chunks take so many seconds each: ``slow_rows(seconds=0.01)``."""
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)
    return lambda seconds=0.01: SlowRows(tmp_path / "reads", seconds)


def _estimator(**parameters: Any) -> GaussianMixture:
    given = {"n_components": 3, "tol": 0.0, "max_iter": 10, "random_state": 0, "cache": False}
    return GaussianMixture(**{**given, **parameters})


@pytest.fixture(scope="session")
def make_estimator() -> Callable[..., GaussianMixture]:
    """An estimator that makes ten iterations: ``make_estimator(checkpoint=path)``."""
    return _estimator


def _assert_same_bits(one: Any, other: Any) -> None:
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)


@pytest.fixture(scope="session")
def assert_same_bits() -> Callable[[Any, Any], None]:
    """Compare two fitted estimators to the last bit."""
    return _assert_same_bits


@pytest.fixture
def make_client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Client]]:
    """Start a cluster of processes: ``make_client(n_workers=4, config={})``; its client is current."""
    # Where workers are forked from, modules are looked for on this path alone.
    places = [str(Path(__file__).parent), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, places)))
    with ExitStack() as stack:

        def make(n_workers: int = 4, config: dict[str, Any] | None = None, **options: Any) -> Client:
            stack.enter_context(dask.config.set({**_FAST_START, **(config or {})}))
            get_mp_context().set_forkserver_preload(["warm"])
            cluster = LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                dashboard_address=":0",
                memory_limit="1 GiB",
                silence_logs=logging.CRITICAL,
                **options,
            )
            return stack.enter_context(Client(stack.enter_context(cluster)))

        yield make


def worker_pids(client: Client) -> list[int]:
    """Return the process numbers of the workers that run.

    Not of those that are starting: a nanny whose worker dies then starts no other, and nobody would be left.
    """
    processes = [nanny.process for nanny in list(client.cluster.workers.values())]
    return [process.pid for process in processes if process is not None and process.status == Status.running]


class Killer:
    """A context that sends a signal to a random worker now and then.

    Attributes
    ----------
    killed : list of int
        Process numbers.
    """

    def __init__(self, client: Client, seconds: float, seed: int, number: int = signal.SIGKILL) -> None:
        self._client, self._seconds, self._number = client, seconds, number
        self._random = random.Random(seed)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self.killed: list[int] = []

    def __enter__(self) -> Killer:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._ended.wait(self._seconds):
            # One that was killed before may not be missed yet.
            living = [pid for pid in worker_pids(self._client) if pid not in self.killed]
            if living:
                pid = self._random.choice(living)
                try:
                    os.kill(pid, self._number)
                except ProcessLookupError:
                    continue
                self.killed.append(pid)


@pytest.fixture(scope="session")
def make_killer() -> type[Killer]:
    """Kill workers at random: ``with make_killer(client, seconds, seed) as killer``."""
    return Killer
