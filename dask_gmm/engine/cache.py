"""Rows that stay in memory between passes: of which groups, and how they are read from there.

Passes scan all rows in the same order, so a cache that replaces old rows by new ones would always hold
the wrong ones. A fixed part stays instead, and the rest is read again in each pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from typing import Any, Literal

from dask_gmm.data.source import Block, Source, byte_counts
from dask_gmm.engine.memory_estimate import TaskMemory
from dask_gmm.engine.read_ahead import Reading

Cache = Literal["auto"] | bool

# Dask begins to spill at 60 % of a worker's limit; what stays must leave room below that.
_SHARE_BEFORE_SPILLING = 0.55


def groups_to_keep(
    source: Source,
    groups: Sequence[range],
    cache: Cache,
    memory: TaskMemory,
    workers: Iterable[tuple[int, int]],
) -> frozenset[int]:
    """Return the numbers of the groups whose rows stay.

    Parameters
    ----------
    source : Source
    groups : sequence of range
        Chunk indices of each group.
    cache : {'auto', True, False}
        'auto' keeps what fits, True all, False none.
    memory : TaskMemory
        What tasks need beside the rows that stay in memory.
    workers : iterable of (int, int)
        Memory limit in bytes (0 for none) and threads of each worker.
    """
    if cache is False:
        return frozenset()
    if cache is True:
        return frozenset(range(len(groups)))
    room = sum(_room(limit, n_threads, memory) for limit, n_threads in workers)
    n_bytes = byte_counts(source.chunks, unknown=-1)
    kept = []
    for number, group in enumerate(groups):
        if source.futures(group):
            # Persisted: what these rows are made of is in memory already.
            continue
        sizes = n_bytes[group]
        room -= int(sizes.sum())
        if sizes.min(initial=0) < 0 or room < 0:
            break
        kept.append(number)
    return frozenset(kept)


def fits_in_process(source: Source, cache: Cache, keep_bytes: int) -> bool:
    """Tell whether all rows stay in the memory of this process: with 'auto' up to `keep_bytes` of them."""
    if cache != "auto":
        return cache
    sizes = byte_counts(source.chunks, unknown=-1)
    return bool(sizes.min(initial=0) >= 0 and sizes.sum() <= keep_bytes)


class KeptBlocks:
    """The blocks of a group in memory, which are read like those of any other group.

    Parameters
    ----------
    reading : Reading
        How to read them; that is done now.
    """

    def __init__(self, reading: Reading) -> None:
        with closing(reading.begin()) as blocks:
            self._blocks = list(blocks.each())

    @property
    def reading(self) -> Reading:
        """How to read the same blocks from here."""
        return Reading(self, range(len(self._blocks)))

    def read(self, index: int) -> Block:
        """Return block `index` of this group."""
        return self._blocks[index]

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the blocks are here."""

    def __sizeof__(self) -> int:
        # What Dask counts as the size of a task's result.
        return sum(block.rows.nbytes for block in self._blocks)


def _room(limit: int, n_threads: int, memory: TaskMemory) -> int:
    return max(0, int(_SHARE_BEFORE_SPILLING * limit) - memory.process(n_threads))
