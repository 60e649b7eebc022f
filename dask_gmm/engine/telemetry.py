"""Passes as the cluster's own instruments show them: events, spans, and counters for Prometheus.

Events have the topic ``dask-gmm``, one for each group of chunks and one for each pass:
``client.subscribe_topic("dask-gmm", print)`` shows them, and the scheduler keeps the last ones
(``client.get_events("dask-gmm")``). The counters appear on each worker's ``/metrics`` where
prometheus_client is installed. Tasks carry a span of the same name, by which the dashboard sorts them.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from threading import Lock
from time import perf_counter
from types import TracebackType
from typing import Any, Self

import dask
from distributed import get_worker, span

from dask_gmm.data.source import Block, Reader

TOPIC = "dask-gmm"

_COUNTERS = {
    "groups": "Groups of chunks that this worker has done.",
    "chunks": "Chunks that this worker has read or taken from its memory.",
    "rows": "Rows in them.",
    "bytes": "Bytes of these rows in memory.",
    "seconds": "Seconds that the groups took.",
}


class Watched:
    """A reader that counts what it reads, and reports it when the group is done.

    Parameters
    ----------
    reader : Reader
    """

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._counts = dict.fromkeys(_COUNTERS, 0.0)
        self._lock = Lock()

    def read(self, index: int) -> Block:
        """Read chunk `index`."""
        block = self._reader.read(index)
        # Several threads read ahead.
        with self._lock:
            self._counts["chunks"] += 1
            self._counts["rows"] += len(block.rows)
            self._counts["bytes"] += block.rows.nbytes
        return block

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Hand the results of futures on."""
        self._reader.supply(results)

    def __enter__(self) -> Self:
        self._began = perf_counter()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if error is None:
            _report({**self._counts, "groups": 1, "seconds": perf_counter() - self._began})


def _report(counts: Mapping[str, float]) -> None:
    whole = {name: int(count) for name, count in counts.items() if name not in ("groups", "seconds")}
    worker = get_worker()
    event = {"action": "group", "worker": worker.address, **whole, "seconds": round(counts["seconds"], 4)}
    worker.log_event(TOPIC, event)
    for name, counter in _counters().items():
        counter.inc(counts[name])


@lru_cache(maxsize=1)
def _counters() -> Mapping[str, Any]:
    """Return this process's counters, none without prometheus_client."""
    try:
        from prometheus_client import Counter
    except ImportError:
        return {}
    return {name: Counter(f"dask_gmm_{name}", text) for name, text in _COUNTERS.items()}


def report_pass(client: Any, number: int, n_groups: int, seconds: float) -> None:
    """Log a pass for the cluster as a whole, after the events of its groups."""
    event = {"action": "pass", "number": number, "groups": n_groups, "seconds": round(seconds, 4)}
    client.log_event(TOPIC, event)


def new_span() -> dict[str, Any]:
    """Return the annotation of a new span, under which several passes can be run."""
    with span(TOPIC):
        annotation: dict[str, Any] = dask.get_annotations()["span"]
    return annotation
