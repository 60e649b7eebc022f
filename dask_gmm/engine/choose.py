"""Where a pass runs: the current Dask scheduler decides, as for any Dask computation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from distributed import Client

from dask_gmm.data.scheduler import current_scheduler
from dask_gmm.data.source import Source
from dask_gmm.engine.cache import Cache, fits_in_process
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.memory_estimate import PassBytes
from dask_gmm.engine.threads import ThreadsEngine
from dask_gmm.errors import AsynchronousClientError

_NOTHING = PassBytes()


def choose_engine(
    source: Source, cache: Cache = "auto", computed: PassBytes = _NOTHING, keep_bytes: int = 0
) -> ThreadsEngine | ClusterEngine:
    """Return the engine for `source`.

    That is the cluster of the current client, unless ``dask.config.set(scheduler=...)`` asks for something
    else; otherwise the threads of this process, one with ``scheduler="sync"``. Rows in this process's memory
    are not sent anywhere.

    Parameters
    ----------
    source : Source
    cache : {'auto', True, False}
        Whether rows stay in memory between passes: with 'auto' what fits a cluster's memory does, and on
        the threads of this process all that are no more than `keep_bytes`. See `dask_gmm.engine.cache`.
    computed : PassBytes
        Sizes of what a pass computes, for the estimate of memory.
    keep_bytes : int
        Most bytes of rows that stay in the memory of this process.

    Raises
    ------
    AsynchronousClientError
        The current client is asynchronous, and the rows are not in memory.
    """
    scheduler = _current_scheduler(source)
    client = getattr(scheduler, "__self__", None)
    if isinstance(client, Client) and not source.in_memory:
        return ClusterEngine(source, client, cache, computed)
    keep = fits_in_process(source, cache, keep_bytes)
    if scheduler is not None and getattr(scheduler, "__name__", "") == "get_sync":
        return ThreadsEngine(source, 1, keep=keep)
    return ThreadsEngine(source, keep=keep)


def _current_scheduler(source: Source) -> Callable[..., Any] | None:
    try:
        return current_scheduler()
    except AsynchronousClientError:
        if source.in_memory:
            return None
        raise
