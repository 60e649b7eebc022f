"""A cluster of separate processes, so that what the scheduler and the workers use can be measured."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from distributed import Client
from distributed.diagnostics.plugin import SchedulerPlugin


class TaskCounter(SchedulerPlugin):  # type: ignore[misc]
    """Counts the tasks that are finished."""

    name = "task-counter"

    def __init__(self) -> None:
        self.n_tasks = 0

    def transition(self, key: Any, start: str, finish: str, *args: Any, **kwargs: Any) -> None:
        """Note a task's change of state."""
        self.n_tasks += finish == "memory"


def _counted_tasks(dask_scheduler: Any) -> int:
    return int(dask_scheduler.plugins[TaskCounter.name].n_tasks)


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
        self.client.register_plugin(TaskCounter())

    def _start(self, kind: str, *arguments: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, "--scheduler-file", self._file, *arguments]
        # They shall find the modules of this folder.
        path = os.pathsep.join([str(Path(__file__).parent), os.environ.get("PYTHONPATH", "")])
        return subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": path},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

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

    def tasks_done(self) -> int:
        """Tasks that have been finished since the start."""
        return int(self.client.run_on_scheduler(_counted_tasks))

    def trouble(self) -> dict[str, Any]:
        """Bytes that workers have spilled, and how often they paused or restarted."""
        spilled = self.client.run(
            lambda dask_worker: dask_worker.data.cumulative_metrics.get(("disk-write", "bytes"), 0)
        )
        logs = self.client.get_worker_logs().values()
        lines = [text for log in logs for _, text in log if "Pausing worker" in text or "Restarting" in text]
        return {"spilled bytes": sum(spilled.values()), "pauses": len(lines)}

    def rows_by_worker(self) -> Counter[str]:
        """Rows that each worker has gone over, from the engine's events."""
        rows: Counter[str] = Counter()
        for _, event in self.client.get_events("dask-gmm"):
            if event["action"] == "group":
                rows[event["worker"]] += event["rows"]
        return rows

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
    """The largest resident memory of each worker process while a block runs.

    Attributes
    ----------
    peaks : dict of int to int
        Bytes by process id.
    """

    def __init__(self, running: Cluster) -> None:
        self._running, self._stop = running, threading.Event()
        self.peaks: dict[int, int] = {}

    @property
    def megabytes(self) -> list[int]:
        """Of each worker."""
        return sorted(peak // 1_000_000 for peak in self.peaks.values())

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
                        peak = max(self.peaks.get(child.pid, 0), child.memory_info().rss)
                        self.peaks[child.pid] = peak
