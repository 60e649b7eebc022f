"""One restart of EM as a frozen value, and what it becomes after a pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.methods import BeforeSurrogateStep, Method, PlainEM
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.kept_statistics import KeptStatistics
from dask_gmm.model.parameters import Parameters

Ending = Literal["converged", "max_iter", "stopped", "outrun"]

_PLAIN_EM = PlainEM()


@dataclass(frozen=True, slots=True)
class Iteration:
    """One EM iteration of one restart.

    Attributes
    ----------
    lower_bound : float
        Mean log-likelihood of the parameters that were evaluated, in nats per row; where a trial was
        rejected, that of the parameters kept.
    gain : float
        What the bound gained over the iteration before, in nats per row.
    remaining : float
        Estimate of what is left to gain, in nats per row; NaN where there is none.
    rejected : bool
        Whether a trial lowered the bound and was undone.
    pass_number : int
        Number of the pass, which other restarts may share; counts from zero.
    leap : bool
        Whether a surrogate step was evaluated, whose gain says nothing of EM's; see
        `dask_gmm.fitting.accelerate.surrogate`.
    """

    lower_bound: float
    gain: float
    remaining: float
    rejected: bool
    pass_number: int
    leap: bool = False


@dataclass(frozen=True, slots=True)
class Run:
    """A restart, as far as it has come.

    How it climbs, whether it races and whether it has ended are independent of each other: a restart may
    converge in a race, and one that was outrun goes on where it was if those ahead collapse.

    Attributes
    ----------
    number : int
        Counts the restarts from zero.
    parameters : Parameters
        What the next pass evaluates; at the end, what was fitted.
    previous_bound : float
        What the first iteration's bound is compared with, in nats per row; -inf for a cold start.
    iterations : tuple of Iteration
    ending : {'converged', 'max_iter', 'stopped', 'outrun'} or None
        None while there is more to do.
    racing : bool
        The next pass decides which of the racing restarts go on; the others end as 'outrun'.
    method : Method
        How it climbs, and what it does with the next pass.
    kept : KeptStatistics or None
        The statistics of the last pass that was not undone, whose M-step is where EM leads from there; None
        before the first pass, and where those of more rows could not be added.
    """

    number: int
    parameters: Parameters
    previous_bound: float = -np.inf
    iterations: tuple[Iteration, ...] = ()
    ending: Ending | None = None
    racing: bool = False
    method: Method = _PLAIN_EM
    kept: KeptStatistics | None = None

    @property
    def n_iter(self) -> int:
        """Iterations made; each took a pass."""
        return len(self.iterations)

    @property
    def lower_bounds(self) -> tuple[float, ...]:
        """Mean log-likelihood per iteration, in nats per row, each taken before that iteration's M-step."""
        return tuple(iteration.lower_bound for iteration in self.iterations)

    @property
    def lower_bound(self) -> float:
        """The last bound; -inf before the first iteration."""
        return self.iterations[-1].lower_bound if self.iterations else -np.inf

    @property
    def change(self) -> float:
        """The last iteration's gain, in nats per row."""
        return self.iterations[-1].gain

    @property
    def remaining(self) -> float:
        """Estimate of what is left to gain, in nats per row; NaN where there is none."""
        return self.iterations[-1].remaining if self.iterations else np.nan

    @property
    def converged(self) -> bool:
        """Whether it ended because there was next to nothing left to gain."""
        return self.ending == "converged"

    def last_gains(self, *, leaps: bool) -> list[float]:
        """Return gains of the last iterations, two at most, all surrogate steps or none; nats per row."""
        gains: list[float] = []
        for iteration in self.iterations[-2:]:
            gains = [*gains, iteration.gain] if iteration.leap == leaps else []
        return gains

    def rejects(self, lower_bound: float) -> bool:
        """Return whether a pass with this bound was a trial that failed: then it needs no M-step."""
        return self.method.on_trial and not lower_bound >= self.lower_bound

    def is_done(self, stopping: Stopping) -> bool:
        """Return whether the last iteration shows that there is next to nothing left to gain."""
        if stopping.gap is not None and not self.remaining < stopping.gap:
            return False
        return self.method.is_settled(self.change, stopping.tol)

    def passes_left(self, stopping: Stopping) -> int | None:
        """Return how many more passes it is expected to need, None where that is unknown."""
        # Surrogate steps and trials that were undone say nothing of the gains to come.
        gains = [one.gain for one in self.iterations if not (one.leap or one.rejected)]
        return stopping.passes_left(gains, self.remaining, self.n_iter)

    def advance(self, lower_bound: float, maximized: Parameters, pass_number: int, stopping: Stopping) -> Run:
        """Return the run after one more iteration.

        Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm (1977).

        Parameters
        ----------
        lower_bound : float
            The bound of `parameters`, in nats per row.
        maximized : Parameters
            What the M-step made of that pass.
        pass_number : int
        stopping : Stopping
        """
        gain = lower_bound - (self.lower_bound if self.iterations else self.previous_bound)
        leap = self.method.is_surrogate_step
        gains = [*self.last_gains(leaps=leap), gain]
        method, parameters = self.method.accept(self.parameters, maximized, gains, stopping.creeping_tol)
        remaining = method.remaining(gains, lower_bound)
        iteration = Iteration(lower_bound, gain, remaining, False, pass_number, leap)
        following = replace(
            self, iterations=(*self.iterations, iteration), method=method, parameters=parameters
        )
        if following.is_done(stopping):
            return replace(following, parameters=maximized, ending="converged")
        if following.n_iter >= stopping.max_iter:
            return replace(following, parameters=maximized, ending="max_iter")
        return following

    def undo_trial(self, pass_number: int, stopping: Stopping) -> Run:
        """Return the run after a pass whose trial was rejected."""
        leap = self.method.is_surrogate_step
        iteration = Iteration(self.lower_bound, 0.0, self.remaining, True, pass_number, leap)
        method, parameters = self.method.reject()
        following = replace(
            self, iterations=(*self.iterations, iteration), method=method, parameters=parameters
        )
        return replace(following, ending="max_iter" if following.n_iter >= stopping.max_iter else None)

    def try_surrogate_step(self, step: Parameters | None) -> Run:
        """Return the run that evaluates a surrogate step next, or EM's own where `step` is None."""
        assert isinstance(self.method, BeforeSurrogateStep)
        method, parameters = self.method.try_step(step, self.parameters)
        return replace(self, method=method, parameters=parameters)


@dataclass(frozen=True, slots=True)
class Collapse:
    """A restart that ended without a result.

    Attributes
    ----------
    number : int
        Number of the restart.
    error : CollapsedComponentError
    """

    number: int
    error: CollapsedComponentError


def best_of(runs: Sequence[Run]) -> Run:
    """Return the run with the highest lower bound, the first of equals; without iterations the last."""
    best = runs[0]
    for run in runs[1:]:
        if run.lower_bound > best.lower_bound or best.lower_bound == -np.inf:
            best = run
    return best
