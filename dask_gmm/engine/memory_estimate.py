"""How much memory a task needs, estimated from metadata before anything is read."""

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
# How often a task has the statistics of a pass, or parameters of their size: the mixtures as they were sent,
# as they were received and as the kernels take them, their sums, one mixture's temporaries; measured.
_COPIES_OF_VALUES = 9
# The same for a merge, beside the values that it merges: the mixtures, sent and received, and the sum.
_COPIES_IN_MERGE = 5
# Statistics that wait on a worker for others to be merged with, one a level of the tree and one on its way.
# Where there are more, because a group takes longer than others, Dask writes them to disk.
_WAITING_VALUES = 4
# Dask ends a worker that takes so much of its limit.
_SHARE_OF_LIMIT = 0.95


@dataclass(frozen=True, slots=True)
class PassBytes:
    """Bytes of what a pass computes.

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
    """What one task holds at a time.

    Attributes
    ----------
    chunk : int
        Bytes of the largest chunk's rows; zero where sizes are unknown beforehand.
    chunk_name : str
        Which chunk that is.
    computed : PassBytes
    reading : int
        Bytes of small chunks of a store that may be read at once.
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

    @property
    def total(self) -> int:
        """Bytes of a task: a chunk, one or several that are being read, one tile, what is computed."""
        return self.chunk + max(self._copies * self.chunk, self.reading) + self._beside_chunks

    @property
    def _copies(self) -> int:
        """How often a chunk that is being read is in memory."""
        return 3 if self.reading else 2

    @property
    def _beside_chunks(self) -> int:
        values = self.computed.values
        merge = (values_per_merge(values) + _COPIES_IN_MERGE) * values
        return _TILE_BYTES + max(_COPIES_OF_VALUES * values, merge) + 2 * self.computed.answers

    @property
    def _beside_tasks(self) -> int:
        # The rows of a sample that wait to be merged, and those that were.
        return BASE_BYTES + _WAITING_VALUES * self.computed.values + 2 * self.computed.sample

    def process(self, n_threads: int) -> int:
        """Return the bytes of a process that runs so many tasks at a time."""
        return self._beside_tasks + n_threads * self.total

    def worker(self, n_threads: int) -> int:
        """Return the memory limit that a worker with so many threads needs."""
        return math.ceil(self.process(n_threads) / _SHARE_OF_LIMIT)

    def fits(self, memory_limit: int, n_threads: int) -> bool:
        """Tell whether a worker can hold its tasks; a limit of 0 is none."""
        return memory_limit == 0 or self.worker(n_threads) <= memory_limit

    def note(self, memory_limits: Sequence[int]) -> str:
        """Say what a task needs and what workers have, for when they keep dying."""
        limits = ", ".join(sorted({format_bytes(limit) for limit in memory_limits})) or "unknown limits"
        return (
            f"A task needs about {format_bytes(self.total)}, chunks have up to {format_bytes(self.chunk)}, "
            f"workers have {limits}. If they ran out of memory, use smaller chunks or raise memory_limit."
        )

    def check(self, memory_limit: int, n_threads: int) -> None:
        """Refuse a worker that cannot hold its tasks.

        Raises
        ------
        ChunkTooLargeError
        """
        if self.fits(memory_limit, n_threads):
            return
        needed = self.worker(n_threads)
        left = int(_SHARE_OF_LIMIT * memory_limit) - self._beside_tasks
        room = max(0, left // n_threads - self._beside_chunks)
        raise ChunkTooLargeError(
            f"A worker with {n_threads} thread(s) needs about {format_bytes(needed)}, its memory limit is "
            f"{format_bytes(memory_limit)}. Each thread holds up to {self._copies + 1} copies of the "
            f"largest chunk ({self.chunk_name}, {format_bytes(self.chunk)}) and {self._told_beside_chunks}. "
            f"Rechunk to at most {format_bytes(self._largest_chunk(room))} a chunk, use fewer threads a "
            f"worker, or raise memory_limit to {format_bytes(needed)} or more."
        )

    @property
    def _told_beside_chunks(self) -> str:
        if self.computed.answers:
            return f"predictions of {format_bytes(self.computed.answers)} twice"
        values = format_bytes(self.computed.values)
        return f"{format_bytes(self._beside_chunks)} for statistics of {values} a group of chunks"

    def _largest_chunk(self, room: int) -> int:
        """Return the size of chunks at which tasks fit into `room`."""
        return max(0, min(room // (self._copies + 1), room - self.reading))
