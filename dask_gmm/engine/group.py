"""What one task does: add each block of a group to the value of every work."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from dask_gmm.engine.read_ahead import Blocks
from dask_gmm.engine.reduction import Work


def run_group(
    blocks: Blocks, works: Sequence[Work], nearly_read: Callable[[], None] | None = None
) -> list[Any]:
    """Return the value of each work over a group.

    Parameters
    ----------
    blocks : Blocks
    works : sequence of Work
        All see a block while it is in memory.
    nearly_read : callable, optional
        See `Blocks.each`.
    """
    values = [work.start() for work in works]
    with closing(blocks):
        for block in blocks.each(nearly_read):
            values = [work.add(value, block) for work, value in zip(works, values, strict=True)]
    return values


def merge_values(works: Sequence[Work], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Merge the values of several groups, work by work, in the order given."""
    return [work.merge([part[number] for part in parts]) for number, work in enumerate(works)]
