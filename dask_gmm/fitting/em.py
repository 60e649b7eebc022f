"""The iterations: expectation, maximization, and when to stop."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Step:
    """One pass seen from the iterations.

    Attributes
    ----------
    lower_bound : float
        Mean log-likelihood, in nats a row, of the parameters that went in.
    parameters : Parameters
        The maximized ones that come out.
    """

    lower_bound: float
    parameters: Parameters


@dataclass(frozen=True, slots=True)
class Run:
    """Where one start ended.

    Attributes
    ----------
    parameters : Parameters
    converged : bool
    lower_bounds : tuple of float
        One an iteration, each taken before that iteration's M-step.
    """

    parameters: Parameters
    converged: bool
    lower_bounds: tuple[float, ...]

    @property
    def n_iter(self) -> int:
        """Iterations made."""
        return len(self.lower_bounds)

    @property
    def lower_bound(self) -> float:
        """The last bound; -inf before the first iteration."""
        return self.lower_bounds[-1] if self.lower_bounds else -np.inf


class Watcher(Protocol):
    """Hears of each iteration."""

    def iteration(self, change: float, run: Run) -> bool:
        """Note the end of an iteration, with the run so far; return True to stop here."""


def iterate(
    take_step: Callable[[Parameters], Step],
    start: Parameters,
    *,
    tol: float,
    max_iter: int,
    previous_bound: float,
    watcher: Watcher,
) -> Run:
    """Run EM from `start`.

    Dempster, Laird and Rubin, Maximum Likelihood from Incomplete Data via the EM Algorithm (1977).

    Parameters
    ----------
    take_step : callable
        Makes one pass over the data with the given parameters.
    start : Parameters
    tol : float
        Stop when the mean log-likelihood changes by less, in nats a row.
    max_iter : int
    previous_bound : float
        The bound to compare the first iteration's with; -inf for a cold start.
    watcher : Watcher

    Raises
    ------
    CollapsedComponentError
        From the M-step.
    """
    run, lower_bound = Run(start, False, ()), previous_bound
    for _ in range(max_iter):
        step = take_step(run.parameters)
        change, lower_bound = step.lower_bound - lower_bound, step.lower_bound
        run = Run(step.parameters, abs(change) < tol, (*run.lower_bounds, lower_bound))
        stop = watcher.iteration(change, run)
        if run.converged or stop:
            break
    return run
