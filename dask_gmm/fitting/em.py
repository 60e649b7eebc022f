"""One restart of EM as a value, and what a pass makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.accelerate.lbfgs import Acceleration, accepted, begun, creeping, rejected
from dask_gmm.fitting.convergence import remaining_gap
from dask_gmm.model.parameters import Parameters

Ending = Literal["converged", "max_iter", "stopped", "outrun"]


@dataclass(frozen=True, slots=True)
class Iteration:
    """What a pass meant for one restart.

    Attributes
    ----------
    lower_bound : float
        Mean log-likelihood of the parameters that were evaluated, in nats a row; where a trial was rejected,
        that of the parameters kept.
    gain : float
        Over the iteration before, in nats a row.
    remaining : float
        Estimate of what is left to gain, in nats a row; NaN where there is none.
    rejected : bool
        Whether a trial of the acceleration lowered the bound and was undone.
    pass_number : int
        Of the pass, which other restarts may share; counts from zero.
    leap : bool
        Whether a leap was evaluated, whose gain says nothing of EM's; see
        `dask_gmm.fitting.accelerate.surrogate`.
    """

    lower_bound: float
    gain: float
    remaining: float
    rejected: bool
    pass_number: int
    leap: bool = False


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a restart has done enough.

    Attributes
    ----------
    max_iter : int
        Most iterations, each a pass.
    tol : float
        Converged when the bound changes by less, in nats a row.
    gap : float or None
        Where this is given, the estimate of what is left to gain must also be below it, in nats a row.
    """

    max_iter: int
    tol: float
    gap: float | None = None


@dataclass(frozen=True, slots=True)
class Run:
    """A restart, as far as it has come.

    Attributes
    ----------
    number : int
        Counts the restarts from zero.
    parameters : Parameters
        What the next pass evaluates; at the end, what was fitted.
    previous_bound : float
        What the first iteration's bound is compared with, in nats a row; -inf for a cold start.
    iterations : tuple of Iteration
    ending : {'converged', 'max_iter', 'stopped', 'outrun'} or None
        None while there is more to do.
    accelerate : bool
        Whether EM may be accelerated once it creeps.
    acceleration : Acceleration or None
        None while plain EM runs.
    racing : bool
        The next pass decides which of the racing restarts go on; the others end as 'outrun'.
    leaping : bool
        The next pass shows where a leap may lead; see `dask_gmm.fitting.accelerate.surrogate`.
    leapt_over : Parameters or None
        Where `parameters` are a leap: EM's step, which is taken if the leap lowers the bound.
    """

    number: int
    parameters: Parameters
    previous_bound: float = -np.inf
    iterations: tuple[Iteration, ...] = ()
    ending: Ending | None = None
    accelerate: bool = False
    acceleration: Acceleration | None = None
    racing: bool = False
    leaping: bool = False
    leapt_over: Parameters | None = None

    @property
    def n_iter(self) -> int:
        """Iterations made; each took a pass."""
        return len(self.iterations)

    @property
    def lower_bounds(self) -> tuple[float, ...]:
        """Mean log-likelihood, in nats a row, one an iteration, each taken before that iteration's M-step."""
        return tuple(iteration.lower_bound for iteration in self.iterations)

    @property
    def lower_bound(self) -> float:
        """The last bound; -inf before the first iteration."""
        return self.iterations[-1].lower_bound if self.iterations else -np.inf

    @property
    def change(self) -> float:
        """The last iteration's gain, in nats a row."""
        return self.iterations[-1].gain

    @property
    def remaining(self) -> float:
        """Estimate of what is left to gain, in nats a row; NaN where there is none."""
        return self.iterations[-1].remaining if self.iterations else np.nan

    @property
    def converged(self) -> bool:
        """Whether it ended because there was next to nothing left to gain."""
        return self.ending == "converged"

    @property
    def on_trial(self) -> bool:
        """Whether the next pass evaluates a leap or a trial of the acceleration, which may be rejected."""
        return self.leapt_over is not None or (self.acceleration is not None and self.acceleration.trial)

    def last_gains(self, *, leaps: bool) -> list[float]:
        """Return gains of the last iterations, two at most, all of them leaps or none; nats a row."""
        gains: list[float] = []
        for iteration in self.iterations[-2:]:
            gains = [*gains, iteration.gain] if iteration.leap == leaps else []
        return gains

    def rejects(self, lower_bound: float) -> bool:
        """Whether a pass with this bound was a trial that failed: then there is no need of an M-step."""
        return self.on_trial and not lower_bound >= self.lower_bound


