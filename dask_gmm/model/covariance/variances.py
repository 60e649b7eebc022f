"""Covariances that are variances: one for each feature, or one for all features."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.base import Covariance, NotPositiveDefiniteError

Array = NDArray[np.float64]


class Diag(Covariance):
    """Each component has its own variance along each feature."""

    name = "diag"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components * n_features

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features)

    def cholesky(self, covariances: Array) -> Array:
        bad = ~(covariances > 0.0).reshape(len(covariances), -1).all(axis=1)
        if bad.any():
            component = int(np.argmax(bad))
            raise NotPositiveDefiniteError(component, float(np.min(covariances[component])))
        return 1.0 / np.sqrt(covariances)

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return np.sqrt(precisions)

    def precisions(self, precisions_cholesky: Array) -> Array:
        return precisions_cholesky**2

    def inverse(self, precisions_cholesky: Array) -> Array:
        return 1.0 / precisions_cholesky**2

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        log_det: Array = np.log(precisions_cholesky).sum(axis=1)
        return log_det

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        whitened: Array = (rows - mean) * precisions_cholesky[k]
        return whitened

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += resp @ deviations**2

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        variances: Array = second / nk[:, np.newaxis] - shift**2 + reg_covar
        return variances

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        smallest: Array = covariances.min(axis=1)
        return smallest


class Spherical(Diag):
    """Each component has one variance, the same in all directions."""

    name = "spherical"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components,)

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        log_det: Array = n_features * np.log(precisions_cholesky)
        return log_det

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += resp @ np.einsum("ij,ij->i", deviations, deviations)

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        squared_shift = np.einsum("ij,ij->i", shift, shift)
        variances: Array = (second / nk - squared_shift) / shift.shape[1] + reg_covar
        return variances

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        return covariances
