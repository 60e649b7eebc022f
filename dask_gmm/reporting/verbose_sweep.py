"""The text of ``verbose`` for a sweep: a line for each mixture that is done."""

from __future__ import annotations

from collections.abc import Sequence

from dask_gmm.fitting.em import Run


class SweepVerbose:
    """Prints how the mixtures of a sweep end.

    Parameters
    ----------
    level : int
        0 prints nothing, 1 what is done.
    """

    def __init__(self, level: int) -> None:
        self._level = int(level)

    def begins(self, runs: Sequence[Run]) -> None:
        """Print nothing: all begin together."""

    def iteration(self, run: Run) -> None:
        """Print a restart that ended."""
        if self._level < 1 or run.ending is None:
            return
        parameters = run.parameters
        ending = "converged" if run.converged else "did not converge"
        print(
            f"{parameters.covariance_type}, {parameters.n_components} components, restart {run.number}: "
            f"{ending} in {run.n_iter} iterations. lower bound {run.lower_bound:.5f}."
        )