def advanced(
    run: Run, lower_bound: float, maximized: Parameters, pass_number: int, stopping: Stopping
) -> Run:
    """Return the run after one more iteration.

    Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm (1977).

    Parameters
    ----------
    run : Run
    lower_bound : float
        Of ``run.parameters``, in nats a row.
    maximized : Parameters
        What the M-step made of that pass.
    pass_number : int
    stopping : Stopping
    """
    gain = lower_bound - (run.lower_bound if run.iterations else run.previous_bound)
    leap = run.leapt_over is not None
    gains = [*run.last_gains(leaps=leap), gain]
    # Where the gap decides, small gains end nothing.
    run = _accelerated(run, gains, maximized, stopping.tol if stopping.gap is None else 0.0)
    state = run.acceleration
    if state is None or not len(state.curvatures):
        remaining = remaining_gap(gains, lower_bound)
    else:
        remaining = state.remaining
    iteration = Iteration(lower_bound, gain, remaining, False, pass_number, leap)
    following = replace(run, iterations=(*run.iterations, iteration), leapt_over=None)
    if _is_done(following, stopping):
        return replace(following, parameters=maximized, ending="converged")
    if following.n_iter >= stopping.max_iter:
        return replace(following, parameters=maximized, ending="max_iter")
    return following


def _accelerated(run: Run, gains: Sequence[float], maximized: Parameters, tol: float) -> Run:
    """Return the run with what is to be evaluated next."""
    state = run.acceleration
    if state is not None and not state.trial and gains[-1] < 0.0:
        # EM itself goes down, as it may with a large `reg_covar`: its steps are no gradient.
        return replace(run, parameters=maximized, accelerate=False, acceleration=None)
    if state is not None:
        state, parameters = accepted(state, run.parameters, maximized)
        return replace(run, parameters=parameters, acceleration=state)
    if run.accelerate and creeping(gains, tol):
        return replace(
            run, parameters=maximized, acceleration=begun(run.parameters, maximized), leaping=False
        )
    return replace(run, parameters=maximized)


def _is_done(run: Run, stopping: Stopping) -> bool:
    if stopping.gap is not None and not run.remaining < stopping.gap:
        return False
    if run.acceleration is None:
        return abs(run.change) < stopping.tol
    # A short step of the acceleration says little; EM itself must be unable to gain more.
    return run.change < stopping.tol and run.acceleration.em_gain < stopping.tol


def without_trial(run: Run, pass_number: int, stopping: Stopping) -> Run:
    """Return the run after a pass whose trial was rejected."""
    leap = run.leapt_over is not None
    iteration = Iteration(run.lower_bound, 0.0, run.remaining, True, pass_number, leap)
    following = replace(run, iterations=(*run.iterations, iteration), leapt_over=None)
    if run.leapt_over is not None:
        following = replace(following, parameters=run.leapt_over, leaping=False)
    else:
        assert run.acceleration is not None
        state, parameters = rejected(run.acceleration)
        following = replace(
            following, parameters=parameters, accelerate=state is not None, acceleration=state
        )
    return replace(following, ending="max_iter" if following.n_iter >= stopping.max_iter else None)


@dataclass(frozen=True, slots=True)
class Collapse:
    """A restart that ended without a result.

    Attributes
    ----------
    number : int
        Of the restart.
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
