"""A whole fit: survey, starts, iterations, the best of them. The engine does the reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import DataError
from dask_gmm.fitting.em import Run, Step, iterate
from dask_gmm.fitting.start import StartSettings, find_start, given_start
from dask_gmm.fitting.survey import Sample, Sampling, Survey, Surveyed
from dask_gmm.fitting.works import EStep
from dask_gmm.model.covariance import pack
from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.mstep import maximize
from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]
GroupDone = Callable[[int], None]


class Engine(Protocol):
    """Runs passes; see `dask_gmm.engine`."""

    def run(self, works: Sequence[Any], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass and return the value of each work."""


class Observer(Protocol):
    """Hears of a fit's progress; see `dask_gmm.reporting`."""

    def restart(self, number: int) -> None:
        """Note that restart `number` begins."""

    def pass_begins(self, name: str) -> GroupDone | None:
        """Note that a pass begins; return what wants to hear of its groups."""

    def start_found(self) -> None:
        """Note that the pass named 'start' is over."""

    def iteration(self, change: float, run: Run) -> bool:
        """Note the end of an iteration; return True to stop here."""

    def restart_done(self, run: Run) -> None:
        """Note that a restart is over."""


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What decides a fit, apart from the data.

    Attributes
    ----------
    start : StartSettings
    tol, max_iter, n_init
        As in `GaussianMixture`.
    start_rows : int
        Most rows that the start is found on.
    """

    start: StartSettings
    tol: float
    max_iter: int
    n_init: int
    start_rows: int


@dataclass(frozen=True, slots=True)
class Rows:
    """What is known of the rows beforehand.

    Attributes
    ----------
    n_rows : int or None
    n_features : int
    dtype : dtype
    sample : Sample or None
        All rows, where they are in memory, checked and few enough to start from.
    """

    n_rows: int | None
    n_features: int
    dtype: np.dtype[Any]
    sample: Sample | None


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Where an earlier fit ended."""

    parameters: Parameters
    lower_bound: float


class Passes:
    """The passes of one fit: the survey where a start has to be found, then E-steps.

    What the survey finds is kept, so that nothing is read twice for it; when no start has to be
    found it rides on the first E-step.
    """

    def __init__(self, engine: Engine, rows: Rows, settings: FitSettings, observer: Observer) -> None:
        self._engine = engine
        self._rows = rows
        self._settings = settings
        self._observer = observer
        self.moments: Moments | None = None

    def sample(self, random_state: np.random.RandomState) -> Sample:
        """Return the rows to start from."""
        if self._rows.sample is not None:
            return self._rows.sample
        sampling = Sampling(self._settings.start_rows, _seed(random_state), self._rows.n_rows)
        group_done = self._observer.pass_begins("start")
        (surveyed,) = self._engine.run([self._survey(sampling)], group_done)
        self._learn(surveyed)
        self._observer.start_found()
        sample: Sample = surveyed.sample(sampling)
        return sample

    def step(self, parameters: Parameters) -> Step:
        """Make one EM iteration."""
        work = EStep(Density.of(parameters), self._rows.dtype)
        works = [work] if self.moments is not None else [work, self._survey(None)]
        statistics, *surveyed = self._engine.run(works, self._observer.pass_begins("pass"))
        if surveyed:
            self._learn(surveyed[0])
        kernel = work.kernel
        if kernel.uses_scatter:
            assert self.moments is not None
            statistics.second[...] = pack(self.moments.scatter_about(kernel.origins[0]))
        maximized = maximize(
            parameters.covariance_type,
            statistics,
            kernel.origins,
            reg_covar=self._settings.start.reg_covar,
            dtype=self._rows.dtype,
        )
        return Step(statistics.mean_log_likelihood, maximized)

    def _survey(self, sampling: Sampling | None) -> Survey:
        scatter = self._settings.start.covariance_type == "tied"
        return Survey(self._rows.n_features, scatter, sampling, checked=self._rows.sample is not None)

    def _learn(self, surveyed: Surveyed) -> None:
        check_enough_rows(surveyed.moments.n_rows, self._settings.start.n_components)
        if not surveyed.moments.weight > 0:
            raise DataError("sample_weight is zero for every row: there is nothing to fit.")
        self.moments = surveyed.moments


def fit_mixture(
    passes: Passes,
    settings: FitSettings,
    random_state: np.random.RandomState,
    warm: WarmStart | None,
    observer: Observer,
) -> Run:
    """Fit from each start and return the run with the highest lower bound, the first of equals.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    CollapsedComponentError
        From any restart.
    """
    best: Run | None = None
    sample: Sample | None = None
    for number in range(1 if warm is not None else settings.n_init):
        observer.restart(number)
        if warm is not None:
            start, previous_bound = warm.parameters, warm.lower_bound
        else:
            if sample is None and not settings.start.given:
                sample = passes.sample(random_state)
            start, previous_bound = _start(sample, settings.start, random_state), -np.inf
        run = iterate(
            passes.step,
            start,
            tol=settings.tol,
            max_iter=settings.max_iter,
            previous_bound=previous_bound,
            watcher=observer,
        )
        if settings.max_iter > 0:
            observer.restart_done(run)
        if best is None or run.lower_bound > best.lower_bound or best.lower_bound == -np.inf:
            best = run
    assert best is not None
    return best


def check_enough_rows(n_rows: int, n_components: int) -> None:
    """Refuse fewer rows than components, or fewer than two."""
    if n_rows < 2:
        raise DataError(
            f"Found array with {n_rows} sample(s) while a minimum of 2 is required by GaussianMixture."
        )
    if n_rows < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )


def _start(sample: Sample | None, settings: StartSettings, random_state: np.random.RandomState) -> Parameters:
    return given_start(settings) if sample is None else find_start(sample, settings, random_state)


def _seed(random_state: np.random.RandomState) -> int:
    # From a copy: when all rows fit, the start must find the stream as the user gave it.
    copy = np.random.RandomState()
    copy.set_state(random_state.get_state())
    return int.from_bytes(copy.bytes(8), "little")
