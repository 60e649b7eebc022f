"""Passes on the threads of this process."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from dask_gmm.data.parallel import Threads
from dask_gmm.data.retries import PatientReader
from dask_gmm.data.source import Reader, Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.group import KeptBlocks, look_ahead, merge_values, run_group
from dask_gmm.engine.plan import FAN_IN, Plan
from dask_gmm.engine.work import Work

GroupDone = Callable[[int], None]


class ThreadsEngine:
    """Runs each group on a thread of this process.

    Parameters
    ----------
    source : Source
    n_threads : int or None
        See `dask_gmm.data.parallel.Threads`.
    keep : bool
        Keep the rows in memory between passes.
    """

    def __init__(self, source: Source, n_threads: int | None = None, *, keep: bool = False) -> None:
        self.plan = Plan.of(source)
        self.n_groups = len(self.plan.groups)
        self._ahead = look_ahead(source)
        self._keep = keep and not source.in_memory
        self._groups: list[tuple[Reader, Sequence[int]]] = [
            (reader if source.in_memory else PatientReader(reader), group)
            for group in self.plan.groups
            for reader in [source.reader(group)]
        ]
        self._threads = Threads(n_threads)

    def run(self, works: Sequence[Work], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass.

        Parameters
        ----------
        works : sequence of Work
        group_done : callable, optional
            Called in this thread with a group's number when it is done, in any order.

        Returns
        -------
        list
            The value of each work over all rows.
        """

        def task(number: int) -> list[Any]:
            if self._keep and not isinstance(self._groups[number][0], KeptBlocks):
                kept = KeptBlocks.load(*self._groups[number])
                self._groups[number] = kept, kept.indices
            return run_group(*self._groups[number], works, ahead=0 if self._keep else self._ahead)

        with SingleBlasThread():
            parts = self._threads.run(self.n_groups, task, group_done)
            while len(parts) > 1:
                parts = [
                    merge_values(works, parts[first : first + FAN_IN])
                    for first in range(0, len(parts), FAN_IN)
                ]
        return parts[0] if parts else [work.start() for work in works]

    def close(self) -> None:
        """Let go of the threads, and of the rows that stay."""
        self._groups = []
        self._threads.close()
