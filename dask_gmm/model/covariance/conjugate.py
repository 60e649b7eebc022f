"""What a covariance type has to say of its conjugate prior."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_NONE = "This covariance type has no conjugate prior."


class Conjugate(ABC):
    """The rules of a covariance type for priors; the scale of a prior has the shape of one covariance.

    Attributes
    ----------
    has_conjugate_prior : bool
        Whether there are any.
    """

    has_conjugate_prior: bool = True

    @abstractmethod
    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        """Return the scale that belongs to a covariance matrix of all rows.

        Parameters
        ----------
        covariance : ndarray of shape (n_features, n_features)
        equal : bool
            Whether variances are to be the same for all features.
        """

    @abstractmethod
    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        """Return nk times the spread about the prior's mean that counts, summed where covariances are shared.

        Parameters
        ----------
        spread : ndarray
            Covariances as `estimate` makes them.
        nk : ndarray of shape (n_components,)
        distances : ndarray of shape (n_components, n_features)
            Means minus the prior's mean.
        shares : ndarray of shape (n_components,)
            By how much squared distances count, against squared deviations.
        """

    @abstractmethod
    def occupation(self, nk: Array) -> Array:
        """Return how many rows each covariance is of: `nk`, or its mean where it is shared."""

    @abstractmethod
    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        """Return what the mode's divisor has besides rows, and how often it counts each of these.

        Parameters
        ----------
        of_means : bool
            Whether the prior says something of the means.
        """

    @abstractmethod
    def scatter_copies(self, n_components: int, n_features: int) -> float:
        """Return how often `scatter` is in the mode's numerator."""

    @abstractmethod
    def over(self, numerators: Array, divisors: Array) -> Array:
        """Return covariances divided by a number each."""

    @abstractmethod
    def with_reg_covar(self, covariances: Array, reg_covar: float) -> Array:
        """Return covariances with `reg_covar` added to the variances."""

    @abstractmethod
    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        """Return the log determinant of each covariance, and the trace of scale times precision."""


class NoConjugate(Conjugate):
    """A covariance type without a conjugate prior: estimators refuse priors before anything asks here."""

    has_conjugate_prior = False

    def scale_of(self, covariance: Array, *, equal: bool) -> Array:
        raise TypeError(_NONE)

    def scatter(self, spread: Array, nk: Array, distances: Array, shares: Array) -> Array:
        raise TypeError(_NONE)

    def occupation(self, nk: Array) -> Array:
        return nk

    def prior_counts(self, n_components: int, n_features: int, of_means: bool) -> tuple[float, float]:
        raise TypeError(_NONE)

    def scatter_copies(self, n_components: int, n_features: int) -> float:
        raise TypeError(_NONE)

    def over(self, numerators: Array, divisors: Array) -> Array:
        raise TypeError(_NONE)

    def with_reg_covar(self, covariances: Array, reg_covar: float) -> Array:
        raise TypeError(_NONE)

    def volumes_and_traces(self, factors: Array, scale: Array, n_features: int) -> tuple[Array, Array]:
        raise TypeError(_NONE)
