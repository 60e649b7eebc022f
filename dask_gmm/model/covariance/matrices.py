"""What types with covariance matrices have in common: one matrix, shape (d, d), or many, (K, d, d)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import linalg

from dask_gmm.model.covariance.parts import NotPositiveDefiniteError

Array = NDArray[np.float64]


def lower_factor(matrices: Array) -> Array:
    """Return the lower Cholesky factor of each matrix; LinAlgError where one has none."""
    lower = np.linalg.cholesky(matrices).astype(np.float64, copy=False)
    # LAPACK takes NaN for a positive number.
    if not np.isfinite(lower).all():
        raise np.linalg.LinAlgError("not finite")
    return lower


def precision_factor(covariance: Array, component: int | None) -> Array:
    """Return the upper factor of the inverse of one matrix; the error is about `component`."""
    try:
        lower = lower_factor(covariance)
    except np.linalg.LinAlgError:
        smallest = float(np.linalg.eigvalsh(covariance)[0]) if np.isfinite(covariance).all() else np.nan
        raise NotPositiveDefiniteError(component, smallest) from None
    return inverse_transposed(lower)


def inverse_transposed(lower: Array) -> Array:
    """Return the transposed inverse of one lower triangular matrix."""
    inverse: Array
    inverse, _ = linalg.lapack.dtrtri(lower, lower=1)
    return inverse.T


def factor_of_precision(precision: Array) -> Array:
    """Return the upper U with U U^T = precision, of one matrix."""
    # Reversing rows and columns turns the lower factor that LAPACK gives into the upper one wanted.
    return lower_factor(precision[::-1, ::-1])[::-1, ::-1].copy()


def covariance_of_factor(factor: Array) -> Array:
    """Return the inverse of P P^T, of one matrix."""
    root = inverse_transposed(factor.T)
    return root.T @ root


def check_positive_definite(name: str, precisions: NDArray[Any]) -> None:
    """Refuse matrices that are not symmetric or not positive definite, in scikit-learn's words."""
    for matrix in precisions.reshape(-1, *precisions.shape[-2:]):
        if not (np.allclose(matrix, matrix.T) and (np.linalg.eigvalsh(matrix) > 0.0).all()):
            raise ValueError(f"'{name} precision' should be symmetric, positive-definite")


def conditioned_matrices(
    matrices: Array, left: Sequence[int], known: Sequence[int], deviations: Array
) -> tuple[Array, Array, Array]:
    """Return `Covariance.conditioned` of matrices of shape (n_components, d, d).

    Bishop, Pattern Recognition and Machine Learning (2006), equations 2.81 and 2.82.
    """
    lower = lower_factor(matrices[:, known][:, :, known])
    roots = np.linalg.solve(lower, matrices[:, known][:, :, left])
    scaled = np.linalg.solve(lower, deviations[:, :, np.newaxis])[:, :, 0]
    log_det = np.log(np.diagonal(lower, axis1=1, axis2=2)).sum(axis=1)
    log_density = -0.5 * (scaled**2).sum(axis=1) - log_det - 0.5 * len(known) * np.log(2.0 * np.pi)
    moves = np.einsum("kij,ki->kj", roots, scaled)
    explained = np.matmul(roots.transpose(0, 2, 1), roots)
    return log_density, moves, matrices[:, left][:, :, left] - explained


def add_to_diagonals(matrices: NDArray[Any], value: float) -> None:
    """Add a number to the diagonal of each matrix in place."""
    diagonal = range(matrices.shape[-1])
    matrices[..., diagonal, diagonal] += value


def relative_triangles(factors: Array, origin: Array) -> Array:
    """Return the lower triangle of T = L^-1 times another L for each matrix, with logs on the diagonal.

    Parameters
    ----------
    factors, origin : ndarray of shape (d, d) or (K, d, d)
        Precision factors; L is the lower one of the covariance, origin's the one inverted.

    Returns
    -------
    ndarray of shape (K d (d + 1) / 2,)
    """
    # The transposes of T, all components at once.
    relative = np.linalg.solve(_stacked(factors), _stacked(origin))
    rows, columns = np.tril_indices(origin.shape[-1])
    triangles: NDArray[Any] = relative[:, columns, rows]
    triangles[:, rows == columns] = np.log(triangles[:, rows == columns])
    return triangles.ravel()


def with_relative_triangles(triangles: Array, origin: Array) -> Array:
    """Undo `relative_triangles`."""
    n_features = origin.shape[-1]
    rows, columns = np.tril_indices(n_features)
    packed = triangles.reshape(-1, len(rows)).copy()
    packed[:, rows == columns] = np.exp(packed[:, rows == columns])
    relative = np.zeros((len(packed), n_features, n_features))
    relative[:, rows, columns] = packed
    lowers = np.linalg.solve(relative, _stacked(origin).transpose(0, 2, 1))
    factors: Array = np.triu(lowers.transpose(0, 2, 1)).reshape(origin.shape)
    return factors


def triangle_lengths(n_features: int) -> Array:
    """Return what a unit of each number of `relative_triangles` measures where the weight is one."""
    rows, columns = np.tril_indices(n_features)
    return np.where(rows == columns, np.sqrt(2.0), 1.0)


def _stacked(factors: Array) -> NDArray[Any]:
    return factors.reshape(-1, *factors.shape[-2:])
