"""The four covariance structures: everything that depends on the covariance type lives here.

Shapes, for K components of d features:

========= ================== ============ ==========================================================
type      covariances        free numbers second moments (`Statistics.second`)
========= ================== ============ ==========================================================
full      (K, d, d)          K d(d+1)/2   (K, d(d+1)/2): packed upper triangle of sum r v v^T
tied      (d, d)             d(d+1)/2     (d(d+1)/2,): the same, summed over components
diag      (K, d)             K d          (K, d): sum r v^2
spherical (K,)               K            (K,): sum r |v|^2
========= ================== ============ ==========================================================

with v = x - origin of the component and r the responsibility times the sample weight. "Packed" is the
order of ``np.triu_indices``: row by row, diagonal included.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

Array = NDArray[np.float64]


class NotPositiveDefiniteError(ValueError):
    """A covariance has no Cholesky factor; `component` is its index (None when all share it)."""

    def __init__(self, component: int | None, smallest_eigenvalue: float) -> None:
        super().__init__(component, smallest_eigenvalue)
        self.component = component
        self.smallest_eigenvalue = smallest_eigenvalue


@lru_cache(maxsize=64)
def triangle(n_features: int) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the row and column indices of the packed upper triangle."""
    return np.triu_indices(n_features)


def pack(matrices: Array) -> Array:
    """Take the upper triangle of (..., d, d) symmetric matrices as (..., d(d+1)/2)."""
    rows, columns = triangle(matrices.shape[-1])
    return matrices[..., rows, columns]


def unpack(packed: Array, n_features: int) -> Array:
    """Undo `pack`."""
    rows, columns = triangle(n_features)
    matrices = np.empty((*packed.shape[:-1], n_features, n_features))
    matrices[..., rows, columns] = packed
    matrices[..., columns, rows] = packed
    return matrices


class Covariance(ABC):
    """The rules of one covariance type. Stateless; get one from `covariance_structure`."""

    name: str

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of covariances and of precision Cholesky factors."""

    @abstractmethod
    def n_free(self, n_components: int, n_features: int) -> int:
        """Number of free covariance parameters."""

    @abstractmethod
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Shape of the second moments."""

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


def _factor(covariance: Array, component: int | None) -> Array:
    try:
        lower = np.linalg.cholesky(covariance)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(covariance)[0]) if np.isfinite(covariance).all() else np.nan
        raise NotPositiveDefiniteError(component, smallest) from None
    inverse: Array = linalg.solve_triangular(lower, np.eye(len(covariance)), lower=True, check_finite=False)
    return inverse.T


def _factor_of_precision(precision: Array) -> Array:
    # Reversing rows and columns turns the lower factor that LAPACK gives into the upper one wanted.
    return np.linalg.cholesky(precision[::-1, ::-1])[::-1, ::-1].copy()


def _inverse(precision_cholesky: Array) -> Array:
    root: Array = linalg.solve_triangular(precision_cholesky, np.eye(len(precision_cholesky)), lower=False)
    return root.T @ root


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
        return np.stack([_factor(covariance, k) for k, covariance in enumerate(covariances)])

    def cholesky_of_precisions(self, precisions: Array) -> Array:
        return np.stack([_factor_of_precision(precision) for precision in precisions])

    def precisions(self, precisions_cholesky: Array) -> Array:
        return np.stack([factor @ factor.T for factor in precisions_cholesky])

    def inverse(self, precisions_cholesky: Array) -> Array:
        return np.stack([_inverse(factor) for factor in precisions_cholesky])

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        diagonals = np.diagonal(precisions_cholesky, axis1=1, axis2=2)
        return np.log(diagonals).sum(axis=1)

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        return (rows - mean) @ precisions_cholesky[k]

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += pack((resp[:, np.newaxis] * deviations).T @ deviations)

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        n_features = shift.shape[1]
        covariances = unpack(second, n_features) / nk[:, np.newaxis, np.newaxis]
        covariances -= shift[:, :, np.newaxis] * shift[:, np.newaxis, :]
        covariances[:, range(n_features), range(n_features)] += reg_covar
        return covariances

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        return np.linalg.eigvalsh(covariances)[:, 0]


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
        return precisions_cholesky @ precisions_cholesky.T

    def inverse(self, precisions_cholesky: Array) -> Array:
        return _inverse(precisions_cholesky)

    def log_det(self, precisions_cholesky: Array, n_components: int, n_features: int) -> Array:
        return np.full(n_components, np.log(np.diagonal(precisions_cholesky)).sum())

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        return (rows - mean) @ precisions_cholesky

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
        return np.log(precisions_cholesky).sum(axis=1)

    def whitened(self, rows: Array, mean: Array, precisions_cholesky: Array, k: int) -> Array:
        return (rows - mean) * precisions_cholesky[k]

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += resp @ deviations**2

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        return second / nk[:, np.newaxis] - shift**2 + reg_covar

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        return covariances.min(axis=1)


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
        return n_features * np.log(precisions_cholesky)

    def add_second(self, second: Array, deviations: Array, resp: Array, k: int) -> None:
        second[k] += resp @ np.einsum("ij,ij->i", deviations, deviations)

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        squared_shift = np.einsum("ij,ij->i", shift, shift)
        return (second / nk - squared_shift) / shift.shape[1] + reg_covar

    def smallest_eigenvalues(self, covariances: Array, n_components: int) -> Array:
        return covariances


_STRUCTURES: dict[str, Covariance] = {rules.name: rules for rules in (Full(), Tied(), Diag(), Spherical())}


def covariance_structure(covariance_type: str) -> Covariance:
    """Return the rules of 'full', 'tied', 'diag' or 'spherical'."""
    return _STRUCTURES[covariance_type]
