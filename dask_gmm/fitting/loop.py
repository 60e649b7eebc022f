"""From starts to ends: pass after pass, everything unfinished together, until nothing is left to do."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from dask_gmm.fitting.accelerate.surrogate import Leaps
from dask_gmm.fitting.em import Collapse, Iteration, Run, best_of
from dask_gmm.fitting.passes import Observer, Passes
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.state import FitState

# Of so many racing restarts one stays in the race after a pass.
_RACERS_FOR_ONE = 3
# Of bounds, in nats a row and relative.
_ROUNDING = 1e-7


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
        By number.
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
        return replace(self, restarts=_after_race(merged))

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
    leaps: Leaps | None = None,
) -> list[Candidate]:
    """Advance all restarts of all candidates to their ends, each pass shared by those that are active.

    Parameters
    ----------
    passes : Passes
    candidates : sequence of Candidate
    observer : Observer
    keeper : Keeper, optional
    leaps : Leaps, optional
        What the winners of races leap by.
    """
    candidates = list(candidates)
    while any(candidate.active for candidate in candidates):
        active = [candidate.active for candidate in candidates]
        runs = [run for group in active for run in group]
        leaping = leaps is not None and any(run.leaping for run in runs)
        if not leaping:
            passes.sample = None
        observer.begins(runs)
        advanced = passes.iterate(
            runs,
            [candidate.settings for candidate, group in zip(candidates, active, strict=True) for _ in group],
            # A process that goes on with a fit has the sample no more.
            sampling=passes.sampling if leaping and passes.sample is None else None,
        )
        taken = iter(advanced)
        before = candidates
        candidates = [
            candidate.following([next(taken) for _ in group])
            for candidate, group in zip(candidates, active, strict=True)
        ]
        if observer.pass_done(advanced, passes.records, _passes_left(passes, candidates)):
            candidates = [candidate.stopped() for candidate in candidates]
        elif leaps is not None and leaping:
            candidates = [
                _leapt(after, candidate, passes, leaps)
                for candidate, after in zip(before, candidates, strict=True)
            ]
        if keeper is not None:
            keeper.save(state_of(passes, candidates))
    return candidates


def _passes_left(passes: Passes, candidates: Sequence[Candidate]) -> int | None:
    """Return how many more passes are expected, None where that is unknown."""
    unfinished = sum(run.ending is None for candidate in candidates for run in candidate.runs)
    active = [(run, candidate.settings) for candidate in candidates for run in candidate.active]
    if len(active) < unfinished:
        # Restarts that nobody has begun.
        return None
    return passes.passes_left([run for run, _ in active], [settings for _, settings in active])


def _leapt(candidate: Candidate, before: Candidate, passes: Passes, leaps: Leaps) -> Candidate:
    """Return the candidate with leaps to evaluate next."""
    assert passes.sample is not None
    assert passes.sampling is not None
    evaluated = {run.number: run.parameters for run in before.active}
    restarts = tuple(
        leaps.leapt(run, evaluated[run.number], candidate.settings, passes.sample, passes.sampling)
        if isinstance(run, Run) and run.leaping and run.ending is None and run.number in evaluated
        else run
        for run in candidate.restarts
    )
    return replace(candidate, restarts=restarts)


def state_of(passes: Passes, candidates: Sequence[Candidate]) -> FitState:
    """Return what a later process needs to go on."""
    restarts = tuple(candidate.restarts for candidate in candidates)
    checksums = None if passes.comparison is None else passes.comparison.first
    return FitState(restarts, passes.moments, passes.records, passes.sampling, checksums)


def _after_race(restarts: tuple[Run | Collapse, ...]) -> tuple[Run | Collapse, ...]:
    """End the racing restarts but the best third; let the others go on when those have collapsed."""
    runs = [restart for restart in restarts if isinstance(restart, Run)]
    racing = _ranked([run for run in runs if run.racing])
    if racing:
        ahead = racing[: math.ceil(len(racing) / _RACERS_FOR_ONE)]
        changed = {run.number: replace(run, racing=False, ending="outrun") for run in racing}
        changed |= {run.number: replace(run, racing=len(ahead) > 1) for run in ahead}
    elif all(run.ending == "outrun" for run in runs):
        changed = {run.number: replace(run, ending=None) for run in runs}
    else:
        return restarts
    return tuple(changed.get(restart.number, restart) for restart in restarts)


def _ranked(runs: Sequence[Run]) -> list[Run]:
    """Return the best first: rounding must not choose between one mixture in two orders."""
    left, ranked = list(runs), []
    while left:
        highest = best_of(left).lower_bound
        ranked.append(next((run for run in left if same_bound(run.lower_bound, highest)), left[0]))
        left.remove(ranked[-1])
    return ranked


def same_bound(one: float, other: float) -> bool:
    """Return whether two bounds differ by no more than rounding."""
    return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
