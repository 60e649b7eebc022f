"""Reading ahead: what is needed next is read while the processor is busy with what came before.

A store answers late, and a chunk has to be decoded. Two things hide that time, and both are here.

Within a group of chunks, `Blocks` returns the blocks one after the other and reads the following ones on
threads of its own, as many at once as `look_ahead` allows.

Between groups there would be a gap: the last chunks of a group have nothing to hide behind them, and the
first of the next group nothing to hide behind. So a group that has little left to read says so (`begin_next`
of `Blocks.each`), and the next one begins to read:

- On the threads of one process, all groups are known. `NextGroups` begins to read the first one that nobody
  has begun, and hands its blocks to the thread that comes to that group.
- On a worker of a cluster, a task does not know the next; only the scheduler does. So it leaves its thread of
  the worker's pool to that task (`let_next_task_begin`), which begins to read and then waits until it
  may compute (`take_turn`). As many tasks compute at a time as the worker has threads.

Either way each thread has at most two groups, of which one computes and the other only reads; the estimate of
memory counts on that (`dask_gmm.engine.memory_estimate`). `Reading.overlaps` tells for which rows it is
worth while. What is read, in which order it is computed, and so the bits, are the same without any of it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextvars import copy_context
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Self
from weakref import WeakKeyDictionary

import numpy as np
from distributed import get_worker, secede
from distributed.worker import Worker

from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.data.source import Block, Reader, Source, byte_counts

# A store that answers late is asked for several chunks at once, up to so many bytes and requests.
AHEAD_BYTES = 16 << 20
_MOST_AHEAD = 16

_lock = Lock()
_turns: WeakKeyDictionary[Worker, Semaphore] = WeakKeyDictionary()


def look_ahead(source: Source) -> int:
    """Return how many chunks to read or compute while another is computed with.

    None of those in memory. One where chunks are computed: more at once would only take the processor from
    one another. Several small ones from a store.
    """
    if source.in_memory:
        return 0
    if not source.stored:
        return 1
    n_bytes = byte_counts(source.chunks, unknown=AHEAD_BYTES)
    # Of chunks without rows nothing is known.
    largest = int(np.where(n_bytes > 0, n_bytes, AHEAD_BYTES).max(initial=0)) or AHEAD_BYTES
    return max(1, min(_MOST_AHEAD, AHEAD_BYTES // largest))


class Blocks:
    """The blocks of one group in order, once; the first are being read as soon as this is made.

    Parameters
    ----------
    reader : Reader
    indices : sequence of int
        Chunks of the group.
    ahead : int
        How many chunks are read while another is computed with; see `look_ahead`.
    """

    def __init__(self, reader: Reader, indices: Sequence[int], ahead: int) -> None:
        self._reader = reader
        self._waiting = iter(indices)
        self._few = ahead // 2
        self._pending: deque[Future[Block]] = deque()
        self._executor = ThreadPoolExecutor(ahead, thread_name_prefix="dask-gmm-read") if ahead else None
        try:
            for _ in range(ahead):
                self._read_one_more()
        except BaseException:
            # An interrupt while a thread begins: nobody would end it, and the process would wait for it.
            self.close()
            raise

    def each(self, begin_next: Callable[[], None] | None = None) -> Iterator[Block]:
        """Return an iterator over the blocks.

        Parameters
        ----------
        begin_next : callable, optional
            Called once, when half of what may be read ahead is free for another group.
        """
        if self._executor is None:
            yield from map(self._reader.read, self._waiting)
            return
        while self._pending:
            block = self._pending.popleft().result()
            self._read_one_more()
            if begin_next is not None and len(self._pending) <= self._few:
                begin_next()
                begin_next = None
            yield block
            del block

    def close(self) -> None:
        """Read no more; wait for what is being read."""
        if self._executor is not None:
            self._executor.shutdown(cancel_futures=True)

    def _read_one_more(self) -> None:
        assert self._executor is not None
        for index in self._waiting:
            # The task's context goes along: a computed chunk may ask for its worker.
            self._pending.append(self._executor.submit(copy_context().run, self._reader.read, index))
            return


@dataclass(frozen=True, slots=True)
class Reading:
    """How to read the blocks of a group; small, and sent to workers.

    Attributes
    ----------
    reader : Reader
    indices : sequence of int
        Chunks of the group.
    ahead : int
        How many chunks are read while another is computed with; see `look_ahead`.
    overlaps : bool
        Whether the next group begins to read while this one still computes. That is so for stored rows; where
        chunks are computed there is nothing to gain, because the processor is busy.
    """

    reader: Reader
    indices: Sequence[int]
    ahead: int = 0
    overlaps: bool = False

    @classmethod
    def of(cls, source: Source, indices: Sequence[int], ahead: int) -> Self:
        """Return how to read a group of a source; `ahead` is the source's `look_ahead`."""
        reader = source.reader(indices)
        if source.in_memory:
            return cls(reader, indices)
        return cls(PatientReader(reader), indices, ahead, source.stored)

    def begin(self) -> Blocks:
        """Begin to read."""
        return Blocks(self.reader, self.indices, self.ahead)


class NextGroups:
    """Groups that begin to be read before a thread of this process comes to them, at most one per thread.

    Parameters
    ----------
    groups : sequence of Reading
        In the order in which threads come to them.
    """

    def __init__(self, groups: Sequence[Reading]) -> None:
        self._groups = groups
        self._following = 0
        self._begun: dict[int, Blocks] = {}
        self._lock = Lock()

    def take(self, number: int) -> Blocks:
        """Return the blocks of a group for the thread that has come to it."""
        with self._lock:
            self._following = max(self._following, number + 1)
            return self._begun.pop(number, None) or self._groups[number].begin()

    def begin_next(self) -> None:
        """Begin to read the first group that nobody has begun."""
        with self._lock:
            number = self._following
            if number < len(self._groups) and self._groups[number].overlaps:
                self._begun[number] = self._groups[number].begin()
                self._following += 1

    def close(self) -> None:
        """Read no more of the groups that were begun and that no thread came to."""
        with self._lock:
            self._following = len(self._groups)
            for blocks in self._begun.values():
                blocks.close()


def take_turn() -> Semaphore:
    """Return the context in which a task of this worker computes; it lets in one task per thread."""
    worker = get_worker()
    with _lock:
        return _turns.setdefault(worker, Semaphore(worker.state.nthreads))


def let_next_task_begin() -> None:
    """Leave this task's thread of the worker's pool to the next task, and go on beside it."""
    secede()
