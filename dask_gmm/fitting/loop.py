"""From starts to ends: pass after pass, everything unfinished together, until nothing is left to do."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dask_gmm.fitting.accelerate.surrogate import SurrogateSteps
from dask_gmm.fitting.em import Collapse, Iteration, Run, best_of
from dask_gmm.fitting.init.successive_halving import keep_best_third
from dask_gmm.fitting.iteration import advance_together, passes_left
from dask_gmm.fitting.methods import BeforeSurrogateStep
from dask_gmm.fitting.passes import Observer, Passes
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.state import FitState


class Keeper(Protocol):
    """Keeps the state between passes; see `dask_gmm.checkpointing`."""

    @property
    def data_known(self) -> bool:
        """Whether a state is only loaded where all rows are known to be the same."""

    def load(self, check: Callable[[FitState], None]) -> FitState | None:
        """Return the saved state, if there is one; `check` raises a ValueError where it cannot be used."""

    def save(self, state: FitState) -> None:
        """Save the state after a pass."""


@dataclass(frozen=True, slots=True)
class Candidate:
    """One mixture to fit, and how far its restarts have come.

    Attributes
    ----------
    settings : FitSettings
    restarts : tuple of Run or Collapse
        The restarts in the order of their numbers.
    """

    settings: FitSettings
    restarts: tuple[Run | Collapse, ...]

    @property
    def runs(self) -> list[Run]:
        """The restarts that did not collapse."""
        return [restart for restart in self.restarts if isinstance(restart, Run)]

    @property
    def collapses(self) -> list[Collapse]:
        """The restarts that did."""
        return [restart for restart in self.restarts if isinstance(restart, Collapse)]

    @property
    def iterations(self) -> tuple[tuple[Iteration, ...], ...]:
        """The iterations of each restart, by number."""
        return tuple(restart.iterations if isinstance(restart, Run) else () for restart in self.restarts)

    @property
    def best(self) -> Run:
        """The restart that counts."""
        return best_of([run for run in self.runs if run.ending != "outrun"])

    @property
    def active(self) -> list[Run]:
        """The restarts that the next pass advances."""
        unfinished = [run for run in self.runs if run.ending is None]
        together = self.settings.shared_passes or any(run.racing for run in unfinished)
        return unfinished if together else unfinished[:1]

    def following(self, restarts: Sequence[Run | Collapse]) -> Candidate:
        """Return the candidate after a pass that made `restarts` of its active ones."""
        by_number = {restart.number: restart for restart in restarts}
        merged = tuple(by_number.get(restart.number, restart) for restart in self.restarts)
        return replace(self, restarts=keep_best_third(merged))

    def stopped(self) -> Candidate:
        """Return the candidate with everything unfinished ended where it is."""
        return replace(
            self,
            restarts=tuple(
                replace(restart, ending=restart.ending or "stopped") if isinstance(restart, Run) else restart
                for restart in self.restarts
            ),
        )


def iterate(
    passes: Passes,
    candidates: Sequence[Candidate],
    observer: Observer,
    keeper: Keeper | None = None,
    surrogate: SurrogateSteps | None = None,
) -> list[Candidate]:
    """Advance all restarts of all candidates to their ends, each pass shared by those that are active.

    Parameters
    ----------
    passes : Passes
    candidates : sequence of Candidate
    observer : Observer
    keeper : Keeper, optional
    surrogate : SurrogateSteps, optional
        Makes the surrogate steps of those that are ahead in a race.
    """
    candidates = list(candidates)
    while any(candidate.active for candidate in candidates):
        runs = [run for candidate in candidates for run in candidate.active]
        needs_sample = surrogate is not None and any(run.method.needs_sample for run in runs)
        if not needs_sample:
            passes.sample = None
        observer.begins(runs)
        before = candidates
        # A process that resumes a fit no longer has the sample.
        sampling = passes.sampling if needs_sample and passes.sample is None else None
        candidates, advanced = _advance(passes, candidates, sampling)
        if observer.pass_done(advanced, passes.records, _passes_left(passes, candidates)):
            candidates = [candidate.stopped() for candidate in candidates]
        elif surrogate is not None and needs_sample:
            candidates = [
                _with_surrogate_steps(after, candidate, passes, surrogate)
                for candidate, after in zip(before, candidates, strict=True)
            ]
        if keeper is not None:
            keeper.save(state_of(passes, candidates))
    return candidates


def _advance(
    passes: Passes, candidates: Sequence[Candidate], sampling: Sampling | None
) -> tuple[list[Candidate], list[Run | Collapse]]:
    """Return the candidates after one pass, and the restarts that it advanced."""
    active = [(run, candidate.settings) for candidate in candidates for run in candidate.active]
    runs, settings = [run for run, _ in active], [one for _, one in active]
    advanced = advance_together(passes, runs, settings, sampling=sampling)
    rest = iter(advanced)
    following = [candidate.following([next(rest) for _ in candidate.active]) for candidate in candidates]
    return following, advanced


def _passes_left(passes: Passes, candidates: Sequence[Candidate]) -> int | None:
    """Return how many more passes are expected, None where that is unknown."""
    unfinished = sum(run.ending is None for candidate in candidates for run in candidate.runs)
    active = [(run, candidate.settings) for candidate in candidates for run in candidate.active]
    if len(active) < unfinished:
        # Some restarts have not begun.
        return None
    return passes_left(passes, [run for run, _ in active], [settings for _, settings in active])


def _with_surrogate_steps(
    candidate: Candidate, before: Candidate, passes: Passes, surrogate: SurrogateSteps
) -> Candidate:
    """Return the candidate with surrogate steps to evaluate next, for the runs that are to make one."""
    assert passes.sample is not None
    assert passes.sampling is not None
    evaluated = {run.number: run.parameters for run in before.active}
    restarts = tuple(
        surrogate.attempt(run, evaluated[run.number], candidate.settings, passes.sample, passes.sampling)
        if isinstance(run, Run)
        and isinstance(run.method, BeforeSurrogateStep)
        and run.ending is None
        and run.number in evaluated
        else run
        for run in candidate.restarts
    )
    return replace(candidate, restarts=restarts)


def state_of(passes: Passes, candidates: Sequence[Candidate]) -> FitState:
    """Return what a later process needs to go on."""
    restarts = tuple(candidate.restarts for candidate in candidates)
    checksums = None if passes.comparison is None else passes.comparison.first
    return FitState(restarts, passes.moments, passes.records, passes.sampling, checksums)
