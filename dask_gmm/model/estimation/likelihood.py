"""Maximum likelihood: the objective is the mean log density of a row."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.mstep import maximize
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True)
class MaximumLikelihood(Estimation):
    """EM as Dempster, Laird and Rubin (1977) have it."""

    def density(self, parameters: Parameters) -> Density:
        return Density.of(parameters)

    def objective(self, parameters: Parameters, statistics: Statistics) -> float:
        return statistics.mean_log_likelihood

    def maximize(
        self,
        parameters: Parameters,
        statistics: Statistics,
        origins: Array,
        *,
        reg_covar: float,
        dtype: np.dtype[np.floating],
    ) -> Parameters:
        return maximize(parameters, statistics, origins, reg_covar=reg_covar, dtype=dtype)


#: It has no state: this one is enough.
MAXIMUM_LIKELIHOOD = MaximumLikelihood()
