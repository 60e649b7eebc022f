"""Covariances that are matrices: one for each component, or one for all."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from dask_gmm.model.covariance.base import Covariance, NotPositiveDefiniteError
from dask_gmm.model.covariance.packing import pack, unpack

Array = NDArray[np.float64]


class Full(Covariance):
    """Each component has its own covariance matrix."""

    name = "full"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features, n_features)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_components * n_features * (n_features + 1) // 2

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_components, n_features * (n_features + 1) // 2)

    def cholesky(self, covariances: Array) -> Array:
        try:
            lowers = _lower_factor(covariances)
        except np.linalg.LinAlgError:
            # One by one, to tell which.
            return np.stack([_factor(covariance, k) for k, covariance in enumerate(covariances)])
        return np.stack([_inverse_transposed(lower) for lower in lowers])

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return np.stack([_factor_of_precision(precision) for precision in precisions])

    def precisions(self, precisions_cholesky: Array) -> Array:
        precisions: Array = np.matmul(precisions_cholesky, precisions_cholesky.transpose(0, 2, 1))
        return precisions

    def inverse(self, precisions_cholesky: Array) -> Array:
        return np.stack([_inverse(factor) for factor in precisions_cholesky])

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        diagonals = np.diagonal(precisions_cholesky, axis1=1, axis2=2)
        log_det: Array = np.log(diagonals).sum(axis=1)
        return log_det

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        whitened: Array = (rows - mean) @ precisions_cholesky[k]
        return whitened

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += pack((resp[:, np.newaxis] * deviations).T @ deviations)

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        n_features = shift.shape[1]
        covariances = unpack(second, n_features) / nk[:, np.newaxis, np.newaxis]
        covariances -= shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
        covariances[:, range(n_features), range(n_features)] += reg_covar
        return covariances

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        smallest: Array = np.linalg.eigvalsh(covariances)[:, 0].astype(np.float64)
        return smallest


class Tied(Covariance):
    """All components share one covariance matrix."""

    name = "tied"

    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_features, n_features)

    def n_free(self, n_components: int, n_features: int) -> int:
        return n_features * (n_features + 1) // 2

    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        return (n_features * (n_features + 1) // 2,)

    def cholesky(self, covariances: Array) -> Array:
        return _factor(covariances, None)

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return _factor_of_precision(precisions)

    def precisions(self, precisions_cholesky: Array) -> Array:
        precision: Array = precisions_cholesky @ precisions_cholesky.T
        return precision

    def inverse(self, precisions_cholesky: Array) -> Array:
        return _inverse(precisions_cholesky)

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        return np.full(n_components, np.log(np.diagonal(precisions_cholesky)).sum())

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        whitened: Array = (rows - mean) @ precisions_cholesky
        return whitened

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second += pack((resp[:, np.newaxis] * deviations).T @ deviations)

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        n_features = shift.shape[1]
        covariance = unpack(second, n_features) - (nk[:, np.newaxis] * shift).T @ shift
        covariance /= nk.sum()
        covariance[range(n_features), range(n_features)] += reg_covar
        return covariance

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        return np.full(n_components, np.linalg.eigvalsh(covariances)[0])


def _lower_factor(matrices: Array) -> Array:
    lower = np.linalg.cholesky(matrices).astype(np.float64, copy=False)
    # LAPACK takes NaN for a positive number.
    if not np.isfinite(lower).all():
        raise np.linalg.LinAlgError("not finite")
    return lower


def _factor(covariance: Array, component: int | None) -> Array:
    try:
        lower = _lower_factor(covariance)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(covariance)[0]) if np.isfinite(covariance).all() else np.nan
        raise NotPositiveDefiniteError(component, smallest) from None
    return _inverse_transposed(lower)


def _inverse_transposed(lower: Array) -> Array:
    inverse: Array
    inverse, _ = linalg.lapack.dtrtri(lower, lower=1)
    return inverse.T


def _factor_of_precision(precision: Array) -> Array:
    # Reversing rows and columns turns the lower factor that LAPACK gives into the upper one wanted.
    return _lower_factor(precision[::-1, ::-1])[::-1, ::-1].copy()


def _inverse(precision_cholesky: Array) -> Array:
    root = _inverse_transposed(precision_cholesky.T)
    return root.T @ root
