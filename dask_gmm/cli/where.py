"""Where a command runs: a running scheduler, a local cluster, or the threads of this process."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator, Mapping
from typing import Any

import click
import dask
from dask.utils import parse_timedelta
from distributed import Client, LocalCluster, performance_report
from distributed.security import Security

from dask_gmm.config import NO_WORKERS_TIMEOUT
from dask_gmm.data.source import Source, byte_counts
from dask_gmm.errors import NoWorkersError, SchedulerLostError

# A cluster takes some seconds to start, and as much time to read.
_SMALL_BYTES = 256 << 20
_LOCAL = ("n_workers", "threads", "memory_limit")
# Runs in each worker, those that are started again included.
_IGNORING = "import signal; signal.signal(signal.SIGINT, signal.SIG_IGN)"
_TLS = ("tls_ca_file", "tls_cert", "tls_key")


@contextlib.contextmanager
def cluster(given: Mapping[str, Any], source: Source) -> Iterator[Client | None]:
    """Provide the cluster that the options of `dask_gmm.cli.options.CLUSTER` ask for.

    Without any of them small rows stay on the threads of this process, which takes less time than a cluster
    needs to start.

    Parameters
    ----------
    given : mapping
        The options.
    source : Source

    Yields
    ------
    Client or None
        The current client, None on the threads of this process.

    Raises
    ------
    click.UsageError
        Options that exclude one another.
    SchedulerLostError, NoWorkersError
        The scheduler cannot be reached, or its workers do not come.
    """
    address = given["scheduler"] or dask.config.get("scheduler-address", None)
    remote = bool(address or given["scheduler_file"])
    _check(given, remote)
    with contextlib.ExitStack() as stack:
        if remote:
            yield _reported(stack, stack.enter_context(_connected(address, given)), given)
        elif given["n_workers"] == 0 or _is_small(given, source):
            stack.enter_context(dask.config.set(scheduler="threads", num_workers=given["threads"]))
            yield None
        else:
            local = stack.enter_context(_local(given))
            yield _reported(stack, stack.enter_context(Client(local)), given)


def _is_small(given: Mapping[str, Any], source: Source) -> bool:
    asked = [given[name] for name in (*_LOCAL, "performance_report")]
    sizes = byte_counts(source.chunks, unknown=_SMALL_BYTES)
    return asked == [None] * len(asked) and int(sizes.sum()) < _SMALL_BYTES


def _check(given: Mapping[str, Any], remote: bool) -> None:
    if given["scheduler"] and given["scheduler_file"]:
        raise click.UsageError("Give --scheduler or --scheduler-file, not both.")
    for name in _LOCAL if remote else _TLS:
        if given[name] is not None:
            kind = "a local cluster" if remote else "a scheduler that is there"
            raise click.UsageError(f"--{name.replace('_', '-')} is for {kind}.")
    if given["performance_report"] and given["n_workers"] == 0:
        raise click.UsageError("--performance-report needs a cluster, and --n-workers 0 asks for none.")


def _connected(address: str | None, given: Mapping[str, Any]) -> Client:
    place = {"scheduler_file": given["scheduler_file"]} if given["scheduler_file"] else {"address": address}
    try:
        client = Client(**place, security=_security(given), set_as_default=True)
    except (OSError, TimeoutError) as error:
        raise SchedulerLostError(
            f"No scheduler answers at {given['scheduler_file'] or address}: {error}"
        ) from error
    except (AssertionError, LookupError, ValueError) as error:
        if not given["scheduler_file"]:
            raise
        raise click.UsageError(
            f"{given['scheduler_file']} is no scheduler file: it should be the JSON that "
            "`dask scheduler --scheduler-file` writes."
        ) from error
    timeout = dask.config.get(NO_WORKERS_TIMEOUT.key)
    try:
        client.wait_for_workers(given["wait_for"], timeout=parse_timedelta(timeout))
    except TimeoutError as error:
        client.close()
        raise NoWorkersError(
            f"{given['wait_for']} worker(s) did not come within {timeout} (dask-gmm.no-workers-timeout)."
        ) from error
    return client


def _security(given: Mapping[str, Any]) -> Security | None:
    if not any(given[name] for name in _TLS):
        # Dask's own configuration (distributed.comm.tls) still counts.
        return None
    return Security(
        tls_ca_file=given["tls_ca_file"],
        tls_client_cert=given["tls_cert"],
        tls_client_key=given["tls_key"],
        require_encryption=True,
    )


def _local(given: Mapping[str, Any]) -> LocalCluster:
    size = {"n_workers": given["n_workers"], "threads_per_worker": given["threads"]}
    if given["memory_limit"] is not None:
        size["memory_limit"] = given["memory_limit"]
    # Another cluster on this machine may have the dashboard's usual port.
    # Ctrl-C in a terminal reaches all processes: workers leave it to this one, which ends them.
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        return LocalCluster(**size, preload=[_IGNORING], dashboard_address="127.0.0.1:0")
    finally:
        signal.signal(signal.SIGINT, before)


def _reported(stack: contextlib.ExitStack, client: Client, given: Mapping[str, Any]) -> Client:
    if given["performance_report"]:
        try:
            import bokeh  # noqa: F401
        except ImportError as error:
            raise click.UsageError("--performance-report needs bokeh: pip install bokeh.") from error
        stack.enter_context(performance_report(filename=given["performance_report"]))
    return client
