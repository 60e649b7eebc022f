"""The passes of a fit: a survey where a start has to be found, then E-steps of all mixtures together."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import perf_counter
from typing import Any, NamedTuple, Protocol

import numpy as np

from dask_gmm.errors import DataError
from dask_gmm.fitting.checksums import Checksum, Comparison
from dask_gmm.fitting.coverage import Coverage
from dask_gmm.fitting.em import Collapse, Run
from dask_gmm.fitting.evaluation import Evaluation
from dask_gmm.fitting.reductions import EStep
from dask_gmm.fitting.row_sample import Sample, Sampling
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.survey import Survey, Surveyed, check_enough_rows, check_squares
from dask_gmm.fitting.unchanged import check_same_rows, check_unchanged
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.measured import seen_values
from dask_gmm.model.observation.observation import Kernel
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

GroupDone = Callable[[int], None]


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
    """Hears how a fit proceeds; see `dask_gmm.reporting`."""

    def pass_begins(self, name: str) -> GroupDone | None:
        """Note that a pass begins; return what to call with the number of each group that is done."""

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
            All passes that were made.
        passes_left : int or None
            How many are expected to follow.

        Returns
        -------
        bool
            True to stop all.
        """


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of the rows before the first pass.

    Attributes
    ----------
    n_rows : int or None
    n_features : int
    dtype : dtype
    arithmetic : dtype
        The dtype of the products of an E-step.
    n_bytes : int or None
        The size of all rows; None where only reading tells.
    sample : Sample or None
        All rows, where they are in memory, checked and few enough to start from.
    checksum : Checksum or None
        What shows that rows change from pass to pass; None where they are in this process's memory.
    feature_names : tuple of str or None
        For messages.
    """

    n_rows: int | None
    n_features: int
    dtype: np.dtype[Any]
    arithmetic: np.dtype[Any]
    n_bytes: int | None
    sample: Sample | None
    checksum: Checksum | None = None
    feature_names: tuple[str, ...] | None = None


class Expectation(NamedTuple):
    """What the E-step of one mixture found on all rows.

    Attributes
    ----------
    kernel : Kernel
        What evaluated the mixture.
    statistics : Statistics
    """

    kernel: Kernel
    statistics: Statistics


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
    holes : bool
        Whether a NaN is a value that was not observed.
    appended : bool
        Whether others were fitted before these rows: then any number of them will do, with any holes.
    box : bool
        Whether any mixture needs the smallest and largest values.
    """

    def __init__(
        self,
        engine: Engine,
        rows: Rows,
        observer: Observer,
        *,
        scatter: bool,
        least_rows: int,
        holes: bool = False,
        appended: bool = False,
        box: bool = False,
    ) -> None:
        self.rows = rows
        self._engine = engine
        self._observer = observer
        self.scatter = scatter
        self._box = box
        self._least_rows = least_rows
        self._holes = holes
        self._appended = appended
        self.coverage: Coverage | None = None
        # With the restarts, this is all that is known between two passes.
        self.moments: Moments | None = None
        self.records: tuple[PassRecord, ...] = ()
        self.sampling: Sampling | None = None
        self.comparison = (
            None if rows.checksum is None else Comparison(rows.checksum, rows.dtype, engine.group_name)
        )
        # What `sampling` draws, while it is needed; another process draws it again.
        self.sample: Sample | None = None

    def known_moments(self) -> Moments:
        """Return the moments of all rows, which a pass told or which are those of all rows in memory.

        For these it goes by the rows in one piece, whatever a pass told since.
        """
        sample = self.rows.sample
        if sample is None:
            assert self.moments is not None
            return self.moments
        zero = Moments.zero(self.rows.n_features, scatter=self.scatter, box=self._box)
        if self._holes:
            known, inexact = seen_values(sample.rows, sample.columns)
            return zero.with_partial_rows(known, sample.weights, inexact)
        return zero.with_rows(sample.rows, sample.weights).with_box_of(sample.rows)

    def check_coverage(self, sample: Sample) -> None:
        """Refuse holes that leave nothing to fit, where all rows are in memory to start from.

        Raises
        ------
        DataError
        """
        if self._holes:
            zero = Coverage.zero(self.rows.n_features)
            rows, _ = seen_values(sample.rows, sample.columns)
            zero.with_rows(rows, sample.weights).check(self.rows.feature_names)

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

    def evaluate(self, mixtures: Sequence[Parameters], settings: Sequence[FitSettings]) -> list[Evaluation]:
        """Return how good mixtures that were fitted with these settings are, in one pass over the data."""
        expectations = self.e_steps("evaluation", mixtures, settings)
        self._observer.pass_ends()
        return [
            Evaluation.of(expectation.kernel, expectation.statistics, mixture.n_free)
            for mixture, expectation in zip(mixtures, expectations, strict=True)
        ]

    def e_steps(
        self,
        name: str,
        mixtures: Sequence[Parameters],
        settings: Sequence[FitSettings],
        sampling: Sampling | None = None,
    ) -> list[Expectation]:
        """Run the E-step of each mixture in one pass over the data.

        Parameters
        ----------
        name : str
            What the observer calls the pass.
        mixtures : sequence of Parameters
        settings : sequence of FitSettings
            The settings of each mixture.
        sampling : Sampling, optional
            How to draw a sample of the rows in the same pass.
        """
        steps = [
            EStep(one.estimation.density(mixture), self.rows.arithmetic, one.observation)
            for mixture, one in zip(mixtures, settings, strict=True)
        ]
        riding = [self._survey(sampling)] if self.moments is None or sampling is not None else []
        values = self._run(name, [*steps, *riding])
        for surveyed in values[len(steps) :]:
            self._learn(surveyed, sampling)
        return [
            Expectation(step.kernel, self._completed(step.kernel, statistics))
            for step, statistics in zip(steps, values[: len(steps)], strict=True)
        ]

    def _completed(self, kernel: Kernel, statistics: Statistics) -> Statistics:
        """Check the statistics of a pass, and add what no iteration changes."""
        assert self.moments is not None
        check_unchanged(self.moments, statistics, kernel, self.rows.dtype)
        return kernel.completed(statistics, self.moments)

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
        return Survey(
            self.rows.n_features,
            self.scatter,
            sampling,
            checked=checked,
            holes=self._holes,
            box=self._box,
        )

    def _learn(self, surveyed: Surveyed, sampling: Sampling | None) -> None:
        if surveyed.coverage is not None and not self._appended:
            surveyed.coverage.check(self.rows.feature_names)
            self.coverage = surveyed.coverage
        if not self._appended:
            check_enough_rows(surveyed.moments.all_rows, self.rows.n_features, self._least_rows)
        elif not surveyed.moments.all_rows:
            raise DataError("X has no rows, or none that says anything: there is nothing to add.")
        if not surveyed.moments.all_weight > 0:
            raise DataError("sample_weight is zero for every row: there is nothing to fit.")
        check_squares(surveyed.moments)
        if self.moments is not None:
            check_same_rows(self.moments, surveyed.moments, self.rows.dtype)
        self.moments = surveyed.moments
        if sampling is not None:
            self.sampling, self.sample = sampling, surveyed.sample(sampling)
