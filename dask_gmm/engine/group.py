"""What one task does: read a group's chunks one ahead, and add each to the value of every work."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import Any

from dask_gmm.data.source import Block, Reader
from dask_gmm.engine.work import Work


def run_group(reader: Reader, indices: Sequence[int], works: Sequence[Work], *, ahead: bool) -> list[Any]:
    """Return the value of each work over the chunks `indices`.

    Parameters
    ----------
    reader : Reader
    indices : sequence of int
    works : sequence of Work
        All see each block while it is in memory.
    ahead : bool
        Read the next chunk while working on this one. Not worth a thread for rows in memory.
    """
    values = [work.start() for work in works]
    for block in _read_ahead(reader, indices) if ahead else map(reader.read, indices):
        values = [work.add(value, block) for work, value in zip(works, values, strict=True)]
    return values


def merge_values(works: Sequence[Work], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Merge the values of several groups, work by work, in the order given."""
    return [work.merge([part[number] for part in parts]) for number, work in enumerate(works)]


def _read_ahead(reader: Reader, indices: Sequence[int]) -> Iterator[Block]:
    # One chunk ahead: at most two are in memory, and reading hides behind arithmetic.
    if len(indices) == 1:
        yield reader.read(indices[0])
        return
    # The task's context goes along: a computed chunk may ask for its worker.
    context = copy_context()

    def read(index: int) -> Block:
        return context.run(reader.read, index)

    with ThreadPoolExecutor(1, thread_name_prefix="dask-gmm-read") as executor:
        pending = executor.submit(read, indices[0])
        for following in indices[1:]:
            block = pending.result()
            pending = executor.submit(read, following)
            yield block
            del block
        yield pending.result()


class KeptBlocks:
    """A group's blocks in memory, read like any other group."""

    def __init__(self, blocks: Sequence[Block]) -> None:
        self._blocks = list(blocks)
        self.indices = range(len(self._blocks))

    @classmethod
    def load(cls, reader: Reader, indices: Sequence[int]) -> KeptBlocks:
        """Read the chunks `indices`."""
        return cls([reader.read(index) for index in indices])

    def read(self, index: int) -> Block:
        """Return block `index` of this group."""
        return self._blocks[index]

    def __sizeof__(self) -> int:
        # What Dask counts as the size of a task's result.
        return sum(block.rows.nbytes for block in self._blocks)
