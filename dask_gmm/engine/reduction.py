"""What a pass computes, seen from the engine: blocks in, one small value out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from dask_gmm.data.source import Block


class Work(Protocol):
    """A reduction over the rows. Small and picklable: it is sent to every group of chunks.

    The value may be of any type; the engine only starts, extends and merges it, always in the
    same order, so that equal chunks give equal bits.
    """

    def start(self) -> Any:
        """Return the value of no rows."""

    def add(self, value: Any, block: Block) -> Any:
        """Return `value` with the rows of `block`; may reuse `value`."""

    def merge(self, values: Sequence[Any]) -> Any:
        """Return the value of all rows in `values`; must leave the inputs as they are.

        A fold from the left, so that large values need not be held all at once:
        ``merge([merge(few), *others])`` must have the bits of ``merge([*few, *others])``.
        """
