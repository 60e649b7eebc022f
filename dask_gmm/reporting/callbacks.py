"""scikit-learn's callbacks (progress bars, monitors, early stopping), told of each level of a fit.

The levels are tasks of `sklearn.callback`: the fit; in it one task for the start and one for each
pass; in those one for each group of chunks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from dask_gmm.fitting.em import Collapse, Run, best_of
from dask_gmm.fitting.passes import PassRecord
from dask_gmm.reporting.verbose import Verbose
from dask_gmm.reporting.verbose_sweep import SweepVerbose

Records = tuple[PassRecord, ...]
Attributes = Callable[[Run, Records, int | None], Mapping[str, Any]]


class FitReport:
    """Tells `verbose` output and callbacks how a fit goes.

    Parameters
    ----------
    estimator : GaussianMixture
    verbose : Verbose or SweepVerbose
    fit_data : mapping
        X, y and metadata as callbacks receive them.
    n_groups : int
        Groups of chunks in a pass.
    most_passes : int
        Passes that the fit makes at most.
    attributes : callable
        Gives the fitted attributes for a run so far, the records of the passes that were made, and the number
        of those that are expected to follow.
    """

    def __init__(
        self,
        estimator: Any,
        verbose: Verbose | SweepVerbose,
        fit_data: Mapping[str, Any],
        *,
        n_groups: int,
        most_passes: int,
        attributes: Attributes,
    ) -> None:
        self._estimator = estimator
        self._verbose = verbose
        self._fit_data = fit_data
        self._n_groups = n_groups
        self._attributes = attributes
        self._heard = bool(getattr(estimator, "_skl_callbacks", None))
        self._fit = estimator._init_callback_context(max_subtasks=most_passes)
        self._fit.call_on_fit_task_begin(estimator=estimator, **fit_data)
        self._pass: Any = None

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
        attributes = (lambda: self._attributes(best_of(runs), records, passes_left)) if runs else None
        stop: bool = self._pass.call_on_fit_task_end(
            estimator=self._estimator, reconstruction_attributes=attributes, **self._fit_data
        )
        return stop

    def fit_done(self, run: Run, records: Records) -> None:
        """Close the task of the fit."""
        self._fit.call_on_fit_task_end(
            estimator=self._estimator,
            reconstruction_attributes=lambda: self._attributes(run, records, 0),
            **self._fit_data,
        )
