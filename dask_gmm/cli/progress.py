"""The passes of a fit as events, which arrive through scikit-learn's callback interface."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from time import perf_counter

from dask_gmm.data.source import Source, byte_counts
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC
from dask_gmm.mixture.validation import known_rows
from dask_gmm.reporting.callback_support import CallbackContext


@dataclass(frozen=True, slots=True)
class PassDone:
    """One pass over the rows.

    Attributes
    ----------
    number : int
        Counts the passes of the fit from one.
    name : str
        'start', 'pass', 'check' of rows that a checkpoint knows, or 'evaluation' of the candidates.
    seconds : float
    n_rows, n_bytes : int or None
        Read in the pass, None where only reading tells.
    lower_bound : float or None
        Mean log-likelihood of the best restart so far, in nats per row; None where no restart advanced.
    gain : float or None
        Its last change.
    gap : float or None
        Estimate of what further passes may still add.
    seconds_left : float or None
        Time until all restarts and candidates are expected to be done.
    undone : bool
        The pass tried a surrogate step, or a step of L-BFGS, that lowered the bound.
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
    undone: bool = False

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

    def setup(self, estimator: object, context: CallbackContext) -> None:
        """Do nothing when a fit starts."""

    def teardown(self, estimator: object, context: CallbackContext) -> None:
        """Do nothing when a fit ends."""

    def on_fit_task_begin(self, estimator: object, context: CallbackContext) -> None:
        """Note when a pass begins."""
        if _is_pass(context):
            self._began = perf_counter()
            self._groups_done(0.0)

    def on_fit_task_end(
        self,
        estimator: object,
        context: CallbackContext,
        *,
        fitted_estimator: GaussianMixture | GaussianMixtureIC | None = None,
    ) -> None:
        """Report a group of chunks, or a pass."""
        if context.parent is None:
            return
        if not _is_pass(context):
            self._groups_done((context.task_id + 1) / context.parent.max_subtasks)
            return
        seconds = perf_counter() - self._began
        history = None if fitted_estimator is None else fitted_estimator.history_
        # In float64 and without what was undone, unlike `lower_bounds_`.
        last = history.to_dicts()[-1] if history is not None else {}
        left = None if history is None else history.passes_left
        self._pass_done(
            PassDone(
                number=context.task_id + 1,
                name=context.task_name,
                seconds=seconds,
                n_rows=self._n_rows,
                n_bytes=self._n_bytes,
                lower_bound=last.get("lower_bound"),
                gain=_finite(last.get("gain")),
                gap=_finite(last.get("remaining")),
                undone=last.get("rejected", False),
                seconds_left=None if left is None else left * seconds,
            )
        )


def _is_pass(context: CallbackContext) -> bool:
    return context.parent is not None and context.parent.parent is None


def _finite(number: float | None) -> float | None:
    return number if number is not None and math.isfinite(number) else None
