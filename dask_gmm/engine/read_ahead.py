"""The blocks of a group, one after the other, while the next are being read."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from contextvars import copy_context
from dataclasses import dataclass
from typing import Self

import numpy as np

from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.data.source import Block, Reader, Source, byte_counts

# A store that answers late is asked for several chunks at once, up to so many bytes and requests.
AHEAD_BYTES = 16 << 20
_MOST_AHEAD = 16


def look_ahead(source: Source) -> int:
    """Return how many chunks to read or compute while one is worked on.

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
    """A group's blocks in order, once; the first are being read from the beginning.

    Parameters
    ----------
    reader : Reader
    indices : sequence of int
        Of the group's chunks.
    ahead : int
        How many chunks are read while one is worked on; see `look_ahead`.
    """

    def __init__(self, reader: Reader, indices: Sequence[int], ahead: int) -> None:
        self._reader = reader
        self._waiting = iter(indices)
        self._few = ahead // 2
        self._pending: deque[Future[Block]] = deque()
        self._executor = ThreadPoolExecutor(ahead, thread_name_prefix="dask-gmm-read") if ahead else None
        for _ in range(ahead):
            self._read_one_more()

    def each(self, nearly_read: Callable[[], None] | None = None) -> Iterator[Block]:
        """Return an iterator.

        Parameters
        ----------
        nearly_read : callable, optional
            Called once, when half of what may be read ahead is free for another group.
        """
        if self._executor is None:
            yield from map(self._reader.read, self._waiting)
            return
        while self._pending:
            block = self._pending.popleft().result()
            self._read_one_more()
            if nearly_read is not None and len(self._pending) <= self._few:
                nearly_read()
                nearly_read = None
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
    """How the blocks of a group are had.

    Attributes
    ----------
    reader : Reader
    indices : sequence of int
        Of the group's chunks.
    ahead : int
        How many chunks are read while one is worked on; see `look_ahead`.
    hides : bool
        Whether the next group may begin to read while this one is worked on. Where chunks are computed there
        is nothing to gain: the processor is busy.
    """

    reader: Reader
    indices: Sequence[int]
    ahead: int = 0
    hides: bool = False

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


class KeptBlocks:
    """A group's blocks in memory, read like any other group.

    Parameters
    ----------
    reading : Reading
        Where they are had from, now.
    """

    def __init__(self, reading: Reading) -> None:
        with closing(reading.begin()) as blocks:
            self._blocks = list(blocks.each())

    @property
    def reading(self) -> Reading:
        """How to have the same blocks from here."""
        return Reading(self, range(len(self._blocks)))

    def read(self, index: int) -> Block:
        """Return block `index` of this group."""
        return self._blocks[index]

    def __sizeof__(self) -> int:
        # What Dask counts as the size of a task's result.
        return sum(block.rows.nbytes for block in self._blocks)
