"""Turns of a worker's tasks: one task's arithmetic hides the reading of the next.

Within a group, chunks are read while others are worked on. Between groups a store's latency would be waited
for, were it not for this: a task that has little left to read leaves its thread to the next task, which
begins to read and then waits for its turn to work.
"""

from __future__ import annotations

from threading import Lock, Semaphore
from weakref import WeakKeyDictionary

from distributed import get_worker, secede
from distributed.worker import Worker

_lock = Lock()
_turns: WeakKeyDictionary[Worker, Semaphore] = WeakKeyDictionary()


def turn() -> Semaphore:
    """Return what a task of this worker holds while it works: as many may as the worker has threads."""
    worker = get_worker()
    with _lock:
        return _turns.setdefault(worker, Semaphore(worker.state.nthreads))


def let_next_begin() -> None:
    """Leave the thread of the worker's pool to the next task, and go on."""
    secede()
