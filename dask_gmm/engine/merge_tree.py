"""The merges of a pass: a tree above the groups whose shape depends on their number alone.

Sixteen values make one on each level. They need not be held at once: `Reduction.combine` is a fold from the
left, so that a few of them can be merged first and the others added to what comes out, with the same bits.
"""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from threading import Lock
from typing import Any

from distributed import Future

from dask_gmm.engine.group import combine_values
from dask_gmm.engine.plan import FAN_IN
from dask_gmm.engine.reduction import Reduction

# Values are merged as many at a time as take no more than this, two at least. Fewer make more tasks.
_MERGED_BYTES = 32 << 20


def values_per_merge(value_bytes: int) -> int:
    """Return how many values of this size one task merges."""
    return max(2, min(FAN_IN, _MERGED_BYTES // max(1, value_bytes)))


class MergeTree:
    """Tasks that merge the groups' results, `FAN_IN` of them to one, to a single one.

    What is below a merge is kept until the merge is done. With nobody to keep it, the scheduler would throw
    away whatever the pass has so far when a single task of it fails for its workers' deaths. Kept for longer,
    it would be computed again for nothing when its worker dies.

    Parameters
    ----------
    parts : list of distributed.Future
        The groups' results.
    merge : callable
        Submits the merges of several lists of futures, all in one message; returns a future for each.
    at_once : int
        How many values one task merges; a worker holds so many and their sum. The bits do not depend on it.

    Attributes
    ----------
    root : distributed.Future
        The result.
    keys : list
        Keys of all these tasks, groups and merges.
    """

    def __init__(
        self,
        parts: list[Future],
        merge: Callable[[list[list[Future]]], list[Future]],
        at_once: int = FAN_IN,
    ) -> None:
        self._merge, self._at_once = merge, at_once
        self._below: list[tuple[Future, list[Future]]] = []
        self.keys = [part.key for part in parts]
        layer = parts
        while True:
            layer = self._level([layer[first : first + FAN_IN] for first in range(0, len(layer), FAN_IN)])
            if len(layer) == 1:
                break
        self.root = layer[0]

    def _level(self, runs: list[list[Future]]) -> list[Future]:
        """Submit the merges that make one value of each run, side by side."""
        merged = self._submitted([run[: self._at_once] for run in runs])
        for first in range(self._at_once, FAN_IN, self._at_once - 1):
            longer = [number for number, run in enumerate(runs) if first < len(run)]
            more = [[merged[i], *runs[i][first : first + self._at_once - 1]] for i in longer]
            for number, future in zip(longer, self._submitted(more), strict=True):
                merged[number] = future
        return merged

    def _submitted(self, below: list[list[Future]]) -> list[Future]:
        merged = self._merge(below) if below else []
        self._below += zip(merged, below, strict=True)
        self.keys += [future.key for future in merged]
        return merged

    def release_merged(self) -> None:
        """Release the values that have been merged."""
        self._below = [(merged, below) for merged, below in self._below if merged.status != "finished"]

    def close(self) -> None:
        """Release all but the result."""
        self._below.clear()


class LocalMerges:
    """The same tree for values that come one by one, in any order, from threads of this process.

    On each level of the tree it holds as many values as are merged at once, and those that came before their
    turn.

    Parameters
    ----------
    reductions : sequence of Reduction
    at_once : int, optional
        How many values are merged at a time; by default as many as the size of the first one allows.
    """

    def __init__(self, reductions: Sequence[Reduction[Any]], at_once: int | None = None) -> None:
        self._reductions = reductions
        self._at_once = at_once
        self._following = 0
        self._early: dict[int, list[Any]] = {}
        # On each level, how many values have come since one was passed on, and what was made of them so far.
        self._levels: list[tuple[int, list[list[Any]]]] = []
        self._lock = Lock()

    def add(self, number: int, values: list[Any]) -> None:
        """Add the values of a group."""
        with self._lock:
            if self._at_once is None:
                self._at_once = values_per_merge(_bytes_of(values))
            self._early[number] = values
            del values
            while self._following in self._early:
                self._put(0, self._early.pop(self._following))
                self._following += 1

    def result(self) -> list[Any]:
        """Return the value of each reduction over all groups, once they were all added."""
        level = 0
        while level < len(self._levels) - 1:
            n_values, held = self._levels[level]
            self._levels[level] = (0, [])
            if n_values:
                self._put(level + 1, self._merged(held))
            level += 1
        if not self._levels:
            return [reduction.zero() for reduction in self._reductions]
        return self._merged(self._levels.pop()[1])

    def _put(self, level: int, values: list[Any]) -> None:
        if level == len(self._levels):
            self._levels.append((0, []))
        n_values, held = self._levels[level]
        if n_values == FAN_IN:
            self._levels[level] = (1, [values])
            self._put(level + 1, self._merged(held))
            return
        held.append(values)
        if len(held) == self._at_once:
            held = [self._merged(held)]
        self._levels[level] = (n_values + 1, held)

    def _merged(self, held: list[list[Any]]) -> list[Any]:
        return combine_values(self._reductions, held) if len(held) > 1 else held[0]


def _bytes_of(values: list[Any]) -> int:
    """Return the size of the arrays in `values`, which are not copied for it."""
    buffers: list[pickle.PickleBuffer] = []
    rest = pickle.dumps(values, protocol=5, buffer_callback=buffers.append)
    return len(rest) + sum(buffer.raw().nbytes for buffer in buffers)
