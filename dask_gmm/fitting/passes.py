"""The passes of a fit: a survey where a start has to be found, then E-steps for all restarts together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, Protocol

import numpy as np

from dask_gmm.errors import CollapsedComponentError, DataError
from dask_gmm.fitting.checksums import Checksum, Comparison
from dask_gmm.fitting.convergence import LOOSEST_TOL, negligible_gap, passes_left
from dask_gmm.fitting.em import Collapse, Run, Stopping, advanced, without_trial
from dask_gmm.fitting.enough_rows import check_enough_rows, check_squares
from dask_gmm.fitting.evaluation import Evaluation, entropy
from dask_gmm.fitting.reductions import EStep
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.survey import Sample, Sampling, Survey, Surveyed
from dask_gmm.fitting.unchanged import check_same_rows, check_unchanged
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.observation import Kernel
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

GroupDone = Callable[[int], None]

# So many times the passes that were seen, those to come are not foretold.
_FURTHEST = 3


@dataclass(frozen=True, slots=True)
class PassRecord:
    """What a pass over the data took.

    Attributes
    ----------
    seconds : float
    n_bytes : int or None
        Size of the rows it read, those left out that stayed in memory; None where only reading tells.
    """

    seconds: float
    n_bytes: int | None


class Engine(Protocol):
    """Runs passes; see `dask_gmm.engine`.

    Attributes
    ----------
    kept_bytes : int
        Size of the rows that stayed in memory since an earlier pass.
    """

    kept_bytes: int

    def run(self, reductions: Sequence[Any], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass and return the value of each reduction."""

    def group_name(self, number: int) -> str:
        """Return what an error calls a group of chunks, in the order of the rows."""


