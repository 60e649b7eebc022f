"""Workers with too little memory get no task: others do it, or it waits for one that can.

A pass is submitted for the workers that are large enough, where there are others. One that comes later hands
back what it is given. Either way a task keeps to the large ones as long as any of them is there, and when all
are lost, waits for the next.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import wraps
from time import monotonic, sleep
from typing import Any, Concatenate, ParamSpec, TypeVar
from weakref import WeakKeyDictionary

from distributed import Client, Reschedule, Worker, get_worker
from distributed.utils import sync

from dask_gmm.engine.memory_estimate import TaskMemory

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER = logging.getLogger("dask_gmm")

# How long a worker that is too small remembers which are not.
_REMEMBERED_SECONDS = 2.0
# How long it waits before it gives a task back when there is none.
_PAUSE_SECONDS = 1.0

_others: WeakKeyDictionary[Worker, tuple[float, list[str]]] = WeakKeyDictionary()


class Suitable:
    """Tells which workers of a cluster are large enough, and warns of the others.

    Parameters
    ----------
    client : distributed.Client
    memory : TaskMemory
        What tasks need.
    """

    def __init__(self, client: Client, memory: TaskMemory) -> None:
        self._client = client
        self._memory = memory
        self._told: set[str] = set()
        self._mixed = False

    def look(self, workers: Mapping[str, Mapping[str, Any]] | None = None) -> dict[str, Mapping[str, Any]]:
        """Return the workers that are large enough.

        Parameters
        ----------
        workers : mapping, optional
            All of them, as the scheduler describes them; by default it is asked.
        """
        if workers is None:
            workers = self._client.scheduler_info(n_workers=-1)["workers"]
        large = {address: worker for address, worker in workers.items() if self._fits(worker)}
        self._mixed = len(large) < len(workers)
        for address in workers.keys() - large.keys() - self._told:
            self._told.add(address)
            limit = workers[address]["memory_limit"]
            _LOGGER.warning(
                "The worker at %s is given no tasks. %s", address, self._memory.note([int(limit or 0)])
            )
        return large

    def check(self) -> list[tuple[int, int]]:
        """Return memory limits and threads of the workers that are large enough.

        Raises
        ------
        ChunkTooLargeError
            There are workers, and none is.
        """
        workers = self._client.scheduler_info(n_workers=-1)["workers"]
        sizes = {address: _size(worker) for address, worker in workers.items()}
        if sizes and not any(self._memory.fits(*size) for size in sizes.values()):
            self._memory.check(*max(sizes.values(), key=lambda size: size[0] / size[1]))
        return [sizes[address] for address in self.look(workers)]

    def annotations(self) -> dict[str, Any]:
        """Return what tasks are submitted with."""
        # Loose: where none of those named is left, any other may take a task, and hand it back.
        loose = {"allow_other_workers": True}
        large = list(self.look()) if self._mixed else []
        return {"workers": large, **loose} if large else loose

    def _fits(self, worker: Mapping[str, Any]) -> bool:
        return self._memory.fits(*_size(worker))


def _size(worker: Mapping[str, Any]) -> tuple[int, int]:
    return int(worker["memory_limit"] or 0), int(worker["nthreads"])


def on_large_workers(task: Callable[P, R]) -> Callable[Concatenate[TaskMemory, P], R]:
    """Make a task that a worker with too little memory hands back; its first argument is a TaskMemory."""

    @wraps(task)
    def taken(memory: TaskMemory, /, *args: P.args, **kwargs: P.kwargs) -> R:
        worker = get_worker()
        if not memory.fits(int(worker.memory_manager.memory_limit or 0), worker.state.nthreads):
            _hand_back(worker, memory)
        return task(*args, **kwargs)

    return taken


def _hand_back(worker: Worker, memory: TaskMemory) -> None:
    large = _large_ones(worker, memory)
    # Or the scheduler might choose the same worker again, idle as it is.
    sync(worker.loop, worker.scheduler.set_restrictions, worker={worker.get_current_task(): large or None})
    if not large:
        sleep(_PAUSE_SECONDS)
    raise Reschedule


def _large_ones(worker: Worker, memory: TaskMemory) -> list[str]:
    known = _others.get(worker)
    if known is None or monotonic() - known[0] > _REMEMBERED_SECONDS:
        workers = sync(worker.loop, worker.scheduler.identity, n_workers=-1)["workers"]
        large = [
            address
            for address, other in workers.items()
            if other["status"] == "running" and memory.fits(*_size(other))
        ]
        known = _others[worker] = monotonic(), large
    return known[1]
