"""Passes on a Dask cluster: a task a group, a tree of merges, one small result back.

What the scheduler sees is a few hundred tasks a pass, whatever the number of chunks. Nothing is
scattered, pinned or held in actors, so everything a dead worker held is computed again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from queue import SimpleQueue
from time import perf_counter
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, Future
from distributed.protocol.pickle import dumps, loads

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.absence import Absence
from dask_gmm.engine.allocator import keep_freed_memory
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.cache import Cache, KeptBlocks, groups_to_keep
from dask_gmm.engine.environment import Environments, check_environments, check_releases
from dask_gmm.engine.group import combine_values, run_group
from dask_gmm.engine.memory_estimate import PassBytes, TaskMemory
from dask_gmm.engine.memory_pressure import giving_back
from dask_gmm.engine.merge_tree import MergeTree, merged_at_once
from dask_gmm.engine.plan import Plan
from dask_gmm.engine.read_ahead import Reading, let_next_task_begin, look_ahead, turn
from dask_gmm.engine.reduction import Reduction
from dask_gmm.engine.suitable import Suitable, on_large_workers
from dask_gmm.engine.telemetry import Watched, new_span, report_pass
from dask_gmm.engine.wait import Patience, connected

GroupDone = Callable[[int], None]

# Up to these sizes a value travels inside the tasks that need it; a larger one is a task of its own. What
# one group needs is sent in each pass; what all need, once for each group and no round trip ahead of them.
_LITERAL_BYTES = 10_000
_LITERAL_BYTES_IN_ALL = 4 << 20
_NOTHING = PassBytes()
# Dask's mark of tasks that are placed without regard to where their inputs are, which it takes from the call.
# Without it all tasks go to the worker that has the reductions, once there are fewer of them than twice the
# threads; with copies on all workers they would not, but its memory manager drops copies as they are made.
_ANYWHERE = "_data_producer"


class ClusterEngine:
    """Runs each group as a task on the cluster of `client`.

    Parameters
    ----------
    source : Source
    client : distributed.Client
    cache : {'auto', True, False}
        Whether rows stay in the workers' memory between passes; see `dask_gmm.engine.cache`.
    computed : PassBytes
        Of what a pass computes, for the estimate of memory.

    Raises
    ------
    ChunkTooLargeError
        No worker can hold what a task needs.
    """

    def __init__(
        self, source: Source, client: Client, cache: Cache = "auto", computed: PassBytes = _NOTHING
    ) -> None:
        self.plan = Plan.of(source)
        self.n_groups = len(self.plan.groups)
        self._chunks = source.chunks
        self._client = client
        memory = TaskMemory.of(source, computed)
        self._suitable = Suitable(client, memory)
        with connected():
            workers = self._suitable.check()
            check_releases(client, client.scheduler_info(n_workers=-1)["workers"])
        self._memory = replace(memory, chunk_name="")
        self._patience = Patience(client, memory.note([limit for limit, _ in workers]), self._suitable.look)
        kept = groups_to_keep(source, self.plan.groups, cache, memory, workers)
        n_bytes = byte_counts(source.chunks, unknown=0)
        self._bytes_to_keep = sum(int(n_bytes[self.plan.groups[number]].sum()) for number in kept)
        self._ahead = look_ahead(source)
        #: Size of the rows that stayed in memory since an earlier pass, if no worker was lost.
        self.kept_bytes = 0
        self._merged_at_once = merged_at_once(computed.values)
        self._inputs = [dict(source.futures(group)) for group in self.plan.groups]
        self._token = uuid4().hex[:12]
        self._span = new_span()
        self._n_passes = 0
        self._warned = False
        self._last: _Ended | None = None
        self._absence = Absence()
        with dask.annotate(**self._suitable.annotations()):
            self._groups = [self._group(source, number, number in kept) for number in range(self.n_groups)]
        # Groups whose rows are on no worker go to whoever is idle, the others to their rows.
        self._placed: dict[bool, list[int]] = {}
        for number, inputs in enumerate(self._inputs):
            anywhere = not inputs and number not in kept
            self._placed.setdefault(anywhere, []).append(number)
        needed = [*self._groups, *(value for inputs in self._inputs for value in inputs.values())]
        self._keys = [value.key for value in needed if isinstance(value, Future)]

    def _group(self, source: Source, number: int, kept: bool) -> Any:
        """Return what a task needs to have the group's rows: a plan, or the rows themselves."""
        # Opaque bytes: Dask would otherwise look for keys and futures inside them.
        payload: Any = dumps(Reading.of(source, self.plan.groups[number], self._ahead))
        if len(payload) > _LITERAL_BYTES:
            payload = self._client.submit(_same, payload, pure=False, key=f"gmm-plan-{self._token}-{number}")
        if not kept:
            return payload
        return self._client.submit(
            _load_task,
            self._memory,
            payload,
            self._inputs[number],
            pure=False,
            key=f"gmm-rows-{self._token}-{number}",
        )

    def run(self, reductions: Sequence[Reduction[Any]], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass; see `ThreadsEngine.run`."""
        if not self._groups:
            return [reduction.zero() for reduction in reductions]
        self._absence.begin()
        began = perf_counter()
        with connected(), dask.annotate(span=self._span, **self._suitable.annotations()):
            tree, progress = self._submitted([*reductions, Environments()], group_done)
        self._leave_last()

        def meanwhile() -> None:
            tree.let_go()
            if progress is not None:
                progress.report()

        values: list[Any]
        try:
            *values, environments = self._patience.result(tree.root, [*self._keys, *tree.keys], meanwhile)
        except BaseException:
            tree.close()
            raise
        if progress is not None:
            progress.finish()
        self._warned = self._warned or check_environments(environments)
        self._n_passes += 1
        self.kept_bytes = self._bytes_to_keep
        self._last = _Ended(tree, self._n_passes, self.n_groups, perf_counter() - began)
        return values

    def group_name(self, number: int) -> str:
        """Return what an error calls group `number`."""
        return self.plan.name(number, self._chunks)

    def close(self) -> None:
        """Let the cluster forget the plan, the rows that stay and the last pass."""
        try:
            self._leave_last()
        finally:
            for group in self._groups:
                if isinstance(group, Future):
                    group.release()
            self._absence.end()

    def _leave_last(self) -> None:
        # Only when the next pass is submitted: told of this first, the client would hold that pass back for
        # the ten milliseconds that it leaves between two messages.
        last, self._last = self._last, None
        if last is not None:
            last.tree.close()
            with connected():
                report_pass(self._client, last.number, last.n_groups, last.seconds)

    def _submitted(
        self, reductions: Sequence[Reduction[Any]], group_done: GroupDone | None
    ) -> tuple[MergeTree, _Progress | None]:
        shipped = self._ship(reductions)
        parts = self._parts(shipped)
        progress = None if group_done is None else _Progress(parts, group_done)

        def merge(below: list[list[Future]]) -> list[Future]:
            n_merges = len(below)
            merged: list[Future] = self._client.map(
                _merge_task,
                [self._memory] * n_merges,
                [shipped] * n_merges,
                below,
                pure=False,
                key="gmm-merge",
                # Merges come first: each frees what it merges. As submitted they would come after all groups.
                priority=1,
            )
            return merged

        return MergeTree(parts, merge, self._merged_at_once), progress

    def _parts(self, shipped: Any) -> list[Future]:
        """Submit all groups; return their futures in order."""
        # Of keys like these Dask makes a task group for each pass. From a group's size it works out how many
        # tasks go to a worker in a row; otherwise it would count those of all passes.
        name = f"gmm-pass-{uuid4().hex}"
        parts: dict[int, Future] = {}
        for anywhere, numbers in self._placed.items():
            submitted = self._client.map(
                _group_task,
                [self._memory] * len(numbers),
                [self._groups[number] for number in numbers],
                [shipped] * len(numbers),
                [self._inputs[number] for number in numbers],
                key=[(name, number) for number in numbers],
                pure=False,
                **{_ANYWHERE: anywhere},
            )
            parts.update(zip(numbers, submitted, strict=True))
        return [parts[number] for number in range(self.n_groups)]

    def _ship(self, reductions: Sequence[Reduction[Any]]) -> Any:
        payload = dumps(list(reductions))
        if len(payload) * self.n_groups <= _LITERAL_BYTES_IN_ALL:
            return payload
        return self._client.submit(_same, payload, pure=False, key=f"gmm-reductions-{uuid4().hex}")


@dataclass(frozen=True, slots=True)
class _Ended:
    """A pass that is over and not yet reported; the cluster still has it."""

    tree: MergeTree
    number: int
    n_groups: int
    seconds: float


class _Progress:
    """Collects finished groups from the client's threads and reports each once, in the caller's thread."""

    def __init__(self, parts: Sequence[Future], group_done: GroupDone) -> None:
        self._group_done = group_done
        self._waiting = set(range(len(parts)))
        self._finished: SimpleQueue[int] = SimpleQueue()
        for number, part in enumerate(parts):
            part.add_done_callback(partial(self._note, number))

    def _note(self, number: int, part: Future) -> None:
        if part.status == "finished":
            self._finished.put(number)

    def report(self) -> None:
        while not self._finished.empty():
            self._report_once(self._finished.get())

    def finish(self) -> None:
        # The pass may be over before the client's threads have told of its last groups.
        for number in sorted(self._waiting):
            self._report_once(number)

    def _report_once(self, number: int) -> None:
        # A group that was lost with its worker and computed again has finished twice.
        if number in self._waiting:
            self._waiting.remove(number)
            self._group_done(number)


def _same(payload: bytes) -> bytes:
    return payload


def _opened(group: bytes, inputs: dict[Any, Any]) -> Reading:
    keep_freed_memory()
    reading: Reading = loads(group)
    if inputs:
        reader: Any = reading.reader
        reader.supply(inputs)
    return reading


@on_large_workers
@giving_back
def _load_task(group: bytes, inputs: dict[Any, Any]) -> KeptBlocks:
    return KeptBlocks(_opened(group, inputs))


@on_large_workers
@giving_back
def _group_task(
    group: bytes | KeptBlocks, reductions: bytes, inputs: dict[Any, Any], _data_producer: bool = False
) -> list[Any]:
    reading = group.reading if isinstance(group, KeptBlocks) else _opened(group, inputs)
    watched, opened = Watched(reading.reader), loads(reductions)
    blocks = replace(reading, reader=watched).begin()
    with turn(), SingleBlasThread(), watched:
        return run_group(blocks, opened, let_next_task_begin if reading.overlaps else None)


@on_large_workers
@giving_back
def _merge_task(reductions: bytes, parts: Sequence[list[Any]]) -> list[Any]:
    return combine_values(loads(reductions), parts)
