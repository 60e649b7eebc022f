"""What one task does: take each block of a group into the value of every reduction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import closing
from typing import Any

from dask_gmm.engine.read_ahead import Blocks
from dask_gmm.engine.reduction import Reduction


def run_group(
    blocks: Blocks, reductions: Sequence[Reduction[Any]], begin_next: Callable[[], None] | None = None
) -> list[Any]:
    """Return the value of each reduction over a group.

    Parameters
    ----------
    blocks : Blocks
    reductions : sequence of Reduction
        Each of them takes in a block while it is in memory.
    begin_next : callable, optional
        See `Blocks.each`.
    """
    values = [reduction.zero() for reduction in reductions]
    with closing(blocks):
        for block in blocks.each(begin_next):
            values = [
                reduction.update(value, block) for reduction, value in zip(reductions, values, strict=True)
            ]
    return values


def combine_values(reductions: Sequence[Reduction[Any]], parts: Sequence[Sequence[Any]]) -> list[Any]:
    """Combine the values of several groups, each reduction's for itself, in the order given."""
    return [
        reduction.combine([part[number] for part in parts]) for number, reduction in enumerate(reductions)
    ]
