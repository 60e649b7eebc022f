"""The part of the parameters that evaluates rows, and that travels to the workers in each pass."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.covariance.covariance import Covariance
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Density:
    """A mixture without its covariances: their precision factors say the same.

    Attributes
    ----------
    covariance_type : str
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n_features)
    precisions_cholesky : ndarray
        The factors that the covariance type makes of its covariances, see `dask_gmm.model.covariance`.
    background : float
        Log-joint of what belongs to no component, the same for each row, in nats.
    """

    covariance_type: str
    weights: Array
    means: Array
    precisions_cholesky: Array
    background: float = -math.inf

    @classmethod
    def of(cls, parameters: Parameters) -> Density:
        """Take what evaluation needs from `parameters`."""
        background = -math.inf if parameters.background is None else parameters.background.log_joint
        return cls(
            parameters.covariance_type,
            parameters.weights,
            parameters.means,
            parameters.precisions_cholesky,
            background,
        )

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
    def log_factors(self) -> Array:
        """Return log weight + log det P of each component; -inf for a component of weight zero."""
        log_det = self.structure.log_det(self.precisions_cholesky, self.n_components, self.n_features)
        with np.errstate(divide="ignore"):
            factors: Array = np.log(self.weights) + log_det
        return factors

    @property
    def peaks(self) -> Array:
        """Log-joint of each component at its own mean, in nats, shape (n_components,)."""
        peaks: Array = self.log_factors - 0.5 * self.n_features * math.log(2.0 * math.pi)
        return peaks

    @property
    def components(self) -> Components:
        """What kernels are made from."""
        centre = self.weights @ self.means / self.weights.sum()
        return Components(centre, self.means, self.precisions_cholesky, self.peaks)
