"""How much memory a task needs, estimated from metadata before anything is read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask.utils import format_bytes

from dask_gmm.data.source import Source

# Tiles of the kernels, features and products together; measured, whatever the mixture.
_TILE_BYTES = 8 << 20
# A LocalCluster worker that has imported this package and compiled its kernels, before it reads anything;
# measured. The package alone takes 350 MiB, most of it Dask, pandas, pyarrow, scikit-learn and numba.
BASE_BYTES = 400 << 20


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
    """

    chunk: int
    chunk_name: str
    values: int

    @classmethod
    def of(cls, source: Source, value_bytes: int) -> TaskMemory:
        """Estimate from the chunks' metadata."""
        largest = max(source.chunks, key=lambda chunk: chunk.n_bytes or 0, default=None)
        if largest is None:
            return cls(0, "", value_bytes)
        return cls(largest.n_bytes or 0, largest.name, value_bytes)

    @property
    def total(self) -> int:
        """Bytes of a task: two chunks, one as it is decoded, one tile, two values."""
        return 3 * self.chunk + _TILE_BYTES + 2 * self.values

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
            f"{format_bytes(memory_limit)}. Each thread holds up to three copies of the largest chunk "
            f"({self.chunk_name}, {format_bytes(self.chunk)}) and statistics of "
            f"{format_bytes(self.values)} twice. "
            f"Rechunk to at most {format_bytes(room // 3)} a chunk, use fewer threads a worker, or raise "
            f"memory_limit to {format_bytes(needed)} or more."
        )
