"""Dask's current scheduler, and why an asynchronous client cannot be one for calls that wait."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from dask.base import get_scheduler
from distributed import Client, get_client

from dask_gmm.errors import AsynchronousClientError

_ASYNCHRONOUS = (
    "The current Dask client is asynchronous, and this call waits for what it computes, which would stop the "
    "client's event loop. Run it in a thread with a client of its own: `await asyncio.to_thread(run)`, where "
    "run does `with Client(client.scheduler.address, set_as_default=False) as waiting, "
    "waiting.as_current(): gm.fit(X)`. Or leave the cluster out: "
    '`with dask.config.set(scheduler="threads"): gm.fit(X)`.'
)


def current_scheduler() -> Callable[..., Any] | None:
    """Return what computes Dask's collections now, as `dask.base.get_scheduler` does.

    Raises
    ------
    AsynchronousClientError
        That is an asynchronous client, without a fallback (``admin.async-client-fallback``).
    """
    try:
        scheduler: Callable[..., Any] | None = get_scheduler()
    except RuntimeError as error:
        if not _client_is_asynchronous():
            raise
        raise AsynchronousClientError(_ASYNCHRONOUS) from error
    return scheduler


def current_client() -> Client | None:
    """Return the client whose cluster computes what is computed now, None without one.

    Raises
    ------
    AsynchronousClientError
        See `current_scheduler`.
    """
    client = getattr(current_scheduler(), "__self__", None)
    return client if isinstance(client, Client) else None


def _client_is_asynchronous() -> bool:
    try:
        return bool(get_client().asynchronous)
    except ValueError:  # there is none
        return False


def computed(collection: Any) -> Any:
    """Return the values of a lazy collection.

    Raises
    ------
    AsynchronousClientError
        See `current_scheduler`.
    """
    current_scheduler()
    return collection.compute()
