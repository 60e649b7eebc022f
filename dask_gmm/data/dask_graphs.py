"""The task graph of a lazy collection, cut into one small graph for each of its chunks.

Chunks are computed one by one inside tasks of ours, so that the scheduler never sees the collection's.
What a computation of all chunks at once would share must not be repeated for each: a task on which
most chunks depend (the mean in ``x - x.mean(0)``) is computed once for all, one that a few neighbours
share (a stored chunk that was cut up by ``rechunk``) once for each group of chunks.
"""

from __future__ import annotations

import io
import threading
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import dask
from cloudpickle import CloudPickler
from dask._expr import Expr
from dask._task_spec import TaskRef
from dask.array import PerformanceWarning
from dask.core import flatten, quote
from dask.delayed import Delayed
from dask.optimization import cull
from distributed import Future
from distributed.protocol.pickle import dumps, loads

from dask_gmm.data.cluster_graphs import (
    needs_scheduler,
    references,
    refuse_incomplete,
    refuse_lost,
    restricted,
    shuffles,
)
from dask_gmm.data.scheduler import computed, current_client, current_scheduler
from dask_gmm.errors import DataError, warn_caller

Graph = dict[Any, Any]

# A task that at least so many chunks, and half of all, depend on is computed for all of them beforehand,
_MANY = 8
# unless there are more such tasks than this: then they are pieces of the data, as in a shuffle.
_FEW = 16


