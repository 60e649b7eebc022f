"""What decides a fit, apart from the data."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.observation import Observation
from dask_gmm.model.parameters import Parameters

# Starts that are found on a sample and race on all rows; as many as restarts are asked for, if that is more.
N_RACERS = 3


@dataclass(frozen=True, slots=True)
class WarmStart:
    """Where an earlier fit ended.

    Attributes
    ----------
    parameters : Parameters
    lower_bound : float
        Mean log-likelihood before the last M-step, in nats a row.
    """

    parameters: Parameters
    lower_bound: float


@dataclass(frozen=True, slots=True)
class FitSettings:
    """What decides a fit, apart from the data.

    Attributes
    ----------
    start : StartSettings
    tol : float or None
        As in `GaussianMixture`; None to go on until what is left to gain would not disturb a comparison of
        models.
    max_iter, n_init, accelerate
        As in `GaussianMixture`.
    start_rows : int
        Most rows that the start is found on.
    shared_passes : bool
        Whether restarts advance together, each chunk read once for all of them, or one after another.
    criterion : {'bic', 'aic', 'icl'}
        What will compare the model with others, where `tol` is None.
    observation : Observation
        How the rows were observed, which decides the E-step's kernel.
    estimation : Estimation
        What is maximized, and how.
    warm : WarmStart or None
        Where to go on instead of finding a start.
    """

    start: StartSettings
    tol: float | None
    max_iter: int
    n_init: int
    start_rows: int
    shared_passes: bool
    accelerate: bool = False
    criterion: str = "bic"
    observation: Observation = COMPLETE
    estimation: Estimation = MAXIMUM_LIKELIHOOD
    warm: WarmStart | None = None

    @property
    def needs_scatter(self) -> bool:
        """Whether the first pass has to gather the scatter of all rows."""
        return self.estimation.has_prior or covariance_structure(self.start.covariance_type).needs_scatter

    @property
    def needs_box(self) -> bool:
        """Whether the first pass has to find the smallest and largest values."""
        return self.estimation.asks_box

    def value_bytes(self, n_features: int) -> int:
        """Return the size of what an E-step computes, for all restarts that share a pass."""
        n_components = self.start.n_components
        structure = covariance_structure(self.start.covariance_type)
        n_second = int(np.prod(structure.second_shape(n_components, n_features)))
        n_numbers = n_components * (1 + n_features) + n_second
        return 8 * n_numbers * (self.n_racers if self.shared_passes else 1)

    @property
    def n_racers(self) -> int:
        """Most restarts that are advanced together: the starts that race, or the restarts asked for."""
        return max(self.n_init, N_RACERS)
