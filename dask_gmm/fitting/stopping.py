"""When a restart has done enough."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from dask_gmm.fitting.convergence import LOOSEST_TOL, negligible_gap
from dask_gmm.fitting.convergence import passes_left as expected_passes
from dask_gmm.fitting.settings import FitSettings

# Beyond this multiple of the passes that were made, those to come are not foretold.
_FURTHEST = 3


@dataclass(frozen=True, slots=True)
class Stopping:
    """When a restart has done enough.

    Attributes
    ----------
    max_iter : int
        Most iterations; each takes a pass.
    tol : float
        A restart has converged when the bound changes by less, in nats per row.
    gap : float or None
        Where this is given, the estimate of what is left to gain must also be below it, in nats per row.
    """

    max_iter: int
    tol: float
    gap: float | None = None

    @classmethod
    def of(cls, settings: FitSettings, n_free: int, weight: float) -> Stopping:
        """Return the rule for a mixture with `n_free` parameters on rows whose weights sum to `weight`."""
        if settings.tol is not None:
            return cls(settings.max_iter, settings.tol)
        return cls(settings.max_iter, LOOSEST_TOL, negligible_gap(settings.criterion, n_free, weight))

    @property
    def creeping_tol(self) -> float:
        """The gain that EM has to get below, in nats per row: zero where the gap decides."""
        return self.tol if self.gap is None else 0.0

    def passes_left(self, gains: Sequence[float], remaining: float, n_iter: int) -> int | None:
        """Return how many more passes a restart is expected to need, None where that is unknown.

        Parameters
        ----------
        gains : sequence of float
            Gains of EM's steps so far, in nats per row.
        remaining : float
            Estimate of what is left to gain, in nats per row.
        n_iter : int
            Iterations so far.
        """
        left = expected_passes(gains, remaining, self.tol, self.gap)
        if left is None:
            return None
        left = min(max(left, 1), self.max_iter - n_iter)
        # Gains that hardly shrink reach any limit far off, or soon.
        return left if left <= _FURTHEST * n_iter else None
