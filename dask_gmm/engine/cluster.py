"""Passes on a Dask cluster: a task a group, a tree of merges, one small result back.

What the scheduler sees is a few hundred tasks a pass, whatever the number of chunks. Nothing is
scattered, pinned or held in actors, so everything a dead worker held is computed again elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from distributed import Client, Future, as_completed
from distributed.protocol.pickle import dumps, loads

from dask_gmm.data.source import Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.group import merge_values, run_group
from dask_gmm.engine.plan import FAN_IN, Plan
from dask_gmm.engine.work import Work

GroupDone = Callable[[int], None]

# Above this, the works of a pass travel as one replicated value instead of inside each task.
_LITERAL_BYTES = 20_000


class ClusterEngine:
    """Runs each group as a task on the cluster of `client`.

    Parameters
    ----------
    source : Source
    client : distributed.Client
    """

    def __init__(self, source: Source, client: Client) -> None:
        self.plan = Plan.of(source)
        self.n_groups = len(self.plan.groups)
        self._client = client
        # Opaque bytes: Dask would otherwise look for keys and futures inside them.
        payloads = [dumps((source.reader(group), group)) for group in self.plan.groups]
        self._groups = client.map(_keep, payloads, pure=False, key="gmm-group")
        self._inputs = [dict(source.futures(group)) for group in self.plan.groups]

    def run(self, works: Sequence[Work], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass; see `ThreadsEngine.run`."""
        if not self._groups:
            return [work.start() for work in works]
        shipped = self._ship(works)
        parts: list[Future] = self._client.map(
            _group_task,
            self._groups,
            [shipped] * self.n_groups,
            self._inputs,
            pure=False,
            key="gmm-pass",
        )
        root = self._merged(parts, shipped)
        if group_done is not None:
            numbers = {part.key: number for number, part in enumerate(parts)}
            for part in as_completed(parts):
                if part.status == "error":
                    break
                group_done(numbers[part.key])
        values: list[Any] = root.result()
        return values

    def _ship(self, works: Sequence[Work]) -> Any:
        payload = dumps(list(works))
        if len(payload) <= _LITERAL_BYTES:
            return payload
        shipped = self._client.submit(_keep, payload, pure=False, key="gmm-works")
        # One copy on one worker would draw all tasks to it.
        self._client.replicate(shipped)
        return shipped

    def _merged(self, parts: list[Future], shipped: Any) -> Future:
        while True:
            parts = [
                self._client.submit(_merge_task, shipped, parts[first : first + FAN_IN], pure=False)
                for first in range(0, len(parts), FAN_IN)
            ]
            if len(parts) == 1:
                return parts[0]


def _keep(payload: bytes) -> bytes:
    return payload


def _group_task(group: bytes, works: bytes, inputs: dict[Any, Any]) -> list[Any]:
    reader, indices = loads(group)
    if inputs:
        reader.supply(inputs)
    with SingleBlasThread():
        return run_group(reader, indices, loads(works), ahead=True)


def _merge_task(works: bytes, parts: Sequence[list[Any]]) -> list[Any]:
    return merge_values(loads(works), parts)
