"""Which chunks go together: groups of consecutive chunks and a tree to merge their values.

Both depend on the data alone, never on the cluster: that, with one BLAS thread per task, is what makes
the result the same to the last bit on any number of workers, in any order of arrival.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Chunk, Source, byte_counts

# A group should cost far more than the few milliseconds that a scheduler spends on a task ...
_GROUP_BYTES = 16 << 20
# ... while rows in this process come in blocks that are worth a thread's turn.
_GROUP_BYTES_IN_MEMORY = 1
# More groups than this only cost scheduler time; fewer balance badly on large clusters.
_MOST_GROUPS = 1024
# Reading hides behind arithmetic within a group, so that large chunks too should come several to a group,
# once there are groups enough for most clusters.
_CHUNKS_PER_GROUP = 4
_ENOUGH_GROUPS = 256
FAN_IN = 16

# Told the number of a group that is done.
GroupDone = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Plan:
    """The groups of one source.

    Attributes
    ----------
    groups : tuple of range
        Consecutive chunk indices; every chunk is in exactly one group.
    """

    groups: tuple[range, ...]

    @classmethod
    def of(cls, source: Source) -> Plan:
        """Plan `source` from the bytes of its chunks, or their number where sizes are unknown."""
        chunks = source.chunks
        smallest = _GROUP_BYTES_IN_MEMORY if source.in_memory else _GROUP_BYTES
        # A chunk of unknown size is taken for a group of its own.
        sizes = byte_counts(chunks, unknown=smallest)
        most = _MOST_GROUPS
        if not source.in_memory:
            most = min(most, max(_ENOUGH_GROUPS, len(chunks) // _CHUNKS_PER_GROUP))
        target = max(smallest, -(-int(sizes.sum()) // most))
        return cls(tuple(_consecutive(sizes, target)))

    def name(self, number: int, chunks: Sequence[Chunk]) -> str:
        """Return what an error calls group `number`, which is of these chunks."""
        group = self.groups[number]
        first, last = chunks[group[0]].name, chunks[group[-1]].name
        return first if len(group) == 1 else f"{first} to {last}"


def _consecutive(sizes: NDArray[np.int64], target: int) -> list[range]:
    """Cut into runs whose ends are the chunk ends nearest to multiples of an even share of about `target`."""
    total = int(sizes.sum())
    n_groups = max(1, min(len(sizes), round(total / target)))
    # A run ends before the first chunk whose middle lies behind its share.
    middles = np.cumsum(sizes) + np.append(sizes[1:], 0) / 2
    groups: list[range] = []
    first = 0
    while first < len(sizes):
        share = total * (len(groups) + 1) / n_groups
        stop = max(first, int(np.searchsorted(middles, share, side="right"))) + 1
        groups.append(range(first, min(stop, len(sizes))))
        first = stop
    return groups
