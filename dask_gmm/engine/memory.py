"""How much memory a task needs, estimated from metadata before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask.utils import format_bytes

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.blocks import AHEAD_BYTES

# Tiles of the kernels, features and products together; measured, whatever the mixture.
_TILE_BYTES = 8 << 20
# What is read at once from a store: half of a group's and all of the next one's look-ahead, each as stored,
# as decoded and as put together; measured.
READING_BYTES = 5 * AHEAD_BYTES
# A LocalCluster worker that has imported this package and compiled its kernels, before it reads anything;
# measured. 350 MiB where the kernels were found in the cache on disk: Dask, pandas, pyarrow, scikit-learn and
# numba, most of it.
BASE_BYTES = 480 << 20


class ChunkTooLargeError(MemoryError):
    """A worker's memory limit is below what one task needs; the message says what to change."""


@dataclass(frozen=True, slots=True)
class TaskMemory:
    """What one task holds at a time.

    Attributes
    ----------
    chunk : int
        Bytes of the largest chunk's rows; zero where sizes are unknown beforehand.
    chunk_name : str
        Which chunk that is.
    values : int
        Bytes of the values that a pass computes, statistics of all mixtures together.
    reading : int
        Bytes of small chunks of a store that may be read at once.
    """

    chunk: int
    chunk_name: str
    values: int
    reading: int = 0

    @classmethod
    def of(cls, source: Source, value_bytes: int) -> TaskMemory:
        """Estimate from the chunks' metadata."""
        if not len(source.chunks):
            return cls(0, "", value_bytes)
        largest = source.chunks[int(byte_counts(source.chunks, unknown=0).argmax())]
        return cls(largest.n_bytes or 0, largest.name, value_bytes, READING_BYTES if source.stored else 0)

    @property
    def total(self) -> int:
        """Bytes of a task: a chunk, one or several that are being read, one tile, two values."""
        return self.chunk + max(self._copies * self.chunk, self.reading) + _TILE_BYTES + 2 * self.values

    @property
    def _copies(self) -> int:
        """How often a chunk that is being read is in memory."""
        return 3 if self.reading else 2

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
        needed = BASE_BYTES + n_threads * self.total
        if memory_limit == 0 or needed <= memory_limit:
            return
        room = max(0, (memory_limit - BASE_BYTES) // n_threads - _TILE_BYTES - 2 * self.values)
        raise ChunkTooLargeError(
            f"A worker with {n_threads} thread(s) needs about {format_bytes(needed)}, its memory limit is "
            f"{format_bytes(memory_limit)}. Each thread holds up to {self._copies + 1} copies of the "
            f"largest chunk ({self.chunk_name}, {format_bytes(self.chunk)}) and statistics of "
            f"{format_bytes(self.values)} twice. "
            f"Rechunk to at most {format_bytes(self._largest_chunk(room))} a chunk, use fewer threads a "
            f"worker, or raise memory_limit to {format_bytes(needed)} or more."
        )

    def _largest_chunk(self, room: int) -> int:
        """Return the size of chunks at which tasks fit into `room`."""
        return max(0, min(room // (self._copies + 1), room - self.reading))
