"""Patience with a cluster: what is waited for, for how long, and what the error says in the end."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from concurrent.futures import TimeoutError as FutureTimeoutError
from time import monotonic
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client, Future
from distributed.scheduler import KilledWorker

_GO_ON = "Fit again on a cluster with workers; with a checkpoint the fit goes on from the last pass."
# Between two looks at the cluster while a pass runs.
_LOOK_SECONDS = 5.0
# Between two reports of progress.
_REPORT_SECONDS = 0.2


class ClusterError(RuntimeError):
    """The cluster ended a fit; the fit can be started again."""


class NoWorkersError(ClusterError):
    """No worker was left for too long."""


class SchedulerLostError(ClusterError):
    """The connection to the scheduler is gone."""


class WorkersKilledError(ClusterError):
    """Workers died again and again on the same task."""


class Patience:
    """Waits for results on a cluster that loses and gains workers.

    Parameters
    ----------
    client : distributed.Client
    memory_note : str
        What a task needs, told when workers keep dying: memory is the usual reason.
    """

    def __init__(self, client: Client, memory_note: str) -> None:
        self._client = client
        self._memory_note = memory_note
        # Dask configuration: seconds without any worker, and how often a killed task is given back.
        self._no_workers = parse_timedelta(dask.config.get("dask-gmm.no-workers-timeout", "10 minutes"))
        self._most_retries = int(dask.config.get("dask-gmm.killed-retries", 20))

    def result(self, future: Future, meanwhile: Callable[[], None] | None = None) -> Any:
        """Return the future's result, calling `meanwhile` several times a second.

        Raises
        ------
        ClusterError
            One of the kinds above.
        Exception
            What the task itself raised.
        """
        retries = 0
        without_workers_since: float | None = None
        looked = monotonic()
        while True:
            try:
                return future.result(timeout=_LOOK_SECONDS if meanwhile is None else _REPORT_SECONDS)
            except KilledWorker as error:
                # A preempted worker counts as a failure of the task it had; the task is not to blame.
                retries += 1
                if retries > self._most_retries:
                    raise WorkersKilledError(f"{error} {self._memory_note}") from error
                future.retry()
            except (FutureTimeoutError, TimeoutError):
                if meanwhile is not None:
                    meanwhile()
                if monotonic() - looked > _LOOK_SECONDS:
                    without_workers_since = self._without_workers(without_workers_since)
                    looked = monotonic()
            except CancelledError as error:
                raise SchedulerLostError(
                    f"The connection to the scheduler was lost in the middle of a pass. {_GO_ON}"
                ) from error

    def _without_workers(self, since: float | None) -> float | None:
        if self._n_workers() > 0:
            return None
        since = monotonic() if since is None else since
        if monotonic() - since > self._no_workers:
            raise NoWorkersError(
                f"No worker has been left for {self._no_workers:.0f} s (dask-gmm.no-workers-timeout). "
                f"{_GO_ON}"
            )
        return since

    def _n_workers(self) -> int:
        try:
            return len(self._client.nthreads())
        except (OSError, CancelledError, TimeoutError) as error:
            raise SchedulerLostError(
                f"The scheduler does not answer any more ({type(error).__name__}). {_GO_ON}"
            ) from error
