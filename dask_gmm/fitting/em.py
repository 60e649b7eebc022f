"""One restart of EM as a value, and what a pass makes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from dask_gmm.model.mstep import CollapsedComponentError
from dask_gmm.model.parameters import Parameters

Ending = Literal["converged", "max_iter", "stopped"]


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
    lower_bounds : tuple of float
        Mean log-likelihood, in nats a row, one an iteration, each taken before that iteration's M-step.
    ending : {'converged', 'max_iter', 'stopped'} or None
        None while there is more to do.
    """

    number: int
    parameters: Parameters
    previous_bound: float = -np.inf
    lower_bounds: tuple[float, ...] = ()
    ending: Ending | None = None

    @property
    def n_iter(self) -> int:
        """Iterations made."""
        return len(self.lower_bounds)

    @property
    def lower_bound(self) -> float:
        """The last bound; -inf before the first iteration."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf

    @property
    def change(self) -> float:
        """The last iteration's gain, in nats a row."""
        before = self.lower_bounds[-2] if len(self.lower_bounds) > 1 else self.previous_bound
        return self.lower_bound - before

    @property
    def converged(self) -> bool:
        """Whether the last gain was below the tolerance."""
        return self.ending == "converged"


def advanced(run: Run, lower_bound: float, maximized: Parameters, *, tol: float, max_iter: int) -> Run:
    """Return the run after one more iteration.

    Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm (1977).

    Parameters
    ----------
    run : Run
    lower_bound : float
        Of ``run.parameters``, in nats a row.
    maximized : Parameters
        What the M-step made of that pass.
    tol : float
        Converged when the bound changes by less, in nats a row.
    max_iter : int
    """
    following = replace(run, parameters=maximized, lower_bounds=(*run.lower_bounds, lower_bound))
    if abs(following.change) < tol:
        return replace(following, ending="converged")
    return replace(following, ending="max_iter" if following.n_iter >= max_iter else None)


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
