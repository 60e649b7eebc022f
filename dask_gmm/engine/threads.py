"""Passes on the threads of this process."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.parallel import Threads
from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.cache import KeptBlocks
from dask_gmm.engine.group import run_group
from dask_gmm.engine.merge_tree import LocalMerges
from dask_gmm.engine.plan import GroupDone, Plan
from dask_gmm.engine.read_ahead import NextGroups, Reading, look_ahead
from dask_gmm.engine.reduction import Reduction


class ThreadsEngine:
    """Runs each group on a thread of this process.

    Parameters
    ----------
    source : Source
    n_threads : int or None
        See `dask_gmm.data.parallel.Threads`.
    keep : bool
        Keep the rows in memory between passes.

    Raises
    ------
    ChunkTooLargeError
        A stored chunk does not fit into the memory of this process.
    """

    def __init__(self, source: Source, n_threads: int | None = None, *, keep: bool = False) -> None:
        _check_chunks(source)
        self.plan = Plan.of(source)
        self.n_groups = len(self.plan.groups)
        self._chunks = source.chunks
        self._keep = keep and not source.in_memory
        self._n_bytes = int(byte_counts(source.chunks, unknown=0).sum())
        #: Size of the rows that stayed in memory since an earlier pass.
        self.kept_bytes = 0
        ahead = look_ahead(source)
        self._groups = [Reading.of(source, group, ahead) for group in self.plan.groups]
        self._threads = Threads(n_threads)

    def run(self, reductions: Sequence[Reduction[Any]], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass.

        Parameters
        ----------
        reductions : sequence of Reduction
        group_done : callable, optional
            Called in this thread with a group's number when it is done, in any order.

        Returns
        -------
        list
            The value of each reduction over all rows.
        """
        ahead, merged = NextGroups(self._groups), LocalMerges(reductions)

        def task(number: int) -> None:
            if self._keep and not isinstance(self._groups[number].reader, KeptBlocks):
                self._groups[number] = KeptBlocks(self._groups[number]).reading
            merged.add(number, run_group(ahead.take(number), reductions, ahead.begin_next))

        try:
            with SingleBlasThread():
                self._threads.run(self.n_groups, task, group_done)
                values = merged.result()
        finally:
            ahead.close()
        if self._keep:
            self.kept_bytes = self._n_bytes
        return values

    def group_name(self, number: int) -> str:
        """Return what an error calls group `number`."""
        return self.plan.name(number, self._chunks)

    def close(self) -> None:
        """End the threads, and release the rows that stayed."""
        self._groups = []
        self._threads.close()


def _check_chunks(source: Source) -> None:
    # Computed chunks may be parts of what is in memory already, or of a file that is mapped.
    if source.stored and source.chunks:
        largest = max(source.chunks, key=lambda chunk: chunk.n_bytes or 0)
        check_fits(largest.n_bytes or 0, f"{largest.name} of {source!r}")
