"""Workers short of memory: tasks give back what they freed, and a worker that Dask has paused is resumed.

Dask pauses a worker whose process takes four fifths of its limit, until it takes less. What the allocator
keeps of freed memory counts. A paused worker keeps as many tasks as it has threads, and no other worker is
given them: without help a pass would wait for them without end.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Callable, Collection
from functools import wraps
from typing import ParamSpec, TypeVar

from dask.utils import format_bytes
from distributed import Client, Status, Worker, get_worker

from dask_gmm.engine.allocator import give_back_freed_memory

P = ParamSpec("P")
R = TypeVar("R")

_LOGGER = logging.getLogger("dask_gmm")

# Share of a worker's limit beyond which nothing is kept for the next chunk. Dask writes values to disk from
# 0.7, and pauses a worker from 0.8.
_SHORT = 0.6
# By how much of its limit a worker that stays paused may grow before it is paused again.
_ROOM = 0.05
# Looks at the cluster, a few seconds apart, at which a worker must be found paused: its memory may yet fall,
# because another user's task ends or Dask writes values to disk.
_LOOKS = 6
_ANSWER_SECONDS = 10.0


def give_back_if_short() -> None:
    """Return freed memory to the system where this worker is short of it; do nothing outside of a worker."""
    try:
        worker = get_worker()
    except ValueError:
        return
    limit = worker.memory_manager.memory_limit
    if limit and worker.monitor.get_process_memory() > _SHORT * limit:
        give_back_freed_memory()


def give_back_afterwards(task: Callable[P, R]) -> Callable[P, R]:
    """Make a task that gives back what it freed where its worker is short of memory."""

    @wraps(task)
    def gives_back(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return task(*args, **kwargs)
        finally:
            give_back_if_short()

    return gives_back


class Relief:
    """Helps paused workers, so that no pass waits for them without end.

    Parameters
    ----------
    client : distributed.Client
    memory_note : str
        What a task needs, told when a worker is short of memory with nothing to free.
    """

    def __init__(self, client: Client, memory_note: str) -> None:
        self._client = client
        self._memory_note = memory_note
        self._looks: dict[str, int] = {}

    def look(self, paused: Collection[str]) -> None:
        """Make paused workers give back freed memory; resume those that have been paused for about 30 s.

        Parameters
        ----------
        paused : collection of str
            Addresses of all workers that are paused now.
        """
        self._looks = {address: self._looks.get(address, 0) + 1 for address in paused}
        stuck = [address for address, looks in self._looks.items() if looks >= _LOOKS]
        for address, in_use in self._run(_resume, stuck).items():
            _LOGGER.warning(
                "The worker at %s stays at %s, where Dask has paused it (distributed.worker.memory.pause), "
                "and is resumed. %s",
                address,
                format_bytes(in_use),
                self._memory_note,
            )
        self._run(_give_back, [address for address in paused if address not in stuck])

    def _run(self, function: Callable[..., object], workers: Collection[str]) -> dict[str, int]:
        """Return what `function` returns on those workers that answer, except zeros."""
        if not workers:
            return {}
        try:
            answers = self._client.run(
                function, workers=list(workers), on_error="ignore", callback_timeout=_ANSWER_SECONDS
            )
        except TimeoutError:
            return {}  # they hang; Dask will miss them
        return {address: answer for address, answer in answers.items() if answer}


def _give_back() -> None:
    gc.collect()
    give_back_freed_memory()


def _resume(dask_worker: Worker) -> int:
    """Raise the worker's limit for pausing above what it holds; return that in bytes, or 0 if it runs."""
    if dask_worker.status is not Status.paused:
        return 0
    manager = dask_worker.memory_manager
    in_use: int = dask_worker.monitor.get_process_memory()
    manager.memory_pause_fraction = in_use / (manager.memory_limit or in_use) + _ROOM
    return in_use
