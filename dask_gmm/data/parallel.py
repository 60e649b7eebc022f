"""Numbered tasks on threads of this process, the calling thread among them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from queue import SimpleQueue
from typing import Any

import dask
from dask.system import CPU_COUNT

TaskDone = Callable[[int], None]


class Threads:
    """Threads that share out numbered tasks.

    The calling thread works too instead of waiting for the others: it would wake for each task, and take
    the processor from one that works. The others stay for the next call, with the memory they hold.

    Parameters
    ----------
    n_threads : int or None
        None for ``num_workers`` of the Dask configuration, or else one a core that this process may use.
    """

    def __init__(self, n_threads: int | None = None) -> None:
        self.n_threads = n_threads or dask.config.get("num_workers", None) or CPU_COUNT
        self._executor: ThreadPoolExecutor | None = None

    def run(self, n_tasks: int, task: Callable[[int], Any], done: TaskDone | None = None) -> list[Any]:
        """Return the results of tasks 0, 1, ... in this order.

        Parameters
        ----------
        n_tasks : int
        task : callable
        done : callable, optional
            Called in this thread with the number of each finished task, in any order.

        Raises
        ------
        Exception
            Of the first task that failed, by number; tasks that had not begun then are left out.
        """
        numbers = iter(range(n_tasks))  # `next` is atomic: each number goes to one thread, in order
        results: list[Any] = [None] * n_tasks
        errors: dict[int, Exception] = {}
        finished: SimpleQueue[int] = SimpleQueue()

        def work(after_each: Callable[[], None] | None = None) -> None:
            for number in numbers:
                try:
                    results[number] = task(number)
                    finished.put(number)
                except Exception as error:
                    errors[number] = error
                    _exhaust(numbers)
                if after_each is not None:
                    after_each()

        def tell() -> None:
            while done is not None and not finished.empty():
                done(finished.get())

        try:
            others = [self._pool().submit(work) for _ in range(min(self.n_threads, n_tasks) - 1)]
            work(tell)
            for other in others:
                other.result()
        finally:
            # An interrupt should not wait for the rest.
            _exhaust(numbers)
        if errors:
            # All tasks before a failed one have begun, and ended by now: it is the same one each time.
            raise errors[min(errors)]
        tell()
        return results

    def close(self) -> None:
        """Let the threads go."""
        if self._executor is not None:
            self._executor.shutdown(wait=False)
            self._executor = None

    def _pool(self) -> ThreadPoolExecutor:
        if self._executor is None:
            self._executor = ThreadPoolExecutor(self.n_threads, thread_name_prefix="dask-gmm")
        return self._executor


def _exhaust(numbers: Any) -> None:
    for _ in numbers:
        pass
