"""Waiting for results on a cluster: for how long, and what the error says in the end."""

from __future__ import annotations

import logging
from asyncio import run_coroutine_threadsafe
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from concurrent.futures import Future as Fetching
from contextlib import contextmanager
from time import monotonic, sleep
from typing import Any

from distributed import Client, Future
from distributed.client import ClosedClientError
from distributed.scheduler import KilledWorker

from dask_gmm.config import KILLED_RETRIES, NO_WORKERS_TIMEOUT
from dask_gmm.engine.memory_pressure import Relief
from dask_gmm.errors import DataError, NoWorkersError, SchedulerLostError, WorkersKilledError

_Workers = Mapping[str, Mapping[str, Any]]

_LOGGER = logging.getLogger("dask_gmm")

_GO_ON = "Fit again on a cluster with workers; with a checkpoint the fit goes on from the last pass."
# Dask's word for it in a `FutureCancelledError`.
_LOST_DEPENDENCIES = "lost dependencies"
# Time between two looks at the cluster while a pass runs.
_LOOK_SECONDS = 5.0
# Time between two calls of what is to be done meanwhile.
_MEANWHILE_SECONDS = 0.2
# A scheduler that has not answered for so long is taken for gone.
_ANSWER_SECONDS = 45.0


@contextmanager
def scheduler_errors() -> Iterator[None]:
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
    suitable : callable, optional
        Returns those of the workers, by address, that are given tasks.
    """

    def __init__(
        self,
        client: Client,
        memory_note: str,
        suitable: Callable[[_Workers], _Workers] = lambda workers: workers,
    ) -> None:
        self._client = client
        self._memory_note = memory_note
        self._suitable = suitable
        self._looked = monotonic()
        self._relief = Relief(client, memory_note)
        self._no_workers = NO_WORKERS_TIMEOUT.get()
        self._most_retries = KILLED_RETRIES.get()

    def result(
        self, future: Future, keys: Sequence[Any] = (), meanwhile: Callable[[], None] = lambda: None
    ) -> Any:
        """Return the future's result.

        Parameters
        ----------
        future : distributed.Future
        keys : sequence
            Keys of all tasks that the result is made of, and its own: those that were killed are run again.
        meanwhile : callable, optional
            Called several times a second.

        Raises
        ------
        ClusterError
            No worker can run the tasks, workers keep dying, or the scheduler is gone.
        DataError
            The scheduler answers, but what the tasks are made of is lost.
        Exception
            What the task itself raised.
        """
        retries = 0
        without_workers_since: float | None = None
        fetching = self._fetching(future)
        while True:
            try:
                return fetching.result(timeout=_MEANWHILE_SECONDS)
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
                # The frames in it would keep the result, which is made again for nothing when it is lost.
                error.__traceback__ = None
                self._retry(future, keys)
                fetching = self._fetching(future)
            except TimeoutError as error:
                if fetching.done() and fetching.exception() is error:
                    raise  # the task's own
                meanwhile()
                if monotonic() - self._looked > _LOOK_SECONDS:
                    without_workers_since = self._without_workers(without_workers_since)
                    self._looked = monotonic()
            except CancelledError as error:
                raise _lost(error) from error

    def _fetching(self, future: Future) -> Fetching[Any]:
        # Not `future.result(timeout)`: each time-out would end the transfer of a large result, which would
        # then begin anew and might never arrive.
        gathering = self._client.gather(future, asynchronous=True)
        return run_coroutine_threadsafe(gathering, self._client.loop.asyncio_loop)

    def _retry(self, future: Future, keys: Sequence[Any]) -> None:
        # Not `future.retry`: it looks for what failed from the result downwards. Where two tasks are killed
        # at once, what is between may be given up: one is not found, and is waited for without end.
        with scheduler_errors():
            states = self._ask("get_task_status", keys=list(keys))
            killed = [key for key, state in states.items() if state == "erred"]
            self._ask("retry", keys=killed, client=self._client.id)
            # The scheduler tells the client by another way.
            until = monotonic() + _ANSWER_SECONDS
            while future.status == "error" and monotonic() < until:
                sleep(0.01)

    def _ask(self, what: str, **arguments: Any) -> Any:
        """Return what the scheduler answers."""
        return self._client.sync(
            getattr(self._client.scheduler, what), callback_timeout=_ANSWER_SECONDS, **arguments
        )

    def _without_workers(self, since: float | None) -> float | None:
        """Help paused workers; return since when no worker has been running."""
        with scheduler_errors():
            workers = self._ask("identity", n_workers=-1)["workers"]
            states = {address: worker["status"] for address, worker in workers.items()}
            self._relief.look([address for address, state in states.items() if state == "paused"])
        if any(states[address] == "running" for address in self._suitable(workers)):
            return None
        since = monotonic() if since is None else since
        if monotonic() - since > self._no_workers:
            too_small = "running" in states.values()
            enough, why = (" with memory enough", f" {self._memory_note}") if too_small else ("", "")
            raise NoWorkersError(
                f"No worker{enough} has been running for {self._no_workers:.0f} s "
                f"(dask-gmm.no-workers-timeout).{why} {_GO_ON}"
            )
        return since


def _lost(error: BaseException) -> Exception:
    # Dask calls it cancelled too when the scheduler, which answers, does not know what a task is made of.
    if getattr(error, "reason", None) == _LOST_DEPENDENCIES:
        return DataError(
            f"What X or its weights are computed from is not on this cluster any more ({error}) It was "
            "persisted or scattered through a client that was closed since, or was released, or lost with a "
            "worker. Make X again, and persist it with the client that is used now."
        )
    return SchedulerLostError(f"The scheduler does not answer any more ({type(error).__name__}). {_GO_ON}")
