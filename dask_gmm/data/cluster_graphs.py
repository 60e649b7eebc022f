"""What in a task graph only a cluster's own scheduler can serve, and the futures that it refers to.

Chunks are computed inside tasks of ours with Dask's synchronous scheduler. Not everything can be: a shuffle
from worker to worker needs its barrier on the scheduler, a task that asks for a client wants a thread
of the worker, actors and restricted tasks have their place.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from inspect import getclosurevars
from types import CodeType, FunctionType
from typing import Any

from dask._expr import Expr
from dask._task_spec import GraphNode, Task, TaskRef
from distributed import Client, Future
from distributed.shuffle._core import P2PBarrierTask

from dask_gmm.errors import DataError

_SHUFFLED = "is shuffled between workers (peer to peer)"
_ACTORS = "uses actors"
_ASKING = "has tasks that use a client"
_RESTRICTED = "has tasks that are restricted to some workers or resources"

# What a function calls that submits tasks from inside a task.
_CLIENT_CALLS = frozenset({"get_client", "worker_client", "secede", "rejoin"})
# These packages' own functions mention a client only where they need none.
_TRUSTED = ("dask", "distributed", "numpy", "pandas", "pyarrow", "fsspec", "toolz", "zarr")


def references(graph: Mapping[Any, Any], collection: Any, client: Client | None) -> dict[Any, Any]:
    """Return the futures and actors that stand among the arguments of tasks, by key.

    Parameters
    ----------
    graph : mapping
        Of tasks.
    collection : dask collection or expression
        What it is the graph of. Some expressions keep futures to themselves, and their keys in the graph.
    client : distributed.Client or None
        Futures that a copy has parted from their client become this one's.
    """
    outside = [
        task
        for task in graph.values()
        if not isinstance(task, GraphNode) or not task.dependencies <= graph.keys()
    ]
    if outside and isinstance(collection, Expr):
        outside += [operand for node in collection.walk() for operand in node.operands]
    found = {leaf.key: leaf for task in outside for leaf in _leaves(task) if _refers(leaf)}
    for future in found.values():
        if isinstance(future, Future) and future.client is None and client is not None:
            future.bind_client(client)
    return found


def needs_scheduler(graph: Mapping[Any, Any], layers: Mapping[Any, Any]) -> str | None:
    """Return what X does that only a cluster's scheduler can serve, None where tasks of ours can.

    Parameters
    ----------
    graph : mapping
        Of tasks.
    layers : mapping
        The layers of a high level graph, which know of restrictions; may be empty.
    """
    if shuffles(graph):
        return _SHUFFLED
    if restricted(layers):
        return _RESTRICTED
    known: dict[CodeType, bool] = {}
    for leaf in (leaf for task in graph.values() for leaf in _leaves(task)):
        if _refers(leaf) and not isinstance(leaf, Future):
            return _ACTORS
        if callable(leaf) and _uses_client(leaf, known):
            return _ASKING
    return None


def shuffles(graph: Mapping[Any, Any]) -> bool:
    """Tell whether data go from worker to worker past the scheduler."""
    return any(isinstance(task, P2PBarrierTask) for task in graph.values())


def restricted(layers: Mapping[Any, Any]) -> bool:
    """Tell whether tasks may only run on some workers, or with resources that not all have."""
    return any({"workers", "resources"} & (layer.annotations or {}).keys() for layer in layers.values())


def refuse_incomplete(graph: Mapping[Any, Any], keys: Sequence[Any]) -> None:
    """Refuse a graph that refers to tasks which it does not have.

    Raises
    ------
    DataError
        Dask could not compute it either.
    """
    waiting, seen = list(keys), set()
    while waiting:
        key = waiting.pop()
        if key in seen:
            continue
        seen.add(key)
        if key not in graph:
            raise DataError(
                f"X cannot be computed, by Dask neither: its graph has no task {key!r}. So it is where Dask "
                "joins partitions of Parquet files of which few columns are read, after their number was "
                "fixed by client.persist(X), X.persist() or X.to_dask_array(lengths=...): use X.optimize() "
                "instead of X there."
            )
        if isinstance(graph[key], GraphNode):
            waiting.extend(graph[key].dependencies)


def refuse_lost(futures: Mapping[Any, Any], client: Client | None) -> None:
    """Refuse futures that this cluster cannot have.

    Raises
    ------
    DataError
        They were lost with their client, or are those of another cluster.
    """
    for future in futures.values():
        if not isinstance(future, Future) or future.client is None:
            continue
        if future.cancelled():
            raise DataError(
                f"X, or a part of it, was persisted through a client that was closed or restarted since, and "
                f"is lost ({future.key!r}). Make X again, and persist it with the client that is used now."
            )
        if client is not None and not _same_cluster(future.client, client):
            raise DataError(
                f"X, or a part of it, was persisted on another client's cluster ({future.client!r}) than the "
                f"one that is used now ({client!r}). Fit with that client, in "
                "`with client.as_current():`, or make X again and persist it on this cluster."
            )


def _same_cluster(one: Client, other: Client) -> bool:
    return one is other or _identity(one) == _identity(other)


def _identity(client: Client) -> Any:
    return client.scheduler_info(n_workers=0)["id"]


def _refers(leaf: Any) -> bool:
    """Tell whether a value is a future, an actor or something of that kind: more than the name of a task."""
    return isinstance(leaf, TaskRef) and type(leaf) is not TaskRef


def _leaves(value: Any) -> Iterator[Any]:
    """Yield functions, references and other single values of a task, however deep they stand."""
    waiting = [value]
    while waiting:
        value = waiting.pop()
        if isinstance(value, Task):
            waiting.append(value.func)
            waiting.extend((value.args, value.kwargs))
        elif type(value) is dict:
            waiting.extend(value.values())
        elif type(value) in (tuple, list, set):
            waiting.extend(value)
        elif isinstance(value, partial):
            waiting.extend((value.func, value.args, value.keywords))
        else:
            yield value


def _uses_client(function: Any, known: dict[CodeType, bool]) -> bool:
    """Tell whether a function, or one of its module that it calls, names what submits tasks."""
    function = getattr(function, "__func__", getattr(function, "__wrapped__", function))
    if not isinstance(function, FunctionType) or _trusted(function):
        return False
    code = function.__code__
    if code not in known:
        known[code] = False  # Functions that call each other end here.
        names = set(_names(code))
        known[code] = bool(names & _CLIENT_CALLS) or any(
            _uses_client(called, known) for called in _called(function, names)
        )
    return known[code]


def _called(function: FunctionType, names: set[str]) -> Iterator[Callable[..., Any]]:
    values = [function.__globals__[name] for name in names & function.__globals__.keys()]
    values += getclosurevars(function).nonlocals.values()
    return (value for value in values if getattr(value, "__module__", None) == function.__module__)


def _trusted(function: FunctionType) -> bool:
    return (function.__module__ or "").partition(".")[0] in _TRUSTED


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _names(constant)
