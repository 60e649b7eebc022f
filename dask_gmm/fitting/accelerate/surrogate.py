"""What those ahead in a race do instead of EM's next step: a step to where a surrogate says EM leads.

From the optimum on a sample EM creeps towards the one on all rows. How EM's step changes with the parameters
the sample knows nearly as well as all rows do; by how much the two steps differ one pass has shown, at one
point. So EM on the sample plus that difference is a surrogate for EM on all rows: it has nearly the same
fixed point, all but p / m of the way there. EM finds it in memory. If all rows do not think it better, EM's
own step is taken. One surrogate step belongs to the start; where EM may be accelerated, others follow while
they do not creep themselves.

Jordan, Lee and Yang, Communication-Efficient Distributed Statistical Inference (2019), equation 6, does so
with gradients; EM's step is one (see `dask_gmm.fitting.accelerate.lbfgs`), and keeps all parameters valid.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from dask_gmm.fitting.accelerate.coordinates import Coordinates
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.on_sample import EngineOf, passes_over, sample_for
from dask_gmm.fitting.iteration import advance_together
from dask_gmm.fitting.row_sample import Sample, Sampling
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.model.parameters import Parameters

# Steps of EM on the sample; those after them would gain little where they are many.
_MOST_STEPS = 30
# Nats per row that a step gains, below which its fixed point is near enough.
_NEGLIGIBLE = 1e-9
# No parameter moves further, in units of its component's standard deviation: the sample tells what is near.
_LONGEST_REACH = 0.3


@dataclass(frozen=True, slots=True)
class SurrogateSteps:
    """Makes surrogate steps.

    Attributes
    ----------
    engine_of : callable
        Gives an engine for rows in memory.
    """

    engine_of: EngineOf

    def attempt(
        self, run: Run, at: Parameters, settings: FitSettings, sample: Sample, sampling: Sampling
    ) -> Run:
        """Return a run that evaluates a surrogate step next, or EM's own where the surrogate leads nowhere.

        Parameters
        ----------
        run : Run
            A run after a pass over all rows, which is to make a surrogate step.
        at : Parameters
            What that pass evaluated.
        settings : FitSettings
        sample : Sample
        sampling : Sampling
            How `sample` was drawn.
        """
        part, _ = sample_for(settings, sample, sampling)
        em_only = replace(settings, tol=0.0, max_iter=2, accelerate=False)
        passes = passes_over(part, settings, self.engine_of)

        def em_on_sample(parameters: Parameters) -> Parameters | None:
            (after,) = advance_together(passes, [Run(0, parameters)], [em_only])
            return after.parameters if isinstance(after, Run) else None

        return run.try_surrogate_step(surrogate_step(at, run.parameters, em_on_sample))


def surrogate_step(
    at: Parameters, em_step: Parameters, em_on_sample: Callable[[Parameters], Parameters | None]
) -> Parameters | None:
    """Return where EM on all rows is expected to lead.

    Parameters
    ----------
    at : Parameters
    em_step : Parameters
        What EM on all rows makes of `at`.
    em_on_sample : callable
        What EM on the sample makes of parameters; None where a component collapses.

    Returns
    -------
    Parameters or None
        None where that is no further than `em_step`.
    """
    coordinates = Coordinates(at)
    point = step = coordinates.vector(em_step)
    if float(step @ step) < _NEGLIGIBLE:
        # Next to rounding: such a step would as often lower the bound, and cost a pass.
        return None
    on_sample = em_on_sample(at)
    if on_sample is None:
        return None
    difference = step - coordinates.vector(on_sample)
    for _ in range(_MOST_STEPS):
        on_sample = em_on_sample(coordinates.parameters(point))
        if on_sample is None:
            break
        following = coordinates.vector(on_sample) + difference
        if not np.abs(following / coordinates.lengths).max() <= _LONGEST_REACH:
            break
        gain = float(np.square(following - point).sum())
        point = following
        if gain < _NEGLIGIBLE:
            break
    return None if point is step else coordinates.parameters(point)
