"""scikit-learn's callbacks (progress bars, monitors, early stopping), told of each level of a fit.

The levels are tasks of `sklearn.callback`: the fit; in it one task for the start and one for each
pass; in those one for each group of chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from dask_gmm.fitting.em import Collapse, Run, best_of
from dask_gmm.fitting.history import History
from dask_gmm.fitting.passes import PassRecord
from dask_gmm.reporting.callback_support import CallbackContext
from dask_gmm.reporting.verbose import Verbose
from dask_gmm.reporting.verbose_sweep import SweepVerbose

Records = tuple[PassRecord, ...]


class CallbackHost(Protocol):
    """What scikit-learn's `CallbackSupportMixin` makes of an estimator."""

    def _init_callback_context(self, *, max_subtasks: int) -> CallbackContext:
        """Return the context of the fit, for its callbacks."""


class FitReport:
    """Tells `verbose` output and callbacks how a fit goes.

    Parameters
    ----------
    estimator : estimator
        Whose callbacks they are.
    verbose : Verbose or SweepVerbose
    attributes : callable
        Gives the fitted attributes for a run so far, without its history.
    X, y, sample_weight
        As the user gave them to `fit`.
    """

    def __init__(
        self,
        estimator: CallbackHost,
        verbose: Verbose | SweepVerbose,
        attributes: Callable[[Run], Mapping[str, Any]],
        X: Any,
        y: Any,
        sample_weight: Any,
    ) -> None:
        self._estimator = estimator
        self._verbose = verbose
        self._attributes = attributes
        metadata = None if sample_weight is None else {"sample_weight": sample_weight}
        # Monitors score only where there are targets; a density's targets are the rows themselves.
        self._fit_data = {"X": X, "y": X if y is None else y, "metadata": metadata}
        self._heard = bool(getattr(estimator, "_skl_callbacks", None))
        self._n_groups = 0
        self._fit: CallbackContext
        self._pass: CallbackContext

    def fit_begins(self, *, n_groups: int, most_passes: int) -> None:
        """Open the task of the fit.

        Parameters
        ----------
        n_groups : int
            Groups of chunks in a pass.
        most_passes : int
            Passes that the fit makes at most.
        """
        self._n_groups = n_groups
        self._fit = self._estimator._init_callback_context(max_subtasks=most_passes)
        self._fit.call_on_fit_task_begin(estimator=self._estimator, **self._fit_data)

    def begins(self, runs: Sequence[Run]) -> None:
        """Note which restarts advance now."""
        self._verbose.begins(runs)

    def pass_begins(self, name: str) -> Callable[[int], None] | None:
        """Open the task of a pass, and return what notes its groups."""
        self._pass = self._fit.subcontext(task_name=name, max_subtasks=self._n_groups)
        self._pass.call_on_fit_task_begin(estimator=self._estimator, **self._fit_data)
        return self._group_done if self._heard else None

    def _group_done(self, number: int) -> None:
        group = self._pass.subcontext(task_name="group of chunks")
        group.call_on_fit_task_begin(estimator=self._estimator)
        group.call_on_fit_task_end(estimator=self._estimator)

    def pass_ends(self) -> None:
        """Close the task of a pass that advanced no restart."""
        self._pass.call_on_fit_task_end(estimator=self._estimator, **self._fit_data)

    def pass_done(
        self, restarts: Sequence[Run | Collapse], records: Records, passes_left: int | None
    ) -> bool:
        """Close the task of a pass; True when a callback asks to stop."""
        runs = [restart for restart in restarts if isinstance(restart, Run)]
        for run in runs:
            self._verbose.iteration(run)
        attributes = (lambda: self._so_far(best_of(runs), records, passes_left)) if runs else None
        stop: bool = self._pass.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=attributes, **self._fit_data
        )
        return stop

    def fit_done(self, run: Run, records: Records) -> None:
        """Close the task of the fit."""
        self._fit.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=lambda: self._so_far(run, records, 0),
            **self._fit_data,
        )

    def _so_far(self, run: Run, records: Records, passes_left: int | None) -> Mapping[str, Any]:
        return {**self._attributes(run), "history_": History.of_run(run, records, passes_left)}
