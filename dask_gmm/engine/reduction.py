"""What a pass computes, as the engine sees it: blocks of rows go in, one small value comes out.

A reduction describes a sum in the widest sense. The engine makes the value of no rows on every worker
(`zero`), takes the blocks of a group into it one after the other (`update`), and makes one value of the
values of all groups (`combine`). To compute something else in a pass, write a class with these three methods;
`tests/engine/reduction_contract.py` checks that it keeps what is promised here.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

from dask_gmm.data.source import Block

Value = TypeVar("Value")


class Reduction(Protocol[Value]):
    """A reduction over the rows.

    A reduction is small and can be pickled: it is sent to every group of chunks. So can its values, which
    come back. The engine calls these methods in an order that depends on the chunks alone, so that equal
    chunks give equal bits.
    """

    def zero(self) -> Value:
        """Return the value of no rows, a new one at each call."""

    def update(self, value: Value, block: Block) -> Value:
        """Return `value` with the rows of `block` taken in.

        It may change `value` and return it, because the engine uses only what it returns. It leaves the block
        as it is: other reductions see the same one.
        """

    def combine(self, values: Sequence[Value]) -> Value:
        """Return the value of all rows in `values`, of which there is at least one.

        It leaves `values` as they are, because a task that is run again needs them again, and it is a fold
        from the left: ``combine([combine(first), *others])`` has the bits of ``combine([*first, *others])``.
        So large values can be combined a few at a time instead of being held all at once.
        """
