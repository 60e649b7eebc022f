"""What one task does: read a group's chunks ahead, and add each to the value of every work."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from itertools import islice
from typing import Any

from dask_gmm.data.source import Block, Reader, Source
from dask_gmm.engine.work import Work

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
    largest = max((chunk.n_bytes or AHEAD_BYTES for chunk in source.chunks), default=AHEAD_BYTES)
    return max(1, min(_MOST_AHEAD, AHEAD_BYTES // largest))


def run_group(reader: Reader, indices: Sequence[int], works: Sequence[Work], *, ahead: int) -> list[Any]:
    """Return the value of each work over the chunks `indices`.

    Parameters
    ----------
    reader : Reader
    indices : sequence of int
    works : sequence of Work
        All see each block while it is in memory.
    ahead : int
        How many chunks are read while one is worked on; see `look_ahead`.
    """
    values = [work.start() for work in works]
    for block in _read_ahead(reader, indices, ahead) if ahead else map(reader.read, indices):
        values = [work.add(value, block) for work, value in zip(works, values, strict=True)]
    return values


def merge_values(works: Sequence[Work], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Merge the values of several groups, work by work, in the order given."""
    return [work.merge([part[number] for part in parts]) for number, work in enumerate(works)]


def _read_ahead(reader: Reader, indices: Sequence[int], ahead: int) -> Iterator[Block]:
    if len(indices) == 1:
        yield reader.read(indices[0])
        return
    waiting = iter(indices)
    with ThreadPoolExecutor(ahead, thread_name_prefix="dask-gmm-read") as executor:
        # The task's context goes along: a computed chunk may ask for its worker.
        pending = deque(executor.submit(copy_context().run, reader.read, i) for i in islice(waiting, ahead))
        while pending:
            block = pending.popleft().result()
            pending.extend(executor.submit(copy_context().run, reader.read, i) for i in islice(waiting, 1))
            yield block
            del block


class KeptBlocks:
    """A group's blocks in memory, read like any other group."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = list(blocks)
        self.indices = range(len(self._blocks))

    @classmethod
    def load(cls, reader: Reader, indices: Sequence[int], ahead: int = 1) -> KeptBlocks:
        """Read the chunks `indices`, some at once."""
        return cls(list(_read_ahead(reader, indices, ahead)))

    def read(self, index: int) -> Block:
        """Return block `index` of this group."""
        return self._blocks[index]

    def __sizeof__(self) -> int:
        # What Dask counts as the size of a task's result.
        return sum(block.rows.nbytes for block in self._blocks)
