"""Patience with a cluster: what is waited for, for how long, and what the error says in the end."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager, suppress
from time import monotonic, sleep
from typing import Any

import dask
from dask.utils import parse_timedelta
from distributed import Client, Future
from distributed.client import ClosedClientError
from distributed.scheduler import KilledWorker

_LOGGER = logging.getLogger("dask_gmm")

_GO_ON = "Fit again on a cluster with workers; with a checkpoint the fit goes on from the last pass."
# Between two looks at the cluster while a pass runs.
_LOOK_SECONDS = 5.0
# Between two reports of progress.
_REPORT_SECONDS = 0.2
# A scheduler that does not answer for so long is gone.
_ANSWER_SECONDS = 45.0


class ClusterError(RuntimeError):
    """The cluster ended a fit; the fit can be started again."""


class NoWorkersError(ClusterError):
    """No worker was left for too long."""


class SchedulerLostError(ClusterError):
    """The connection to the scheduler is gone."""


class WorkersKilledError(ClusterError):
    """Workers died again and again on the same task."""


@contextmanager
def connected() -> Iterator[None]:
    """Context of calls to the scheduler; raises SchedulerLostError where they fail."""
    try:
        yield
    except (OSError, CancelledError, ClosedClientError) as error:
        raise _lost(error) from error


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
                _LOGGER.warning(
                    "Workers died; what they did is done again (%d of %d times). %s",
                    retries,
                    self._most_retries,
                    self._memory_note,
                )
                self._retry(future)
            except (TimeoutError, UnboundLocalError) as error:
                # The latter is how distributed says that the result came in the instant of the time-out.
                if future.status == "error" and isinstance(future.exception(), type(error)):
                    raise  # the task's own
                if meanwhile is not None:
                    meanwhile()
                if monotonic() - looked > _LOOK_SECONDS:
                    without_workers_since = self._without_workers(without_workers_since)
                    looked = monotonic()
            except CancelledError as error:
                raise _lost(error) from error

    def _retry(self, future: Future) -> None:
        with connected():
            # Tasks on the way that the client does not know are no harm to the scheduler.
            with suppress(KeyError):
                future.retry()
            # The scheduler tells the client by another way.
            until = monotonic() + _ANSWER_SECONDS
            while future.status == "error" and monotonic() < until:
                sleep(0.01)

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
        with connected():
            return len(self._client.nthreads(callback_timeout=_ANSWER_SECONDS))


def _lost(error: BaseException) -> SchedulerLostError:
    return SchedulerLostError(f"The scheduler does not answer any more ({type(error).__name__}). {_GO_ON}")
