"""What a `GaussianMixture` warns of when its fit is over."""

from __future__ import annotations

import logging

from sklearn.exceptions import ConvergenceWarning

from dask_gmm.errors import warn_caller
from dask_gmm.fitting.convergence import gap_advice
from dask_gmm.fitting.loop import Candidate

_LOGGER = logging.getLogger("dask_gmm")

_NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


def warn_of_ending(candidate: Candidate, weight: float | None) -> None:
    """Warn of restarts that collapsed and of a fit that stopped early.

    Parameters
    ----------
    candidate : Candidate
    weight : float or None
        Sum of the weights of all rows; None where nothing was read.
    """
    for collapse in candidate.collapses:
        warn_caller(f"Restart {collapse.number} was left out. {collapse.error}", UserWarning)
    run, settings = candidate.best, candidate.settings
    advice = None
    if run.iterations and weight is not None:
        advice = gap_advice(
            run.change, run.remaining, run.parameters.n_free, weight, accelerated=settings.accelerate
        )
    if not run.converged and settings.max_iter > 0:
        warn_caller(" ".join(filter(None, [_NOT_CONVERGED, advice])), ConvergenceWarning)
    elif advice is not None:
        # The fit did what it was asked to. Only where models are compared may it matter.
        _LOGGER.info(advice)