class Observer(Protocol):
    """Hears of a fit's progress; see `dask_gmm.reporting`."""

    def pass_begins(self, name: str) -> GroupDone | None:
        """Note that a pass begins; return what wants to hear of its groups."""

    def pass_ends(self) -> None:
        """Note that a pass that advanced no restart is over."""

    def begins(self, runs: Sequence[Run]) -> None:
        """Note which restarts advance now."""

    def pass_done(
        self, restarts: Sequence[Run | Collapse], records: tuple[PassRecord, ...], passes_left: int | None
    ) -> bool:
        """Note that these restarts made an iteration.

        Parameters
        ----------
        restarts : sequence of Run or Collapse
        records : tuple of PassRecord
            Of all passes that were made.
        passes_left : int or None
            How many are expected to follow.

        Returns
        -------
        bool
            True to stop all.
        """


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of the rows beforehand.

    Attributes
    ----------
    n_rows : int or None
    n_features : int
    dtype : dtype
    arithmetic : dtype
        Of the products of an E-step.
    n_bytes : int or None
        Of all rows, None where only reading tells.
    sample : Sample or None
        All rows, where they are in memory, checked and few enough to start from.
    checksum : Checksum or None
        What shows that rows change from pass to pass; None where they are in this process's memory.
    """

    n_rows: int | None
    n_features: int
    dtype: np.dtype[Any]
    arithmetic: np.dtype[Any]
    n_bytes: int | None
    sample: Sample | None
    checksum: Checksum | None = None


class Passes:
    """Runs passes and keeps what the first one learned of the rows.

    When no start has to be found the survey rides on the first E-step, so that nothing is read twice for it.

    Parameters
    ----------
    engine : Engine
    rows : Rows
    observer : Observer
    scatter : bool
        Whether any mixture needs the scatter of all rows.
    least_rows : int
        Fewer rows are an error.
    """

    def __init__(
        self, engine: Engine, rows: Rows, observer: Observer, *, scatter: bool, least_rows: int
    ) -> None:
        self.rows = rows
        self._engine = engine
        self._observer = observer
        self.scatter = scatter
        self._least_rows = least_rows
        # All that is known between two passes, with the restarts.
        self.moments: Moments | None = None
        self.records: tuple[PassRecord, ...] = ()
        self.sampling: Sampling | None = None
        self.comparison = (
            None if rows.checksum is None else Comparison(rows.checksum, rows.dtype, engine.group_name)
        )
        # What `sampling` draws, while it is needed; another process draws it again.
        self.sample: Sample | None = None

    def survey(self, sampling: Sampling) -> Sample:
        """Draw the rows to start from."""
        (surveyed,) = self._run("start", [self._survey(sampling)])
        self._learn(surveyed, sampling)
        self._observer.pass_ends()
        assert self.sample is not None
        return self.sample

    def check_rows(self) -> None:
        """Read all rows to see that they are still those of the first pass.

        Raises
        ------
        DataError
        """
        surveyed: Surveyed
        (surveyed,) = self._run("check", [self._survey(None)])
        self._observer.pass_ends()
        if self.moments is not None:
            check_same_rows(self.moments, surveyed.moments, self.rows.dtype)

    def iterate(
        self, runs: Sequence[Run], settings: Sequence[FitSettings], *, sampling: Sampling | None = None
    ) -> list[Run | Collapse]:
        """Advance each run by one iteration with its settings, in one pass over the data.

        Parameters
        ----------
        runs : sequence of Run
        settings : sequence of FitSettings
        sampling : Sampling, optional
            How to draw a sample on the way.
        """
        steps = self._e_steps("pass", [run.parameters for run in runs], settings, sampling)
        return [
            self._advance(run, one, e_step, statistics)
            for run, one, (e_step, statistics) in zip(runs, settings, steps, strict=True)
        ]

    def passes_left(self, runs: Sequence[Run], settings: Sequence[FitSettings]) -> int | None:
        """Return how many more passes these unfinished runs are expected to need together.

        None where that is unknown for one of them, at most what `max_iter` leaves.
        """
        left = [self._passes_left(run, one) for run, one in zip(runs, settings, strict=True)]
        known = [n_passes for n_passes in left if n_passes is not None]
        return max(known, default=0) if len(known) == len(left) else None

    def _passes_left(self, run: Run, settings: FitSettings) -> int | None:
        stopping = self._stopping(run, settings)
        # Leaps and trials that were undone say nothing of the gains to come.
        gains = [one.gain for one in run.iterations if not (one.leap or one.rejected)]
        left = passes_left(gains, run.remaining, stopping.tol, stopping.gap)
        if left is None:
            return None
        left = min(max(left, 1), stopping.max_iter - run.n_iter)
        # Gains that hardly shrink reach any limit far off, or soon.
        return left if left <= _FURTHEST * run.n_iter else None

    def evaluate(self, mixtures: Sequence[Parameters], settings: Sequence[FitSettings]) -> list[Evaluation]:
        """Return how good mixtures that were fitted with these settings are, in one pass over the data."""
        steps = self._e_steps("evaluation", mixtures, settings)
        self._observer.pass_ends()
        return [
            Evaluation(
                statistics.totals.log_likelihood,
                entropy(e_step.density, statistics, e_step.kernel.origins),
                statistics.totals.weight,
                mixture.n_free,
            )
            for mixture, (e_step, statistics) in zip(mixtures, steps, strict=True)
        ]

    def _e_steps(
        self,
        name: str,
        mixtures: Sequence[Parameters],
        settings: Sequence[FitSettings],
        sampling: Sampling | None = None,
    ) -> list[tuple[EStep, Statistics]]:
        e_steps = [
            EStep(one.estimation.density(mixture), self.rows.arithmetic, one.observation)
            for mixture, one in zip(mixtures, settings, strict=True)
        ]
        riding = [self._survey(sampling)] if self.moments is None or sampling is not None else []
        values = self._run(name, [*e_steps, *riding])
        for surveyed in values[len(e_steps) :]:
            self._learn(surveyed, sampling)
        return [
            (e_step, self._completed(e_step.kernel, statistics))
            for e_step, statistics in zip(e_steps, values[: len(e_steps)], strict=True)
        ]

    def _completed(self, kernel: Kernel, statistics: Statistics) -> Statistics:
        """Check the statistics of a pass, and add what no iteration changes."""
        assert self.moments is not None
        check_unchanged(self.moments, statistics, kernel.origins, self.rows.dtype)
        return kernel.completed(statistics, self.moments)

    def _advance(
        self, run: Run, settings: FitSettings, e_step: EStep, statistics: Statistics
    ) -> Run | Collapse:
        assert self.moments is not None
        number = len(self.records) - 1
        stopping = self._stopping(run, settings)
        objective = settings.estimation.objective(run.parameters, statistics)
        if run.rejects(objective):
            return without_trial(run, number, stopping)
        try:
            maximized = settings.estimation.maximize(
                run.parameters,
                statistics,
                e_step.kernel.origins,
                reg_covar=settings.start.reg_covar,
                dtype=self.rows.dtype,
            )
        except CollapsedComponentError as error:
            return without_trial(run, number, stopping) if run.on_trial else Collapse(run.number, error)
        return advanced(run, objective, maximized, number, stopping)

    def _stopping(self, run: Run, settings: FitSettings) -> Stopping:
        if settings.tol is not None:
            return Stopping(settings.max_iter, settings.tol)
        assert self.moments is not None
        gap = negligible_gap(settings.criterion, run.parameters.n_free, self.moments.weight)
        return Stopping(settings.max_iter, LOOSEST_TOL, gap)

    def _run(self, name: str, reductions: list[Any]) -> list[Any]:
        began = perf_counter()
        n_bytes = self.rows.n_bytes
        if n_bytes is not None:
            n_bytes -= self._engine.kept_bytes
        values = self._compared(reductions, self._observer.pass_begins(name))
        self.records += (PassRecord(perf_counter() - began, n_bytes),)
        return values

    def _compared(self, reductions: list[Any], group_done: GroupDone | None) -> list[Any]:
        comparison = self.comparison
        if comparison is None:
            return self._engine.run(reductions, group_done)
        *values, checksums = self._engine.run([*reductions, comparison.reduction], group_done)
        if not comparison.holds(checksums, self.moments):
            *values, checksums = self._engine.run([*reductions, comparison.reduction])
            comparison.holds(checksums, self.moments)
        return values

    def _survey(self, sampling: Sampling | None) -> Survey:
        checked = self.rows.sample is not None
        return Survey(self.rows.n_features, self.scatter, sampling, checked=checked)

    def _learn(self, surveyed: Surveyed, sampling: Sampling | None) -> None:
        check_enough_rows(surveyed.moments.n_rows, self.rows.n_features, self._least_rows)
        if not surveyed.moments.weight > 0:
            raise DataError("sample_weight is zero for every row: there is nothing to fit.")
        check_squares(surveyed.moments)
        if self.moments is not None:
            check_same_rows(self.moments, surveyed.moments, self.rows.dtype)
        self.moments = surveyed.moments
        if sampling is not None:
            self.sampling, self.sample = sampling, surveyed.sample(sampling)
