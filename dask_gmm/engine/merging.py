"""The merges of a pass: a tree of tasks above the groups, kept as long as they are needed."""

from __future__ import annotations

from collections.abc import Callable

from distributed import Future

from dask_gmm.engine.plan import FAN_IN


class MergeTree:
    """Tasks that merge the groups' results, `FAN_IN` at a time, to a single one.

    What is below a merge is kept until the merge is done. With nobody to keep it, the scheduler would throw
    away whatever the pass has so far when a single task of it fails for its workers' deaths. Kept for longer,
    it would be computed again for nothing when its worker dies.

    Parameters
    ----------
    parts : list of distributed.Future
        The groups' results.
    merge : callable
        Submits the merge of a list of futures.

    Attributes
    ----------
    root : distributed.Future
        The result.
    keys : list
        Of all these tasks.
    """

    def __init__(self, parts: list[Future], merge: Callable[[list[Future]], Future]) -> None:
        self._below: list[tuple[Future, list[Future]]] = []
        self.keys = [part.key for part in parts]
        layer = parts
        while True:
            below = [layer[first : first + FAN_IN] for first in range(0, len(layer), FAN_IN)]
            layer = [merge(few) for few in below]
            self._below += zip(layer, below, strict=True)
            self.keys += [merged.key for merged in layer]
            if len(layer) == 1:
                break
        self.root = layer[0]

    def let_go(self) -> None:
        """Keep no longer what is merged."""
        self._below = [(merged, below) for merged, below in self._below if merged.status != "finished"]

    def close(self) -> None:
        """Keep nothing."""
        self._below.clear()
