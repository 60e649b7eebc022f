"""Fewer passes: limited-memory BFGS on the step that EM would make.

In coordinates where the complete-data Fisher metric is the identity, the step that EM makes is the gradient
of the likelihood. A quasi-Newton method, which learns from the last steps how that gradient changes, steps
far along the directions in which EM creeps. The likelihood of a trial comes with its own pass, so that a
trial that lowers it costs that pass and nothing else: EM's step from the last good point is then taken.

Jamshidian and Jennrich, Acceleration of the EM Algorithm by Using Quasi-Newton Methods (1997); Nocedal,
Updating Quasi-Newton Matrices with Limited Storage (1980).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.accelerate.coordinates import Coordinates
from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]

# EM is left to itself while its gains, in nats per row, are large or it would be done within so many passes.
_SMALL_GAIN = 1e-2
_FEW_PASSES = 15
# Moves remembered, each a vector of the parameters' number.
_MEMORY = 10
# Gains below this are rounding.
_ROUNDING = 1e-13
# Where EM's step shrinks by less than this part of a move, the likelihood is hardly concave along it.
_LEAST_CURVATURE = 1e-3
# No parameter moves further in one trial, in units of its component's standard deviation ...
_LONGEST_REACH = 0.3
# ... and not as far after a trial that failed, until others succeed.
_SHORTER, _LONGER = 0.25, 2.0
# Points accepted until the coordinates are taken anew, with a step of EM.
_AGE_LIMIT = 40
# Trials rejected in a row that end the acceleration.
_MOST_REJECTIONS = 3


@dataclass(frozen=True, slots=True)
class Acceleration:
    """What is remembered of the last accepted points: about twenty times the size of the parameters.

    Attributes
    ----------
    coordinates : Coordinates
        The coordinates of the vectors below.
    age : int
        Points accepted since they were chosen.
    point, residual : ndarray of shape (p,)
        The last accepted point and EM's step from it.
    moves, changes : ndarray of shape (m, p)
        Differences between successive points, and the residual at the former minus that at the latter.
    em_step : Parameters
        Where EM goes from the last accepted point.
    curvatures : ndarray of shape (q,)
        By what part of a move EM's step shrank, at least 1e-3, for up to 40 last moves.
    trial : bool
        Whether the next pass evaluates something else than `em_step`.
    reach : float
        No parameter moves further in the next trial, in units of its component's standard deviation.
    n_rejected : int
        Trials rejected since the last one that was accepted.
    """

    coordinates: Coordinates
    age: int
    point: Array
    residual: Array
    moves: Array
    changes: Array
    em_step: Parameters
    curvatures: Array
    trial: bool
    reach: float = _LONGEST_REACH
    n_rejected: int = 0

    @property
    def em_gain(self) -> float:
        """What EM would gain in its next step, to second order; nats per row."""
        return float(self.residual @ self.residual)

    @property
    def remaining(self) -> float:
        """What is left to gain if the flattest direction seen lies ahead, nats per row; NaN before any move.

        The quasi-Newton model itself knows ten directions, and mostly not the one that matters.
        """
        return 0.5 * self.em_gain / float(self.curvatures.min()) if len(self.curvatures) else np.nan

    @classmethod
    def begin(cls, parameters: Parameters, em_step: Parameters) -> Acceleration:
        """Return the state at a first point, from which EM's own step is made."""
        coordinates = Coordinates(parameters)
        residual = coordinates.vector(em_step)
        none = np.zeros((0, len(residual)))
        return cls(
            coordinates, 0, np.zeros_like(residual), residual, none, none, em_step, np.zeros(0), trial=False
        )

    def accept(self, parameters: Parameters, em_step: Parameters) -> tuple[Acceleration, Parameters]:
        """Return the state after one more accepted point, and what to evaluate next.

        Parameters
        ----------
        parameters : Parameters
            The point.
        em_step : Parameters
            Where EM goes from there.
        """
        state = self
        if state.trial:
            state = replace(state, n_rejected=0, reach=min(_LONGER * state.reach, _LONGEST_REACH))
        if state.age >= _AGE_LIMIT:
            return state._with_new_coordinates(parameters, em_step), em_step
        following = state._with_point(state.coordinates.vector(parameters), em_step)
        if not following.trial:
            return following, em_step
        step = newton_step(following.residual, following.moves, following.changes)
        longest = float(np.abs(step / state.coordinates.lengths).max())
        if longest > state.reach:
            step *= state.reach / longest
        return following, state.coordinates.parameters(following.point + step)

    def reject(self) -> Acceleration | None:
        """Return the state after a trial that failed and before EM's step, None to end the acceleration."""
        n_rejected = self.n_rejected + 1
        if n_rejected >= _MOST_REJECTIONS:
            return None
        return replace(self, trial=False, reach=_SHORTER * self.reach, n_rejected=n_rejected)

    def _with_new_coordinates(self, parameters: Parameters, em_step: Parameters) -> Acceleration:
        return replace(
            Acceleration.begin(parameters, em_step),
            curvatures=self.curvatures,
            reach=self.reach,
            n_rejected=self.n_rejected,
        )

    def _with_point(self, point: Array, em_step: Parameters) -> Acceleration:
        """Return the state that has learned from an accepted point."""
        residual = self.coordinates.vector(em_step) - point
        move, change = point - self.point, self.residual - residual
        curvature = float(move @ change) / max(float(move @ move), np.finfo(float).tiny)
        if curvature > _LEAST_CURVATURE:
            moves = np.vstack([self.moves, move])[-_MEMORY:]
            changes = np.vstack([self.changes, change])[-_MEMORY:]
        else:
            # There is no maximum to step to, and what was learned elsewhere misleads here.
            moves, changes = self.moves[:0], self.changes[:0]
        return replace(
            self,
            curvatures=np.append(self.curvatures, max(curvature, _LEAST_CURVATURE))[-_AGE_LIMIT:],
            age=self.age + 1,
            point=point,
            residual=residual,
            moves=moves,
            changes=changes,
            em_step=em_step,
            trial=len(moves) > 0,
        )


def is_creeping(gains: Sequence[float], tol: float) -> bool:
    """Return whether EM with these last gains, which goes on until they are below `tol`, is slow."""
    if len(gains) < 2 or not (gains[-2] > 0.0 and tol < gains[-1] < _SMALL_GAIN):
        return False
    # Gains shrink by a constant ratio, or grow.
    return math.log(gains[-1] / max(tol, _ROUNDING)) > _FEW_PASSES * math.log(gains[-2] / gains[-1])


def newton_step(residual: Array, moves: Array, changes: Array) -> Array:
    """Return the step to the maximum of the quadratic model: EM's own where nothing is remembered.

    Nocedal and Wright, Numerical Optimization (2006), algorithm 7.4, with the identity to begin with.
    """
    step = residual.copy()
    curvatures = np.einsum("ij,ij->i", moves, changes)
    shares = np.zeros(len(moves))
    for i in reversed(range(len(moves))):
        shares[i] = moves[i] @ step / curvatures[i]
        step -= shares[i] * changes[i]
    for i in range(len(moves)):
        step += (shares[i] - changes[i] @ step / curvatures[i]) * moves[i]
    return step
