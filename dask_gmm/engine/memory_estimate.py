"""How much memory a task needs, estimated from metadata before anything is read.

All sizes are in bytes. What a worker needs is put together from named parts::

    worker    = process / 0.95
    process   = base + waiting statistics + sample + n_threads * task
    task      = chunk + chunks that are being read + computing
    computing = tiles + statistics of the pass, or a merge of them + answers

`TaskMemory` has a property for each, and `tests/test_memory.py` and `tests/engine/test_memory_estimate.py`
measure what they promise.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from dask.utils import format_bytes

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.merge_tree import values_per_merge
from dask_gmm.engine.read_ahead import AHEAD_BYTES
from dask_gmm.errors import ChunkTooLargeError

# Tiles of the kernels, features and products together; measured, whatever the mixture.
_TILE_BYTES = 8 << 20
# What is read at once from a store: half of a group's and all of the next one's look-ahead, each as stored,
# as decoded and as put together; measured.
READING_BYTES = 5 * AHEAD_BYTES
# A LocalCluster worker that has imported this package and compiled its kernels, before it reads anything;
# measured. 350 MiB where the kernels were found in the cache on disk: Dask, pandas, pyarrow, scikit-learn and
# numba, most of it.
BASE_BYTES = 480 << 20
# How often a chunk that is being read is in memory; from a store as stored, as decoded and as put together.
_COPIES_COMPUTED, _COPIES_STORED = 2, 3
# How often a task has the statistics of a pass, or parameters of their size: the mixtures as they were sent,
# as they were received and as the kernels take them, their sums, one mixture's temporaries; measured.
_COPIES_OF_VALUES = 9
# The same for a merge, beside the values that it merges: the mixtures, sent and received, and the sum.
_COPIES_IN_MERGE = 5
# Statistics that wait on a worker for others to be merged with, one per level of the tree and one on its way.
# Where there are more, because a group takes longer than others, Dask writes them to disk.
_WAITING_VALUES = 4
# The rows of a sample that wait to be merged, and those that were.
_COPIES_OF_SAMPLE = 2
# How often the predictions of a chunk are in memory while they are computed and written.
_COPIES_OF_ANSWERS = 2
# Dask ends a worker that takes so much of its limit.
_SHARE_OF_LIMIT = 0.95


@dataclass(frozen=True, slots=True)
class PassBytes:
    """Sizes of what a pass computes, in bytes.

    Attributes
    ----------
    values : int
        Statistics of all mixtures together, for one group of chunks.
    sample : int
        Rows that are drawn from all chunks to start from.
    answers : int
        Predictions for the rows of one chunk.
    """

    values: int = 0
    sample: int = 0
    answers: int = 0


@dataclass(frozen=True, slots=True)
class TaskMemory:
    """What one task holds at a time, in bytes.

    Attributes
    ----------
    chunk : int
        Rows of the largest chunk; zero where sizes are unknown beforehand.
    chunk_name : str
        Which chunk that is.
    computed : PassBytes
    reading : int
        Small chunks of a store that may be read at once; zero for rows that are not read from a store.
    """

    chunk: int
    chunk_name: str
    computed: PassBytes = PassBytes()
    reading: int = 0

    @classmethod
    def of(cls, source: Source, computed: PassBytes) -> TaskMemory:
        """Estimate from the chunks' metadata."""
        if not len(source.chunks):
            return cls(0, "", computed)
        sizes = byte_counts(source.chunks, unknown=0)
        largest = source.chunks[int(sizes.argmax())]
        computed = replace(computed, sample=min(computed.sample, int(sizes.sum())))
        return cls(largest.n_bytes or 0, largest.name, computed, READING_BYTES if source.stored else 0)

    # --- the parts --------------------------------------------------------------------------------------

    @property
    def task(self) -> int:
        """Bytes of a task: the chunk that is computed with, what is being read, and what is computed."""
        return self.chunk + self.being_read + self.computing

    @property
    def being_read(self) -> int:
        """Bytes of the next chunks: one large one, or several small ones of a store."""
        return max(self._copies_being_read * self.chunk, self.reading)

    @property
    def computing(self) -> int:
        """Bytes of a task beside rows: tiles, and statistics, a merge of them or predictions."""
        values = self.computed.values
        merge = (values_per_merge(values) + _COPIES_IN_MERGE) * values
        statistics = max(_COPIES_OF_VALUES * values, merge)
        return _TILE_BYTES + statistics + _COPIES_OF_ANSWERS * self.computed.answers

    @property
    def beside_tasks(self) -> int:
        """Bytes of a process however many tasks it runs."""
        waiting = _WAITING_VALUES * self.computed.values
        return BASE_BYTES + waiting + _COPIES_OF_SAMPLE * self.computed.sample

    def process(self, n_threads: int) -> int:
        """Return the bytes of a process that runs `n_threads` tasks at a time."""
        return self.beside_tasks + n_threads * self.task

    def worker(self, n_threads: int) -> int:
        """Return the memory limit in bytes that a worker with `n_threads` threads needs."""
        return math.ceil(self.process(n_threads) / _SHARE_OF_LIMIT)

    @property
    def _copies_being_read(self) -> int:
        return _COPIES_STORED if self.reading else _COPIES_COMPUTED

    # --- what workers have ------------------------------------------------------------------------------

    def fits(self, memory_limit: int, n_threads: int) -> bool:
        """Tell whether a worker can hold its tasks; a limit of 0 is none."""
        return memory_limit == 0 or self.worker(n_threads) <= memory_limit

    def note(self, memory_limits: Sequence[int]) -> str:
        """Say what a task needs and what workers have, for when they keep dying."""
        limits = ", ".join(sorted({format_bytes(limit) for limit in memory_limits})) or "unknown limits"
        return (
            f"A task needs about {format_bytes(self.task)}, chunks have up to {format_bytes(self.chunk)}, "
            f"workers have {limits}. If they ran out of memory, use smaller chunks or raise memory_limit."
        )

    def check(self, memory_limit: int, n_threads: int) -> None:
        """Refuse a worker that cannot hold its tasks.

        Raises
        ------
        ChunkTooLargeError
            The message names the size of chunks and the memory limit that would do.
        """
        if self.fits(memory_limit, n_threads):
            return
        needed = self.worker(n_threads)
        left = int(_SHARE_OF_LIMIT * memory_limit) - self.beside_tasks
        room = max(0, left // n_threads - self.computing)
        raise ChunkTooLargeError(
            f"A worker with {n_threads} thread(s) needs about {format_bytes(needed)}, its memory limit is "
            f"{format_bytes(memory_limit)}. Each thread holds up to {self._copies_being_read + 1} copies of "
            f"the largest chunk ({self.chunk_name}, {format_bytes(self.chunk)}) and "
            f"{self._describe_computing()}. Rechunk to at most {format_bytes(self._largest_chunk(room))} per "
            f"chunk, use fewer threads per worker, or raise memory_limit to {format_bytes(needed)} or more."
        )

    def _describe_computing(self) -> str:
        if self.computed.answers:
            return f"predictions of {format_bytes(self.computed.answers)} twice"
        values = format_bytes(self.computed.values)
        return f"{format_bytes(self.computing)} for statistics of {values} per group of chunks"

    def _largest_chunk(self, room: int) -> int:
        """Return the size of chunks at which a task has its rows in `room`."""
        return max(0, min(room // (self._copies_being_read + 1), room - self.reading))
