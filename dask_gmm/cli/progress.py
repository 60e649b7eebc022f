"""A fit's passes as events, heard through scikit-learn's callback interface."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from time import perf_counter
from typing import Any

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.fitting.convergence import remaining_gap
from dask_gmm.validation import known_rows


@dataclass(frozen=True, slots=True)
class PassDone:
    """One pass over the rows.

    Attributes
    ----------
    number : int
        Counts the passes of the fit from one.
    name : str
        'start' or 'pass'.
    seconds : float
    n_rows, n_bytes : int or None
        Read in the pass, None where only reading tells.
    lower_bound : float or None
        Mean log-likelihood of the best restart so far, in nats a row; None after the start's pass.
    gain : float or None
        Its last change.
    gap : float or None
        What further passes may still add, if gains go on shrinking as they do.
    seconds_left : float or None
        Until the gain falls below the tolerance, or the passes are used up.
    """

    number: int
    name: str
    seconds: float
    n_rows: int | None
    n_bytes: int | None
    lower_bound: float | None
    gain: float | None
    gap: float | None
    seconds_left: float | None

    @property
    def bytes_per_second(self) -> float | None:
        """Speed of the pass."""
        return None if self.n_bytes is None else self.n_bytes / max(self.seconds, 1e-9)


class PassReport:
    """A scikit-learn callback that measures passes.

    Parameters
    ----------
    source : Source
    pass_done : callable
        Gets a `PassDone` after each pass.
    groups_done : callable
        Gets the share of the running pass that is done, from 0 to 1.
    """

    def __init__(
        self,
        source: Source,
        pass_done: Callable[[PassDone], None],
        groups_done: Callable[[float], None],
    ) -> None:
        self._pass_done, self._groups_done = pass_done, groups_done
        self._n_rows = known_rows(source)
        n_bytes = byte_counts(source.chunks, unknown=-1)
        self._n_bytes = None if n_bytes.min(initial=0) < 0 else int(n_bytes.sum())
        self._began = 0.0

    def setup(self, estimator: Any, context: Any) -> None:
        """Take nothing from the start of a fit."""

    def teardown(self, estimator: Any, context: Any) -> None:
        """Leave nothing after it."""

    def on_fit_task_begin(self, estimator: Any, context: Any) -> None:
        """Note when a pass begins."""
        if _is_pass(context):
            self._began = perf_counter()
            self._groups_done(0.0)

    def on_fit_task_end(self, estimator: Any, context: Any, *, fitted_estimator: Any = None) -> None:
        """Report a group of chunks, or a pass."""
        if context.parent is None:
            return
        if not _is_pass(context):
            self._groups_done((context.task_id + 1) / context.parent.max_subtasks)
            return
        bounds = [] if fitted_estimator is None else [float(b) for b in fitted_estimator.lower_bounds_]
        seconds = perf_counter() - self._began
        left = passes_left(bounds, _tolerance(estimator), estimator.max_iter)
        self._pass_done(
            PassDone(
                number=context.task_id + 1,
                name=context.task_name,
                seconds=seconds,
                n_rows=self._n_rows,
                n_bytes=self._n_bytes,
                lower_bound=bounds[-1] if bounds else None,
                gain=bounds[-1] - bounds[-2] if len(bounds) > 1 else None,
                gap=_gap(bounds),
                seconds_left=None if left is None else left * seconds,
            )
        )


def _is_pass(context: Any) -> bool:
    return context.parent is not None and context.parent.parent is None


def passes_left(lower_bounds: Sequence[float], tol: float, max_iter: int) -> int | None:
    """Return after how many more passes the gain is expected below `tol`, at most what `max_iter` leaves.

    Examples
    --------
    >>> passes_left([-3.0, -2.0, -1.5], tol=0.1, max_iter=100)
    3
    """
    if len(lower_bounds) < 2:
        return None
    most = max(0, max_iter - len(lower_bounds))
    gain = abs(lower_bounds[-1] - lower_bounds[-2])
    if gain < tol:
        return 0
    rate = _rate(lower_bounds)
    if rate is None or tol == 0:
        return most
    return min(most, math.floor(math.log(tol / gain) / math.log(rate)) + 1)


def _gap(lower_bounds: Sequence[float]) -> float | None:
    if not lower_bounds:
        return None
    gap = remaining_gap([after - before for before, after in pairwise(lower_bounds)], lower_bounds[-1])
    return gap if math.isfinite(gap) else None


def _tolerance(estimator: Any) -> float:
    # 'auto' depends on what is left to gain; the most passes are all that can be said.
    return estimator.tol if isinstance(estimator.tol, (int, float)) else 0.0


def _rate(lower_bounds: Sequence[float]) -> float | None:
    """Return the ratio of the last two gains if it lies between 0 and 1."""
    if len(lower_bounds) < 3:
        return None
    before, last = lower_bounds[-2] - lower_bounds[-3], lower_bounds[-1] - lower_bounds[-2]
    return last / before if 0 < last < before else None
