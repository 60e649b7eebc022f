"""What has to be said of a way to estimate parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


class Estimation(ABC):
    """A way to estimate parameters: independent of the covariance type and of how rows were observed.

    The passes are the same for all: `density` goes out to the rows, `Statistics` come back, and `objective`
    and `maximize` are asked centrally, once per pass. `maximize` must never lower the objective but for what
    `reg_covar` adds: stopping, races and rejected steps rely on it.
    """

    @abstractmethod
    def density(self, parameters: Parameters) -> Density:
        """Return what the E-step evaluates rows by."""

    @abstractmethod
    def objective(self, parameters: Parameters, statistics: Statistics) -> float:
        """Return what is maximized, in nats per row, at the parameters that the rows were evaluated by.

        Parameters
        ----------
        parameters : Parameters
        statistics : Statistics
            The statistics of all rows under ``density(parameters)``.
        """

    @abstractmethod
    def maximize(
        self,
        parameters: Parameters,
        statistics: Statistics,
        origins: Array,
        *,
        reg_covar: float,
        dtype: np.dtype[np.floating],
    ) -> Parameters:
        """Return the parameters of the next iteration.

        Parameters
        ----------
        parameters : Parameters
            Those that the rows were evaluated by.
        statistics : Statistics
            The statistics of all rows under ``density(parameters)``.
        origins : ndarray of shape (n_components, n_features)
            What the moments in `statistics` are about.
        reg_covar : float
            Added to the variances, in squared units of the data.
        dtype : dtype
            The dtype of the rows.

        Raises
        ------
        CollapsedComponentError
            A component without spread.
        """
