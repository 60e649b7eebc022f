"""A fit that runs inside a task: while its passes run, the task leaves its thread to their tasks."""

from __future__ import annotations

from distributed import secede, threadpoolexecutor
from distributed.utils import thread_state


class Absence:
    """Leaves the pool of the worker on whose thread a fit runs; outside a task nothing is left.

    A task that waits for tasks of its own cluster keeps a thread that these may need: with as many such tasks
    as a worker has threads all would wait for ever. So the thread leaves the worker's pool before the first
    pass, as Dask's own `worker_client` does, and comes back after the last.
    """

    def __init__(self) -> None:
        self._left = False

    def begin(self) -> None:
        """Leave the pool, unless this thread has left it or belongs to none."""
        in_pool = getattr(threadpoolexecutor.thread_state, "proceed", False)
        if in_pool and hasattr(thread_state, "key"):
            secede()
            self._left = True

    def end(self) -> None:
        """Come back, if `begin` left, as soon as one of the worker's threads is free."""
        if self._left:
            self._left = False
            threadpoolexecutor.rejoin()
