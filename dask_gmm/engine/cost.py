"""How long a pass will take: one chunk is read and worked on here, and the rest is arithmetic.

A group's next chunk is read while one is worked on, so a thread needs the longer of the two for each byte.
A pass also costs the scheduler a few milliseconds a group, one after another. The estimate is of chunks like
the one that was measured, on machines like this one, with a store that keeps its speed under more readers.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dask_gmm.data.source import Block, Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.work import Work

# Measured: 64 tasks and their merges took 0.19 s beyond their work.
_GROUP_SECONDS = 0.003
# Work on a chunk is timed until it took at least so long, for the clock and the caches.
_LEAST_SECONDS = 0.05
_MOST_ROUNDS = 20


@dataclass(frozen=True, slots=True)
class Cost:
    """What one thread of this machine needs.

    Attributes
    ----------
    read_seconds : float
        To read a byte of rows, as it is in memory.
    work_seconds : float
        To work on it.
    """

    read_seconds: float
    work_seconds: float

    def of_pass(self, n_bytes: int, n_groups: int, n_threads: int) -> float:
        """Return the seconds of a pass.

        Parameters
        ----------
        n_bytes : int
            Of all rows.
        n_groups : int
        n_threads : int
            Of all workers together.

        Examples
        --------
        >>> round(Cost(1e-9, 3e-9).of_pass(10**12, 1000, 100), 3)
        33.0
        """
        slower = max(self.read_seconds, self.work_seconds)
        # The last round of groups may leave threads idle.
        rounds = math.ceil(n_groups / n_threads) if n_groups else 0
        return slower * n_bytes * rounds / max(1, n_groups) + _GROUP_SECONDS * n_groups


def read_largest(source: Source) -> tuple[Block, float]:
    """Read the largest chunk.

    Returns
    -------
    block : Block
    seconds : float
        The better of two readings: the first also opens the store.
    """
    index = max(range(len(source.chunks)), key=lambda i: source.chunks[i].n_bytes or 0)
    reader: Any = source.reader([index])
    seconds = math.inf
    for _ in range(2):
        began = perf_counter()
        block = reader.read(index)
        seconds = min(seconds, perf_counter() - began)
    return block, seconds


def measure(block: Block, read_seconds: float, work: Work) -> Cost:
    """Time `work` on a block.

    Parameters
    ----------
    block : Block
    read_seconds : float
        How long it took to read.
    work : Work
    """
    with SingleBlasThread():
        # The first time compiles kernels.
        work.add(work.start(), block)
        value, rounds, began = work.start(), 0, perf_counter()
        while rounds < _MOST_ROUNDS and perf_counter() - began < _LEAST_SECONDS:
            value, rounds = work.add(value, block), rounds + 1
        work_seconds = (perf_counter() - began) / rounds
    n_bytes = max(1, block.rows.nbytes)
    return Cost(read_seconds / n_bytes, work_seconds / n_bytes)
