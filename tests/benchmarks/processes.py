"""A cluster of separate processes, so that what the scheduler and the workers use can be measured."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
from distributed import Client


class Cluster:
    """A scheduler and workers as processes of this machine.

    Parameters
    ----------
    n_workers : int
    memory_limit : str
        Of each worker, as Dask writes it.
    """

    def __init__(self, n_workers: int, memory_limit: str = "1GB") -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._file = str(Path(self._folder.name) / "scheduler.json")
        self._memory_limit = memory_limit
        self.scheduler = self._start("scheduler", "--port", "0", "--no-dashboard")
        self.workers: list[subprocess.Popen[bytes]] = []
        self.client = Client(scheduler_file=self._wait_for_file(), timeout="60s")
        for _ in range(n_workers):
            self.add_worker()
        self.client.wait_for_workers(n_workers, timeout=120)

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", self._file, *arguments]
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _wait_for_file(self) -> str:
        while not Path(self._file).exists():
            time.sleep(0.1)
        time.sleep(0.5)
        return self._file

    def add_worker(self) -> None:
        """Start one more worker with one thread."""
        options = ("--nthreads", "1", "--memory-limit", self._memory_limit, "--no-dashboard")
        self.workers.append(self._start("worker", *options, "--local-directory", self._folder.name))

    def scheduler_seconds(self) -> float:
        """CPU seconds that the scheduler has used."""
        times = psutil.Process(self.scheduler.pid).cpu_times()
        return float(times.user + times.system)

    def close(self) -> None:
        """End all processes."""
        self.client.close()
        for process in [*self.workers, self.scheduler]:
            for child in psutil.Process(process.pid).children(recursive=True):
                with contextlib.suppress(psutil.NoSuchProcess):
                    child.kill()
            process.kill()
            process.wait()
        self._folder.cleanup()


@contextlib.contextmanager
def cluster(n_workers: int, memory_limit: str = "1GB") -> Iterator[Cluster]:
    """Run a cluster for the length of a block."""
    running = Cluster(n_workers, memory_limit)
    try:
        yield running
    finally:
        running.close()


class PeakMemory:
    """The largest resident memory of any worker process while a block runs, in bytes."""

    def __init__(self, running: Cluster) -> None:
        self._running, self._stop, self.peak = running, threading.Event(), 0

    def __enter__(self) -> PeakMemory:
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stop.wait(0.05):
            for worker in self._running.workers:
                with contextlib.suppress(psutil.NoSuchProcess):
                    for child in psutil.Process(worker.pid).children(recursive=True):
                        self.peak = max(self.peak, child.memory_info().rss)
