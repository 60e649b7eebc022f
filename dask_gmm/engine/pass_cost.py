"""How long a pass will take, foretold by running parts of it here.

A group's next chunks are read while one is computed with; how far that hides reading depends on the store, on
what decoding takes, and on what the cores share. So all of it is measured together, on as many cores as a
pass will have, and reading and arithmetic alone only to tell which of them it waits for. The estimate is for
machines like this one, and for a store that keeps its speed under more readers.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from dask.system import CPU_COUNT

from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.data.source import Block, Source, byte_counts
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.group import run_group
from dask_gmm.engine.read_ahead import Reading, look_ahead
from dask_gmm.engine.reduction import Reduction

# Measured: 64 tasks and their merges took 0.19 s beyond their work.
_GROUP_SECONDS = 0.003
# Something is timed until it took at least so long, for the clock and the caches.
_LEAST_SECONDS = 0.3
_MOST_ROUNDS = 20
# Of a large group so much is enough: what begins it is then small against the rest.
_SAMPLE_BYTES, _SAMPLE_CHUNKS = 64 << 20, 4


@dataclass(frozen=True, slots=True)
class Cost:
    """How long one thread takes per byte of rows in memory, in seconds.

    Attributes
    ----------
    reading : float
        To read the byte and do nothing else.
    arithmetic : float
        To compute with it once it is in memory.
    both : float
        To do both as in a pass, while the other cores do the same.
    """

    reading: float
    arithmetic: float
    both: float

    def seconds_per_pass(self, n_bytes: int, n_groups: int, n_threads: int) -> float:
        """Return the seconds of a pass.

        Parameters
        ----------
        n_bytes : int
            Size of all rows.
        n_groups : int
        n_threads : int
            Threads of all workers together.

        Examples
        --------
        >>> round(Cost(1e-9, 2.5e-9, 3e-9).seconds_per_pass(10**12, 1000, 100), 3)
        33.0
        """
        # The last round of groups may leave threads idle.
        rounds = math.ceil(n_groups / n_threads) if n_groups else 0
        return self.both * n_bytes * rounds / max(1, n_groups) + _GROUP_SECONDS * n_groups


def read_largest(source: Source) -> Block:
    """Read the largest chunk."""
    index = int(byte_counts(source.chunks, unknown=0).argmax())
    return PatientReader(source.reader([index])).read(index)


def measure(source: Source, groups: Sequence[range], reduction: Reduction[Any], n_threads: int) -> Cost:
    """Run parts of a pass and time them.

    Parameters
    ----------
    source : Source
    groups : sequence of range
        Chunk indices of each group; as many are run side by side as there are cores and threads.
    reduction : Reduction
    n_threads : int
        Threads that a pass will have.
    """
    n_cores = min(n_threads, CPU_COUNT, len(groups))
    parts = [_part(source, group) for group in groups[:n_cores]]
    readings = [Reading.of(source, part, look_ahead(source)) for part in parts]

    def part_of_pass(number: int) -> int:
        counted: int
        _, counted = run_group(readings[number].begin(), [reduction, _Bytes()])
        return counted

    def side_by_side() -> int:
        return sum(executor.map(part_of_pass, range(n_cores)))

    blocks = [readings[0].reader.read(index) for index in parts[0][:_SAMPLE_CHUNKS]]
    with SingleBlasThread(), ThreadPoolExecutor(n_cores) as executor:
        return Cost(
            _seconds_per_byte(lambda: run_group(readings[0].begin(), [_Bytes()])[0]),
            _seconds_per_byte(lambda: _update_all(reduction, blocks)),
            _seconds_per_byte(side_by_side) * n_cores,
        )


class _Bytes:
    """A reduction that counts the bytes of the rows."""

    def zero(self) -> int:
        return 0

    def update(self, value: int, block: Block) -> int:
        return value + block.rows.nbytes

    def combine(self, values: Sequence[int]) -> int:
        return sum(values)


def _part(source: Source, group: range) -> range:
    """Return as many of the group's first chunks as are worth running."""
    n_bytes = 0
    for number, index in enumerate(group):
        if n_bytes >= _SAMPLE_BYTES and number >= _SAMPLE_CHUNKS:
            return group[:number]
        n_bytes += source.chunks[index].n_bytes or 0
    return group


def _update_all(reduction: Reduction[Any], blocks: Sequence[Block]) -> int:
    value: Any = reduction.zero()
    for block in blocks:
        value = reduction.update(value, block)
    return sum(block.rows.nbytes for block in blocks)


def _seconds_per_byte(action: Callable[[], int]) -> float:
    """Time an action that returns bytes."""
    # The first time opens the store and compiles kernels.
    action()
    n_bytes, rounds, began = 0, 0, perf_counter()
    while rounds < _MOST_ROUNDS and perf_counter() - began < _LEAST_SECONDS:
        n_bytes, rounds = n_bytes + action(), rounds + 1
    return (perf_counter() - began) / max(1, n_bytes)
