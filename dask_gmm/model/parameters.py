"""The parameters of a mixture as one immutable value."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.covariance.covariance import Covariance

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Posterior:
    """What a variational posterior says besides means and covariances.

    Attributes
    ----------
    weight_concentration : ndarray of shape (n_components,), or (2, n_components)
        Of a Dirichlet distribution; or the two parameters of each break of a stick.
    mean_precision : ndarray of shape (n_components,)
        How many rows each mean is worth.
    degrees_of_freedom : ndarray of shape (n_components,), or () where covariances are shared
    """

    weight_concentration: Array
    mean_precision: Array
    degrees_of_freedom: Array


@dataclass(frozen=True, slots=True)
class Background:
    """Rows that belong to no component: uniform in a volume.

    Banfield and Raftery, Model-based Gaussian and non-Gaussian clustering (1993), section 4.

    Attributes
    ----------
    weight : float
        Its share of the rows.
    log_volume : float
        Logarithm of the volume, in units of the data to the power of the number of features.
    n_free : int
        Free parameters: the weight, and the volume where it is taken from the data.
    """

    weight: float
    log_volume: float
    n_free: int

    @property
    def log_joint(self) -> float:
        """Log weight + log density, the same for each row, in nats; -inf for a weight of zero."""
        return math.log(self.weight) - self.log_volume if self.weight > 0.0 else -math.inf


@dataclass(frozen=True, slots=True)
class Parameters:
    """A Gaussian mixture, in float64 whatever the data are.

    Attributes
    ----------
    covariance_type : str
        A name of `dask_gmm.model.covariance.covariance_types`.
    weights : ndarray of shape (n_components,)
        Mixing proportions.
    means : ndarray of shape (n_components, n_features)
    covariances : ndarray
        Of the shape that the covariance type gives, see `dask_gmm.model.covariance`.
    precisions_cholesky : ndarray
        The factors P with P P^T the precision, which the covariance type makes of its covariances.
    posterior : Posterior or None
        Where the mixture is a variational posterior.
    background : Background or None
        Weights of components and background together sum to one.
    """

    covariance_type: str
    weights: Array
    means: Array
    covariances: Array
    precisions_cholesky: Array
    posterior: Posterior | None = None
    background: Background | None = None

    @property
    def structure(self) -> Covariance:
        """The rules of this covariance type."""
        return covariance_structure(self.covariance_type)

    @property
    def n_components(self) -> int:
        """Number of components."""
        return len(self.means)

    @property
    def n_features(self) -> int:
        """Number of features."""
        return int(self.means.shape[1])

    @property
    def n_free(self) -> int:
        """Number of free parameters, as `aic` and `bic` count them."""
        own = n_free_parameters(self.covariance_type, self.n_components, self.n_features)
        return own + (0 if self.background is None else self.background.n_free)

    @property
    def precisions(self) -> Array:
        """Inverse covariances, in the shape of `covariances`."""
        return self.structure.precisions(self.precisions_cholesky)

    @classmethod
    def from_covariances(cls, covariance_type: str, weights: Any, means: Any, covariances: Any) -> Parameters:
        """Build from covariances.

        Raises
        ------
        CollapsedComponentError
            A covariance that is not positive definite.
        """
        covariances = np.asarray(covariances, dtype=np.float64)
        return cls(
            covariance_type,
            np.asarray(weights, dtype=np.float64),
            np.asarray(means, dtype=np.float64),
            covariances,
            covariance_structure(covariance_type).cholesky(covariances),
        )

    @classmethod
    def from_precisions_cholesky(
        cls, covariance_type: str, weights: Any, means: Any, precisions_cholesky: Any
    ) -> Parameters:
        """Build from the Cholesky factors of the precisions, the form that predicts."""
        precisions_cholesky = np.asarray(precisions_cholesky, dtype=np.float64)
        structure = covariance_structure(covariance_type)
        return cls(
            covariance_type,
            np.asarray(weights, dtype=np.float64),
            np.asarray(means, dtype=np.float64),
            structure.inverse(precisions_cholesky),
            precisions_cholesky,
        )


def n_free_parameters(covariance_type: str, n_components: int, n_features: int) -> int:
    """Return the number of free parameters of a mixture."""
    covariances = covariance_structure(covariance_type).n_free(n_components, n_features)
    return covariances + n_components * n_features + n_components - 1
