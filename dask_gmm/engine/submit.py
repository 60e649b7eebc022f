"""How a pass gets to the cluster: its tasks, what is sent with them, and where they may run.

A pass is one task per group of chunks, and above them a tree of merges. Each group's task needs to know how
to read the group, which stays the same in all passes, and the reductions, which do not. Small things travel
inside the tasks; a large one is a task of its own, whose result the others fetch.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4

import dask
from distributed import Client, Future
from distributed.protocol.pickle import dumps

from dask_gmm.data.source import Source
from dask_gmm.engine.finished_groups import FinishedGroups
from dask_gmm.engine.memory_estimate import TaskMemory
from dask_gmm.engine.merge_tree import MergeTree, values_per_merge
from dask_gmm.engine.plan import GroupDone, Plan
from dask_gmm.engine.read_ahead import Reading, look_ahead
from dask_gmm.engine.reduction import Reduction
from dask_gmm.engine.suitable import Suitable
from dask_gmm.engine.tasks import hold_payload, keep_group, merge_groups, reduce_group
from dask_gmm.engine.telemetry import new_span

# Up to these sizes a value travels inside the tasks that need it; a larger one is a task of its own. What
# one group needs is sent in each pass; what all need, once for each group and no round trip ahead of them.
_LITERAL_BYTES = 10_000
_LITERAL_BYTES_IN_ALL = 4 << 20
# Dask's mark of tasks that are placed without regard to where their inputs are, which it takes from the call.
# Without it all tasks go to the worker that has the reductions, once there are fewer of them than twice the
# threads; with copies on all workers they would not, but its memory manager drops copies as they are made.
_ANYWHERE = "_data_producer"


class Submitter:
    """Submits passes over the groups of a source.

    Parameters
    ----------
    client : distributed.Client
    source : Source
    plan : Plan
    memory : TaskMemory
        What a task needs; workers that are too small hand it back.
    suitable : Suitable
        Which workers tasks are submitted for.
    kept : collection of int
        Numbers of the groups whose rows stay on workers.

    Attributes
    ----------
    keys : list
        Tasks and data that every pass needs.
    """

    def __init__(
        self,
        client: Client,
        source: Source,
        plan: Plan,
        memory: TaskMemory,
        suitable: Suitable,
        kept: Collection[int],
    ) -> None:
        self._client, self._suitable = client, suitable
        # The name is for errors in this process, and would only make each task larger.
        self._memory = replace(memory, chunk_name="")
        self._values_per_merge = values_per_merge(memory.computed.values)
        self._span = new_span()
        self._inputs = [dict(source.futures(group)) for group in plan.groups]
        with dask.annotate(**suitable.annotations()):
            self._groups = self._submit_plan(source, plan, kept)
        # Groups whose rows are on no worker go to whoever is idle, the others to their rows.
        self._placed: dict[bool, list[int]] = {}
        for number, inputs in enumerate(self._inputs):
            anywhere = not inputs and number not in kept
            self._placed.setdefault(anywhere, []).append(number)
        needed = [*self._groups, *(value for inputs in self._inputs for value in inputs.values())]
        self.keys = [value.key for value in needed if isinstance(value, Future)]

    def submit(
        self, reductions: Sequence[Reduction[Any]], group_done: GroupDone | None
    ) -> tuple[MergeTree, FinishedGroups]:
        """Submit one pass; return its tasks, and which groups have finished."""
        with dask.annotate(span=self._span, **self._suitable.annotations()):
            shipped = self._ship(reductions)
            parts = self._submit_groups(shipped)
            finished = FinishedGroups(parts, group_done)
            return self._submit_merges(parts, shipped), finished

    def close(self) -> None:
        """Let the cluster forget the plan, and the rows that stay."""
        for group in self._groups:
            if isinstance(group, Future):
                group.release()

    def _submit_plan(self, source: Source, plan: Plan, kept: Collection[int]) -> list[bytes | Future]:
        """Return for each group what its tasks need: how to read its rows, or the rows themselves."""
        token, ahead = uuid4().hex[:12], look_ahead(source)
        groups: list[bytes | Future] = []
        for number, chunks in enumerate(plan.groups):
            group: bytes | Future = dumps(Reading.of(source, chunks, ahead))
            if len(group) > _LITERAL_BYTES:
                key = f"gmm-plan-{token}-{number}"
                group = self._client.submit(hold_payload, group, pure=False, key=key)
            if number in kept:
                key = f"gmm-rows-{token}-{number}"
                group = self._client.submit(
                    keep_group, self._memory, group, self._inputs[number], pure=False, key=key
                )
            groups.append(group)
        return groups

    def _ship(self, reductions: Sequence[Reduction[Any]]) -> bytes | Future:
        """Return the reductions as tasks take them."""
        payload: bytes = dumps(list(reductions))
        if len(payload) * len(self._groups) <= _LITERAL_BYTES_IN_ALL:
            return payload
        return self._client.submit(hold_payload, payload, pure=False, key=f"gmm-reductions-{uuid4().hex}")

    def _submit_groups(self, shipped: bytes | Future) -> list[Future]:
        """Submit the tasks of all groups; return their futures in order."""
        # Of keys like these Dask makes a task group for each pass. From a group's size it works out how many
        # tasks go to a worker in a row; otherwise it would count those of all passes.
        name = f"gmm-pass-{uuid4().hex}"
        parts: dict[int, Future] = {}
        for anywhere, numbers in self._placed.items():
            submitted = self._client.map(
                reduce_group,
                [self._memory] * len(numbers),
                [self._groups[number] for number in numbers],
                [shipped] * len(numbers),
                [self._inputs[number] for number in numbers],
                key=[(name, number) for number in numbers],
                pure=False,
                **{_ANYWHERE: anywhere},
            )
            parts.update(zip(numbers, submitted, strict=True))
        return [parts[number] for number in range(len(self._groups))]

    def _submit_merges(self, parts: list[Future], shipped: bytes | Future) -> MergeTree:
        def merge(below: list[list[Future]]) -> list[Future]:
            n_merges = len(below)
            merged: list[Future] = self._client.map(
                merge_groups,
                [self._memory] * n_merges,
                [shipped] * n_merges,
                below,
                pure=False,
                key="gmm-merge",
                # Merges come first: each frees what it merges. As submitted they would come after all groups.
                priority=1,
            )
            return merged

        return MergeTree(parts, merge, self._values_per_merge)
