"""How a restart climbs: plain EM, EM accelerated by L-BFGS, or a step on a surrogate from the sample.

A method is a frozen value. It says what a pass over the data was for, and turns what came of it into the next
method and the parameters that the next pass evaluates. Each kind holds what it needs and nothing else, so
that no combination of them can be wrong: PlainEM, BeforeSurrogateStep, SurrogateTrial and Accelerated.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from dask_gmm.fitting.accelerate.lbfgs import Acceleration, is_creeping
from dask_gmm.fitting.convergence import remaining_gap
from dask_gmm.model.parameters import Parameters


class Next(NamedTuple):
    """What follows a pass.

    Attributes
    ----------
    method : Method
    parameters : Parameters
        What the next pass evaluates.
    """

    method: Method
    parameters: Parameters


class Method(ABC):
    """How a restart gets from the pass that it has made to the parameters that the next one evaluates."""

    __slots__ = ()

    @property
    def on_trial(self) -> bool:
        """Whether the parameters are an attempt, to be undone where they lower the bound."""
        return False

    @property
    def is_surrogate_step(self) -> bool:
        """Whether the parameters are a surrogate step, whose gain says nothing of EM's."""
        return False

    @property
    def needs_sample(self) -> bool:
        """Whether the pass that evaluates the parameters must leave a sample of the rows behind."""
        return False

    @property
    def held(self) -> tuple[Parameters, ...]:
        """The parameters that it keeps besides those that are evaluated."""
        return ()

    @abstractmethod
    def accept(self, point: Parameters, em_step: Parameters, gains: Sequence[float], tol: float) -> Next:
        """Return what follows a pass that did not lower the bound, or that was no trial.

        Parameters
        ----------
        point : Parameters
            What the pass evaluated.
        em_step : Parameters
            What the M-step made of the pass.
        gains : sequence of float
            Gains of the last iterations of the same kind, this one last, in nats per row.
        tol : float
            The fit goes on until gains are below this, in nats per row.
        """

    def reject(self) -> Next:
        """Return what follows a trial that lowered the bound; asked only of a method that is `on_trial`."""
        raise TypeError(f"{type(self).__name__} has tried nothing that could be undone.")

    def remaining(self, gains: Sequence[float], bound: float) -> float:
        """Estimate what is left to gain after iterations with these gains, in nats per row.

        Parameters
        ----------
        gains : sequence of float
            As in `accept`.
        bound : float
            The last lower bound, in nats per row.

        Returns
        -------
        float
            NaN where nothing can be said.
        """
        return remaining_gap(gains, bound)

    def is_settled(self, gain: float, tol: float) -> bool:
        """Return whether the last gain, in nats per row, shows that there is less than `tol` in a step."""
        return abs(gain) < tol


@dataclass(frozen=True, slots=True)
class PlainEM(Method):
    """EM's own steps.

    Attributes
    ----------
    may_accelerate : bool
        Whether L-BFGS takes over once EM creeps.
    """

    may_accelerate: bool = False

    def accept(self, point: Parameters, em_step: Parameters, gains: Sequence[float], tol: float) -> Next:
        if self.may_accelerate and is_creeping(gains, tol):
            return Next(Accelerated(Acceleration.begin(point, em_step)), em_step)
        return Next(self, em_step)


@dataclass(frozen=True, slots=True)
class BeforeSurrogateStep(Method):
    """A step of EM, whose pass shows where a surrogate step may lead.

    Attributes
    ----------
    may_accelerate : bool
        Whether other surrogate steps follow the first, and L-BFGS takes over once they creep.
    """

    may_accelerate: bool

    @property
    def needs_sample(self) -> bool:
        return True

    def accept(self, point: Parameters, em_step: Parameters, gains: Sequence[float], tol: float) -> Next:
        following = PlainEM(self.may_accelerate).accept(point, em_step, gains, tol)
        return following if isinstance(following.method, Accelerated) else Next(self, em_step)

    def try_step(self, step: Parameters | None, em_step: Parameters) -> Next:
        """Return what follows where the surrogate leads to `step`, None where no further than EM itself."""
        if step is None:
            return Next(PlainEM(self.may_accelerate), em_step)
        return Next(SurrogateTrial(em_step, self.may_accelerate), step)


@dataclass(frozen=True, slots=True)
class SurrogateTrial(Method):
    """A surrogate step that the next pass evaluates.

    Attributes
    ----------
    em_step : Parameters
        EM's own step, which is taken if the surrogate step lowers the bound.
    may_accelerate : bool
        As in `BeforeSurrogateStep`.
    """

    em_step: Parameters
    may_accelerate: bool

    @property
    def on_trial(self) -> bool:
        return True

    @property
    def is_surrogate_step(self) -> bool:
        return True

    @property
    def needs_sample(self) -> bool:
        return self.may_accelerate

    @property
    def held(self) -> tuple[Parameters, ...]:
        return (self.em_step,)

    def accept(self, point: Parameters, em_step: Parameters, gains: Sequence[float], tol: float) -> Next:
        if not self.may_accelerate:
            return Next(PlainEM(), em_step)
        return BeforeSurrogateStep(self.may_accelerate).accept(point, em_step, gains, tol)

    def reject(self) -> Next:
        return Next(PlainEM(self.may_accelerate), self.em_step)


@dataclass(frozen=True, slots=True)
class Accelerated(Method):
    """Steps of L-BFGS, or of EM where these would not do.

    Attributes
    ----------
    state : Acceleration
    """

    state: Acceleration

    @property
    def on_trial(self) -> bool:
        return self.state.trial

    @property
    def held(self) -> tuple[Parameters, ...]:
        return self.state.coordinates.origin, self.state.em_step

    def accept(self, point: Parameters, em_step: Parameters, gains: Sequence[float], tol: float) -> Next:
        if not self.on_trial and gains[-1] < 0.0:
            # EM itself goes down, as it may with a large `reg_covar`: its steps are no gradient.
            return Next(PlainEM(), em_step)
        state, parameters = self.state.accept(point, em_step)
        return Next(Accelerated(state), parameters)

    def reject(self) -> Next:
        state = self.state.reject()
        return Next(PlainEM() if state is None else Accelerated(state), self.state.em_step)

    def remaining(self, gains: Sequence[float], bound: float) -> float:
        return self.state.remaining if len(self.state.curvatures) else remaining_gap(gains, bound)

    def is_settled(self, gain: float, tol: float) -> bool:
        # A short step of L-BFGS says little; EM itself must be unable to gain more.
        return gain < tol and self.state.em_gain < tol
