"""What a covariance structure has to say."""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


class NotPositiveDefiniteError(ValueError):
    """A covariance has no Cholesky factor; `component` is its index (None when all share it)."""

    def __init__(self, component: int | None, smallest_eigenvalue: float) -> None:
        super().__init__(component, smallest_eigenvalue)
        self.component = component
        self.smallest_eigenvalue = smallest_eigenvalue


class Covariance(ABC):
    """The rules of one covariance type. Stateless; get one from `covariance_structure`."""

    name: str

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of covariances and of precision Cholesky factors."""

    @abstractmethod
    def n_free(self, n_components: int, n_features: int) -> int:
        """Return the number of free covariance parameters."""

    @abstractmethod
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of the second moments."""

    @abstractmethod
    def cholesky(self, covariances: Array) -> Array:
        """Return the Cholesky factors of the precisions, upper triangular.

        Raises
        ------
        NotPositiveDefiniteError
            With the first component that has none.
        """

    @abstractmethod
    def cholesky_of_precisions(self, precisions: Array) -> Array:
        """Return the upper triangular U with U U^T = precision."""

    @abstractmethod
    def precisions(self, precisions_cholesky: Array) -> Array:
        """Return P P^T."""

    @abstractmethod
    def inverse(self, precisions_cholesky: Array) -> Array:
        """Return the covariances that belong to precision Cholesky factors."""

    @abstractmethod
    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        """Return log det P for each component, shape (n_components,)."""

    @abstractmethod
    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        """Return (x - mean) P for component `k`; its squared row norm is the Mahalanobis distance."""

    @abstractmethod
    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        """Add component `k`'s sum of resp v v^T, v the rows of `deviations`, to `second` in place."""

    @abstractmethod
    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        """Return the covariances of the M-step.

        Parameters
        ----------
        second : ndarray of shape `second_shape`
            Second moments about the components' origins.
        nk : ndarray of shape (n_components,)
        shift : ndarray of shape (n_components, n_features)
            New means minus origins: sum r (x - mean)^2 = sum r (x - origin)^2 - nk shift^2.
        reg_covar : float
            Added to the variances.
        """

    @abstractmethod
    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        """Return each component's smallest variance in any direction, shape (n_components,)."""
