"""Which groups of a running pass have finished, told to the caller while it waits."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from queue import SimpleQueue

from distributed import Future

from dask_gmm.engine.plan import GroupDone


class FinishedGroups:
    """Collects finished groups from the client's threads, and reports each once in the caller's thread.

    Parameters
    ----------
    parts : sequence of distributed.Future
        The groups' tasks. They are not kept.
    group_done : callable or None
        Called with the number of each group that has finished; None when nobody asks.
    """

    def __init__(self, parts: Sequence[Future], group_done: GroupDone | None) -> None:
        self._group_done = group_done
        self._waiting: set[int] = set()
        self._finished: SimpleQueue[int] = SimpleQueue()
        if group_done is not None:
            self._waiting.update(range(len(parts)))
            for number, part in enumerate(parts):
                part.add_done_callback(partial(self._note, number))

    def report(self) -> None:
        """Report the groups that have finished since the last call."""
        while not self._finished.empty():
            self._report_once(self._finished.get())

    def report_rest(self) -> None:
        """Report all groups that were not reported yet, once the pass is over."""
        # The client's threads may not have told of the last groups.
        for number in sorted(self._waiting):
            self._report_once(number)

    def _note(self, number: int, part: Future) -> None:
        if part.status == "finished":
            self._finished.put(number)

    def _report_once(self, number: int) -> None:
        # A group that was lost with its worker and computed again has finished twice.
        if self._group_done is not None and number in self._waiting:
            self._waiting.remove(number)
            self._group_done(number)
