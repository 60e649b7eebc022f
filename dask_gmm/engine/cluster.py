"""Passes on a Dask cluster: one task per group, a tree of merges, one small result back.

What the scheduler sees is a few hundred tasks per pass, whatever the number of chunks. Nothing is
scattered, pinned or held in actors, so everything a dead worker held is computed again elsewhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any

from distributed import Client

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.absence import Absence
from dask_gmm.engine.cache import Cache, groups_to_keep
from dask_gmm.engine.environment import Environments, check_environments, check_releases
from dask_gmm.engine.memory_estimate import PassBytes, TaskMemory
from dask_gmm.engine.merge_tree import MergeTree
from dask_gmm.engine.plan import GroupDone, Plan
from dask_gmm.engine.reduction import Reduction
from dask_gmm.engine.submit import Submitter
from dask_gmm.engine.suitable import Suitable
from dask_gmm.engine.telemetry import report_pass
from dask_gmm.engine.wait import Patience, scheduler_errors

_NOTHING = PassBytes()


class ClusterEngine:
    """Runs each group as a task on the cluster of `client`.

    Parameters
    ----------
    source : Source
    client : distributed.Client
    cache : {'auto', True, False}
        Whether rows stay in the workers' memory between passes; see `dask_gmm.engine.cache`.
    computed : PassBytes
        Sizes of what a pass computes, for the estimate of memory.

    Raises
    ------
    ChunkTooLargeError
        No worker can hold what a task needs.
    WorkersDifferError
        The workers have no dask_gmm, or another release.
    SchedulerLostError
        The scheduler does not answer.
    """

    def __init__(
        self, source: Source, client: Client, cache: Cache = "auto", computed: PassBytes = _NOTHING
    ) -> None:
        self.plan = Plan.of(source)
        self.n_groups = len(self.plan.groups)
        #: Size of the rows that stayed in memory since an earlier pass, if no worker was lost.
        self.kept_bytes = 0
        self._chunks, self._client = source.chunks, client
        memory = TaskMemory.of(source, computed)
        suitable = Suitable(client, memory)
        with scheduler_errors():
            workers = suitable.check()
            check_releases(client, client.scheduler_info(n_workers=-1)["workers"])
        self._patience = Patience(client, memory.note([limit for limit, _ in workers]), suitable.look)
        kept = groups_to_keep(source, self.plan.groups, cache, memory, workers)
        n_bytes = byte_counts(source.chunks, unknown=0)
        self._bytes_to_keep = sum(int(n_bytes[self.plan.groups[number]].sum()) for number in kept)
        self._submitter = Submitter(client, source, self.plan, memory, suitable, kept)
        self._absence = Absence()
        self._n_passes = 0
        self._warned = False
        self._last: _EndedPass | None = None

    def run(self, reductions: Sequence[Reduction[Any]], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass; see `ThreadsEngine.run`."""
        if not self.n_groups:
            return [reduction.zero() for reduction in reductions]
        self._absence.begin()
        began = perf_counter()
        with scheduler_errors():
            tree, finished = self._submitter.submit([*reductions, Environments()], group_done)
        self._leave_last()

        def meanwhile() -> None:
            tree.release_merged()
            finished.report()

        values: list[Any]
        try:
            keys = [*self._submitter.keys, *tree.keys]
            *values, environments = self._patience.result(tree.root, keys, meanwhile)
        except BaseException:
            tree.close()
            raise
        finished.report_rest()
        self._warned = self._warned or check_environments(environments)
        self._n_passes += 1
        self.kept_bytes = self._bytes_to_keep
        self._last = _EndedPass(tree, self._n_passes, perf_counter() - began)
        return values

    def group_name(self, number: int) -> str:
        """Return what an error calls group `number`."""
        return self.plan.name(number, self._chunks)

    def close(self) -> None:
        """Let the cluster forget the plan, the rows that stay and the last pass."""
        try:
            self._leave_last()
        finally:
            self._submitter.close()
            self._absence.end()

    def _leave_last(self) -> None:
        # Only when the next pass is submitted: told of this first, the client would hold that pass back for
        # the ten milliseconds that it leaves between two messages.
        last, self._last = self._last, None
        if last is not None:
            last.tree.close()
            with scheduler_errors():
                report_pass(self._client, last.number, self.n_groups, last.seconds)


@dataclass(frozen=True, slots=True)
class _EndedPass:
    """A pass that is over and not yet reported; the cluster still has it."""

    tree: MergeTree
    number: int
    seconds: float
