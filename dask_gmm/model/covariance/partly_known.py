"""What a covariance type has to say of rows that are not known in full."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import Sums, WithHoles
from dask_gmm.model.kernels.components import Components

Array = NDArray[np.float64]


class PartlyKnown(ABC):
    """The rules of a covariance type for rows with holes or errors, and for some features given others."""

    def holes_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of what is summed over rows with holes besides moments."""
        return (0,)

    @abstractmethod
    def with_holes(self, components: Components) -> WithHoles:
        """Return what evaluates rows with holes, and adds up their moments."""

    def filled_up(self, sums: Sums, means: Array, covariances: Array, origins: Array) -> Sums:
        """Return the sums of a whole pass over rows with holes as if all had been observed.

        Parameters
        ----------
        sums : Sums
        means, covariances : ndarray
            Those that the rows were evaluated by: they stay where nothing was observed.
        origins : ndarray of shape (n_components, n_features)
            What the moments in `sums` are about.
        """
        return sums

    @abstractmethod
    def selected(self, covariances: Array, features: Sequence[int]) -> Array:
        """Return the covariances of some features, in this order."""

    @abstractmethod
    def conditioned(
        self, covariances: Array, left: Sequence[int], known: Sequence[int], deviations: Array
    ) -> tuple[Array, Array, Array]:
        """Return what is left of each component where some features are known.

        Parameters
        ----------
        covariances : ndarray of shape `shape`
        left, known : sequence of int
            All features.
        deviations : ndarray of shape (n_components, len(known))
            The known values minus the means.

        Returns
        -------
        log_density : ndarray of shape (n_components,)
            Of the known values, in nats.
        moves : ndarray of shape (n_components, len(left))
            Of the means of the features that are left.
        covariances : ndarray
            Of these features.
        """

    @abstractmethod
    def as_matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        """Return covariances, or precisions, as matrices of shape (n_components, n_features, n_features)."""

    def precision_matrices(self, factors: Array, n_components: int, n_features: int) -> Array:
        """Return P P^T as matrices of shape (n_components, n_features, n_features)."""
        return self.as_matrices(self.precisions(factors), n_components, n_features)

    @abstractmethod
    def precisions(self, factors: Array) -> Array:
        """Return P P^T."""

    @abstractmethod
    def second_of_matrices(self, packed: Array, factors: Array) -> Array:
        """Return second moments of rows that `factors` evaluate, from sums of r v v^T.

        Parameters
        ----------
        packed : ndarray of shape (n_components, d (d + 1) / 2)
        factors : ndarray of shape `factor_shape`
        """
