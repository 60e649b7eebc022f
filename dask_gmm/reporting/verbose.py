"""The text of ``verbose``: scikit-learn's words, on standard output."""

from __future__ import annotations

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
        self._restart_began = self._last_line = perf_counter()

    def restart(self, number: int) -> None:
        """Print that restart `number` begins."""
        if self._level >= 1:
            print(f"Initialization {number}")
        self._restart_began = self._last_line = perf_counter()

    def iteration(self, change: float, run: Run) -> None:
        """Print every `interval` iterations."""
        if run.n_iter % self._interval != 0 or self._level < 1:
            return
        if self._level == 1:
            print(f"  Iteration {run.n_iter}")
            return
        now = perf_counter()
        lapse = now - self._last_line
        print(f"  Iteration {run.n_iter}\t time lapse {lapse:.5f}s\t ll change {change:.5f}")
        self._last_line = now

    def restart_done(self, run: Run) -> None:
        """Print how a restart ended."""
        ending = "converged" if run.converged else "did not converge"
        if self._level == 1:
            print(f"Initialization {ending}.")
        elif self._level >= 2:
            lapse = perf_counter() - self._restart_began
            print(f"Initialization {ending}. time lapse {lapse:.5f}s\t lower bound {run.lower_bound:.5f}.")
