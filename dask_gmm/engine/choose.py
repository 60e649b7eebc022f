"""Where a pass runs: the current Dask scheduler decides, as for any Dask computation."""

from __future__ import annotations

import dask
from dask.base import get_scheduler
from distributed import Client

from dask_gmm.data.source import Source
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.threads import ThreadsEngine


def choose_engine(source: Source) -> ThreadsEngine | ClusterEngine:
    """Return the engine for `source`.

    A current client's cluster, unless ``dask.config.set(scheduler=...)`` asks for something else;
    otherwise the threads of this process (one with ``scheduler="sync"``). Rows in this process's memory
    are not sent anywhere.
    """
    scheduler = get_scheduler()
    client = getattr(scheduler, "__self__", None)
    if isinstance(client, Client) and not source.in_memory:
        return ClusterEngine(source, client)
    if scheduler is not None and getattr(scheduler, "__name__", "") == "get_sync":
        return ThreadsEngine(source, n_threads=1)
    return ThreadsEngine(source, n_threads=dask.config.get("num_workers", None))
