"""The text of ``verbose``: scikit-learn's words, on standard output."""

from __future__ import annotations

from collections.abc import Sequence
from time import perf_counter

from dask_gmm.fitting.em import Run


class Verbose:
    """Prints a fit's progress.

    Parameters
    ----------
    level : int
        0 prints nothing, 1 iterations, 2 also seconds and changes.
    interval : int
        Iterations between two lines.
    """

    def __init__(self, level: int, interval: int) -> None:
        self._level = int(level)
        self._interval = interval
        self._begun: set[int] = set()
        self._began = self._last_line = perf_counter()

    def begins(self, runs: Sequence[Run]) -> None:
        """Print the restarts that begin now."""
        for run in runs:
            if run.number not in self._begun:
                self._begun.add(run.number)
                self._began = self._last_line = perf_counter()
                if self._level >= 1:
                    print(f"Initialization {run.number}")

    def iteration(self, run: Run) -> None:
        """Print every `interval` iterations, and how a restart ended."""
        if run.n_iter % self._interval == 0:
            self._print_iteration(run)
        if run.ending is not None:
            self._print_ending(run)

    def _print_iteration(self, run: Run) -> None:
        if self._level == 1:
            print(f"  Iteration {run.n_iter}")
        elif self._level >= 2:
            now = perf_counter()
            lapse = now - self._last_line
            print(f"  Iteration {run.n_iter}\t time lapse {lapse:.5f}s\t ll change {run.change:.5f}")
            self._last_line = now

    def _print_ending(self, run: Run) -> None:
        ending = "converged" if run.converged else "did not converge"
        if self._level == 1:
            print(f"Initialization {ending}.")
        elif self._level >= 2:
            lapse = perf_counter() - self._began
            print(f"Initialization {ending}. time lapse {lapse:.5f}s\t lower bound {run.lower_bound:.5f}.")