class ChunkGraphs:
    """The graphs of the chunks of one collection.

    Where only a cluster can compute it - its rows are shuffled between workers, its tasks ask for a client -
    the cluster does, once, and keeps the chunks for as long as this object lives.

    Parameters
    ----------
    collection : dask collection or dask expression
        Its keys, flattened, are the chunks. An expression is taken as it is.

    Raises
    ------
    DataError
        Futures that are lost or those of another cluster; a shuffle between workers without a cluster; tasks
        that refer to others which are not there.
    """

    def __init__(self, collection: Any) -> None:
        self._client = current_client()
        optimized = collection if isinstance(collection, Expr) else _optimized(collection)
        self.keys = list(flatten(optimized.__dask_keys__()))
        graph = optimized.__dask_graph__()
        layers = getattr(graph, "layers", {})
        graph = dict(graph)
        self._futures = {**dict(_futures(collection)), **references(graph, collection, self._client)}
        refuse_lost(self._futures, self._client)
        reason = needs_scheduler(graph, layers)
        if reason is not None and (self._client is not None or shuffles(graph)):
            # Only a high level graph knows of restrictions, and only before it is optimized.
            self._leave_to_cluster(reason, collection.__dask_graph__() if restricted(layers) else graph)
            return
        # Optimizing leaves the futures out (they do not belong in tasks); `supply` brings their results.
        graph.update(dict.fromkeys(self._futures, (_not_supplied,)))
        self._cut(graph)
        self._compute_common_tasks()

    def reader(self, indices: Iterable[int]) -> GraphReader:
        """Return a reader of the chunks `indices`."""
        keys = {index: self.keys[index] for index in indices}
        needed = list(_reachable(keys.values(), self._dependencies))
        graph = {key: self._graph[key] for key in needed}
        dependencies = {key: self._dependencies[key] for key in needed}
        return GraphReader(keys, graph, dependencies, bool(self._futures))

    def futures(self, indices: Iterable[int]) -> dict[Any, Any]:
        """Return the futures that the chunks `indices` are computed from, by key.

        Raises
        ------
        DataError
            They are lost, or those of another cluster.
        """
        if not self._futures:
            return {}
        needed = _reachable((self.keys[index] for index in indices), self._dependencies)
        futures = {key: self._futures[key] for key in needed if key in self._futures}
        refuse_lost(futures, current_client())
        return futures

    def lengths(self, axis: int = 0) -> list[int]:
        """Compute every chunk and return its length along an axis."""
        counts = {("gmm-length", number): (_length, key, axis) for number, key in enumerate(self.keys)}
        graph = {**self._graph, **self._futures, **counts, "gmm-lengths": list(counts)}
        lengths = computed(Delayed("gmm-lengths", graph))
        return list(lengths)

    def _cut(self, graph: Graph) -> None:
        refuse_incomplete(graph, self.keys)
        self._graph, self._dependencies = cull(graph, self.keys)

    def _leave_to_cluster(self, reason: str, graph: Any) -> None:
        """Let the cluster compute all chunks in its own way, once."""
        if self._client is None:
            raise DataError(
                f"X {reason}, which the threads of this process cannot do. Use a distributed.Client, or make "
                "X without: x.rechunk(..., method='tasks'), or a dask DataFrame under "
                "dask.config.set({'dataframe.shuffle.method': 'tasks'})."
            )
        warn_caller(
            f"X {reason}: Dask computes its {len(self.keys)} chunks once. They stay in the memory of the "
            "cluster, or on the disks of its workers where that is full, until the fit is over. To compute "
            "them once for many fits, persist X or store it.",
            PerformanceWarning,
        )
        if isinstance(graph, dict):
            persisted = {key: held for key, held in self._futures.items() if isinstance(held, Future)}
            graph = {**graph, **persisted}
        keys = list(dict.fromkeys(self.keys))
        self._futures = dict(zip(keys, self._client.get(graph, keys, sync=False), strict=True))
        self._cut(dict.fromkeys(keys, (_not_supplied,)))

    def _compute_common_tasks(self) -> None:
        """Replace the tasks that most chunks depend on by their results."""
        uses = _shared(self.keys, self._dependencies)
        many = max(_MANY, len(self.keys) // 2)
        common = [key for key, others in uses.items() if others >= many and self._dependencies[key]]
        if not common:
            return
        if len(common) <= _FEW:
            whole = {**self._graph, **self._futures}
            current_scheduler()
            results = dask.compute(*(Delayed(key, whole) for key in common))
            done = {key: quote(result) for key, result in zip(common, results, strict=True)}
            self._graph, self._dependencies = cull({**self._graph, **done}, self.keys)
            return
        depend = f"has {len(self.keys)} chunks of which most depend on the same {len(common)} tasks"
        if self._client is not None:
            self._leave_to_cluster(depend, self._graph)
            return
        warn_caller(
            f"X {depend}; these will be repeated in every pass. Use a distributed.Client, which computes "
            "them once, store X, or avoid shuffling its rows.",
            PerformanceWarning,
        )


class GraphReader:
    """Computes chunks one at a time with Dask's synchronous scheduler; pickles as opaque bytes.

    Parameters
    ----------
    keys : mapping of int to key
        The chunks.
    graph : dict
        The tasks that they need.
    dependencies : dict
        Keys that each task depends on.
    refers : bool, default=False
        Futures may stand among the tasks' arguments.
    """

    def __init__(
        self, keys: Mapping[int, Any], graph: Graph, dependencies: Graph, refers: bool = False
    ) -> None:
        self.keys, self._graph, self._dependencies = keys, graph, dependencies
        self._refers = refers
        shared = _shared(keys.values(), dependencies)
        self._last_use = {key: index for index in keys for key in self._needs(index, shared)}
        self._held: Graph = {}
        self._lock = threading.Lock()

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take the results of the futures that the chunks are computed from."""
        self._graph.update((key, quote(result)) for key, result in results.items())

    def compute(self, index: int) -> Any:
        """Return chunk `index`, holding on to what later chunks need too."""
        with self._lock:
            needed = list(_reachable([self.keys[index]], self._dependencies, stop=self._held))
            graph = {key: self._held[key] if key in self._held else self._graph[key] for key in needed}
        shared = [key for key in needed if key in self._last_use]
        chunk, *results = dask.get(graph, [self.keys[index], *shared])
        with self._lock:
            self._held.update((key, quote(result)) for key, result in zip(shared, results, strict=True))
            for key in [key for key in self._held if self._last_use[key] <= index]:
                del self._held[key]
        return chunk

    def _needs(self, index: int, among: Mapping[Any, int]) -> Iterator[Any]:
        """Yield the tasks among these that chunk `index` depends on."""
        return (key for key in _reachable([self.keys[index]], self._dependencies) if key in among)

    def __reduce__(self) -> tuple[Any, ...]:
        parts = (self.keys, self._graph, self._dependencies)
        return _unpickled, (_dumps_by_name(parts) if self._refers else dumps(parts),)


class _ByName(CloudPickler):  # type: ignore[misc]
    """Pickles a future as the name of its result, which `supply` brings."""

    def reducer_override(self, obj: Any) -> Any:
        return (TaskRef, (obj.key,)) if isinstance(obj, Future) else super().reducer_override(obj)


def _dumps_by_name(parts: Any) -> bytes:
    file = io.BytesIO()
    _ByName(file).dump(parts)
    return file.getvalue()


def _length(chunk: Any, axis: int) -> int:
    # A frame with its weights is a pair.
    return int((chunk[0] if isinstance(chunk, tuple) else chunk).shape[axis])


def _not_supplied() -> None:
    raise RuntimeError(
        "X is persisted on a cluster, and the scheduler in use is not that cluster's: use its client "
        "(no dask.config.set(scheduler=...)), or bring X here with X.compute()."
    )


def _unpickled(payload: bytes) -> GraphReader:
    return GraphReader(*loads(payload))


def _optimized(collection: Any) -> Any:
    # dask.optimize gives a DataFrame a graph whose keys lead past its last column selection.
    if hasattr(collection, "optimize"):
        return collection.optimize()
    (optimized,) = dask.optimize(collection)
    return optimized


def _futures(collection: Any) -> Iterator[tuple[Any, Future]]:
    """Yield the futures of persisted chunks, without materializing layers that hold none."""
    graph = collection.__dask_graph__()
    for layer in getattr(graph, "layers", {None: graph}).values():
        if not hasattr(layer, "is_materialized") or layer.is_materialized():
            yield from ((key, task) for key, task in layer.items() if isinstance(task, Future))


def _reachable(keys: Iterable[Any], dependencies: Graph, stop: Iterable[Any] = ()) -> Iterator[Any]:
    """Yield `keys` and all they depend on, once each, not looking behind those in `stop`."""
    waiting, seen = list(keys), set()
    while waiting:
        key = waiting.pop()
        if key not in seen:
            seen.add(key)
            yield key
            if key not in stop:
                waiting.extend(dependencies[key])


def _shared(chunks: Iterable[Any], dependencies: Graph) -> Counter[Any]:
    """Count, for the tasks where the graphs of several chunks meet, the chunks that come after the first."""
    meetings: Counter[Any] = Counter()
    last_chunk: dict[Any, int] = {}
    for number, chunk in enumerate(chunks):
        waiting = [chunk]
        while waiting:
            key = waiting.pop()
            last = last_chunk.get(key)
            last_chunk[key] = number
            if last is None:
                waiting.extend(dependencies[key])
            elif last != number:
                meetings[key] += 1
    return meetings
