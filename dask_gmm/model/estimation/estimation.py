"""What has to be said of a way to estimate parameters."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


class Estimation(ABC):
    """A way to estimate parameters: independent of the covariance type and of how rows were observed.

    The passes are the same for all: `density` goes out to the rows, `Statistics` come back, and `objective`
    and `maximize` are asked centrally, once per pass. `maximize` must never lower the objective but for what
    `reg_covar` adds: stopping, races and rejected steps rely on it.
    """

    #: Whether covariances have a prior, so that they are positive definite whatever the rows; it may take the
    #: scatter of all rows to know it.
    has_prior: bool = False
    #: Whether the objective is a likelihood per row, perhaps with a prior, whose gradient EM's steps are.
    is_likelihood: bool = True

    @property
    def asks_moments(self) -> bool:
        """Whether `informed` has to be told the moments of all rows, or their box."""
        return self.has_prior

    @property
    def asks_box(self) -> bool:
        """Whether it has to know the smallest and the largest value of each feature."""
        return False

    @property
    def asks_rows(self) -> bool:
        """Whether it takes something from all rows before their first pass; see `informed`."""
        return False

    def informed(self, moments: Moments) -> Estimation:
        """Return the estimation that knows the moments of all rows, before `started`; for priors only."""
        return self

    def started(self, parameters: Parameters) -> Parameters:
        """Return the parameters to begin with.

        Parameters
        ----------
        parameters : Parameters
            Those of the start: shares, means and covariances of clusters.
        """
        return parameters

    def as_given(self, parameters: Parameters) -> Parameters:
        """Return given parameters with what else belongs to a mixture of this kind."""
        return parameters

    def objective_after(
        self,
        objective: float,
        statistics: Statistics,
        origins: Array,
        density: Density,
        maximized: Parameters,
    ) -> float:
        """Return the objective once the next parameters are known; as it is if it does not need them."""
        return objective

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
