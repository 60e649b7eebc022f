"""A whole fit: survey, starts, iterations, the best of them. The engine does the reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import DataError
from dask_gmm.fitting.em import Collapse, Ending, Run, advanced
from dask_gmm.fitting.start import StartSettings, find_start, given_start
from dask_gmm.fitting.state import FitState
from dask_gmm.fitting.survey import Sample, Sampling, Survey, Surveyed
from dask_gmm.fitting.unchanged import check_unchanged
from dask_gmm.fitting.works import EStep
from dask_gmm.model.covariance import covariance_structure, pack
from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.mstep import CollapsedComponentError, maximize
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]
GroupDone = Callable[[int], None]


class Engine(Protocol):
    """Runs passes; see `dask_gmm.engine`."""

    def run(self, works: Sequence[Any], group_done: GroupDone | None = None) -> list[Any]:
        """Run one pass and return the value of each work."""


class Observer(Protocol):
    """Hears of a fit's progress; see `dask_gmm.reporting`."""

    def pass_begins(self, name: str) -> GroupDone | None:
        """Note that a pass begins; return what wants to hear of its groups."""

    def start_found(self) -> None:
        """Note that the pass named 'start' is over."""

    def begins(self, runs: Sequence[Run]) -> None:
        """Note which restarts advance now."""

    def pass_done(self, restarts: Sequence[Run | Collapse]) -> bool:
        """Note that these restarts made an iteration; return True to stop all."""


class Keeper(Protocol):
    """Keeps the state between passes; see `dask_gmm.checkpointing`."""

    def load(self) -> FitState | None:
        """Return the saved state, if there is one."""

    def save(self, state: FitState) -> None:
        """Save the state after a pass."""


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
    shared_passes : bool
        Whether restarts advance together, each chunk read once for all of them, or one after another.
    """

    start: StartSettings
    tol: float
    max_iter: int
    n_init: int
    start_rows: int
    shared_passes: bool

    def value_bytes(self, n_features: int) -> int:
        """Return the size of what an E-step computes, for all restarts that share a pass."""
        n_components = self.start.n_components
        structure = covariance_structure(self.start.covariance_type)
        n_second = int(np.prod(structure.second_shape(n_components, n_features)))
        n_numbers = n_components * (1 + n_features) + n_second
        return 8 * n_numbers * (self.n_init if self.shared_passes else 1)


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

    def iterate(self, runs: Sequence[Run]) -> list[Run | Collapse]:
        """Advance each run by one iteration, in one pass over the data."""
        works = [EStep(Density.of(run.parameters), self._rows.dtype) for run in runs]
        riding = [self._survey(None)] if self.moments is None else []
        values = self._engine.run([*works, *riding], self._observer.pass_begins("pass"))
        for surveyed in values[len(works) :]:
            self._learn(surveyed)
        return [
            self._advance(run, work, value)
            for run, work, value in zip(runs, works, values[: len(works)], strict=True)
        ]

    def _advance(self, run: Run, work: EStep, statistics: Statistics) -> Run | Collapse:
        settings, kernel = self._settings, work.kernel
        assert self.moments is not None
        check_unchanged(self.moments, statistics, kernel.origins, self._rows.dtype)
        if kernel.uses_scatter:
            statistics.second[...] = pack(self.moments.scatter_about(kernel.origins[0]))
        try:
            maximized = maximize(
                run.parameters.covariance_type,
                statistics,
                kernel.origins,
                reg_covar=settings.start.reg_covar,
                dtype=self._rows.dtype,
            )
        except CollapsedComponentError as error:
            return Collapse(run.number, error)
        return advanced(
            run,
            statistics.mean_log_likelihood,
            maximized,
            tol=settings.tol,
            max_iter=settings.max_iter,
        )

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
    keeper: Keeper | None = None,
) -> tuple[list[Run], list[Collapse]]:
    """Run EM from every start to its end, or from where `keeper` has it.

    Returns
    -------
    runs : list of Run
        At least one.
    collapses : list of Collapse
        The restarts that are missing.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    CollapsedComponentError
        Of the first restart, when every restart collapsed.
    """
    saved = keeper.load() if keeper is not None else None
    if saved is not None:
        restarts, passes.moments = list(saved.restarts), saved.moments
    else:
        restarts = find_starts(passes, settings, random_state, warm)
    while active := _unfinished(restarts)[: None if settings.shared_passes else 1]:
        observer.begins(active)
        following = passes.iterate(active)
        for restart in following:
            restarts[restart.number] = restart
        if observer.pass_done(following):
            restarts = [
                replace(restart, ending=restart.ending or "stopped") if isinstance(restart, Run) else restart
                for restart in restarts
            ]
        if keeper is not None:
            keeper.save(FitState(tuple(restarts), passes.moments))
    runs = [restart for restart in restarts if isinstance(restart, Run)]
    observer.begins(runs)
    collapses = [restart for restart in restarts if isinstance(restart, Collapse)]
    if not runs:
        raise collapses[0].error
    return runs, collapses


def find_starts(
    passes: Passes, settings: FitSettings, random_state: np.random.RandomState, warm: WarmStart | None
) -> list[Run | Collapse]:
    """Return the restarts, by number, before their first iteration."""
    ending: Ending | None = "max_iter" if settings.max_iter == 0 else None
    if warm is not None:
        return [Run(0, warm.parameters, warm.lower_bound, ending=ending)]
    if settings.start.given:
        start = given_start(settings.start)
        return [Run(number, start, ending=ending) for number in range(settings.n_init)]
    sample = passes.sample(random_state)
    restarts: list[Run | Collapse] = []
    for number in range(settings.n_init):
        try:
            start = find_start(sample, settings.start, random_state)
            restarts.append(Run(number, start, ending=ending))
        except CollapsedComponentError as error:
            restarts.append(Collapse(number, error))
    return restarts


def _unfinished(restarts: Sequence[Run | Collapse]) -> list[Run]:
    return [restart for restart in restarts if isinstance(restart, Run) and restart.ending is None]


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


def _seed(random_state: np.random.RandomState) -> int:
    # From a copy: when all rows fit, the start must find the stream as the user gave it.
    copy = np.random.RandomState()
    copy.set_state(random_state.get_state())
    return int.from_bytes(copy.bytes(8), "little")
