"""Algebra of covariances L L^T + diag(psi), with L of few columns; many components at once.

About a scaling by the noise, W = psi^-1/2 L, everything follows from the small W^T W = V diag(s^2) V^T: the
precision is psi^-1/2 (I - W (I + W^T W)^-1 W^T) psi^-1/2 (Woodbury), and functions of I + W W^T are those
of its eigenvalues, 1 + s^2 and ones.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def of_spectrum(scaled: Array, function: Callable[[Array], Array]) -> Array:
    """Return V diag(function(s^2)) V^T for each component.

    Parameters
    ----------
    scaled : ndarray of shape (n_components, n_features, n_factors)
        W.
    function : callable
    """
    squares, vectors = np.linalg.eigh(np.matmul(scaled.transpose(0, 2, 1), scaled))
    values = function(np.maximum(squares, 0.0))
    result: Array = np.matmul(vectors * values[:, np.newaxis, :], vectors.transpose(0, 2, 1))
    return result


def shrinkage(squares: Array) -> Array:
    """Return 1 / sqrt(1 + s^2), the root of the factors' posterior variances."""
    roots: Array = 1.0 / np.sqrt(1.0 + squares)
    return roots


def projections(scaled: Array) -> Array:
    """Return W (I + W^T W)^-1/2 for each component.

    By singular values, which stay accurate where factors are many times the noise, or dependent.

    Parameters
    ----------
    scaled : ndarray of shape (n_components, n_features, n_factors)
        W.
    """
    left, values, right = np.linalg.svd(scaled, full_matrices=False)
    result: Array = np.matmul(left * (values * shrinkage(values**2))[:, np.newaxis, :], right)
    return result


def times_root(rows: Array, scaled: Array, *, inverse: bool = False) -> Array:
    """Return rows times (I + W W^T)^-1/2, or with `inverse` its inverse, for each component.

    Parameters
    ----------
    rows : ndarray of shape (n_components, n, n_features)
    scaled : ndarray of shape (n_components, n_features, n_factors)
    """
    left, values, _ = np.linalg.svd(scaled, full_matrices=False)
    root = shrinkage(values**2)
    within = (1.0 - 1.0 / root if inverse else 1.0 - root)[:, np.newaxis, :]
    result: Array = rows - np.matmul(np.matmul(rows, left) * within, left.transpose(0, 2, 1))
    return result


def canonical(loadings: Array, noise: Array) -> Array:
    """Return loadings of the same covariances for which L^T psi^-1 L is diagonal and descending.

    The largest entry of each column is positive, so that equal covariances have equal loadings.

    Parameters
    ----------
    loadings : ndarray of shape (n_components, n_features, n_factors)
    noise : ndarray of shape (n_components, n_features)
    """
    scaled = loadings / np.sqrt(noise)[:, :, np.newaxis]
    _, vectors = np.linalg.eigh(np.matmul(scaled.transpose(0, 2, 1), scaled))
    rotated = np.matmul(loadings, vectors[:, :, ::-1])
    largest = np.take_along_axis(rotated, np.abs(rotated).argmax(axis=1)[:, np.newaxis, :], axis=1)
    result: Array = rotated * np.where(largest < 0.0, -1.0, 1.0)
    return result


def factor_analysis(scatter: Array, n_factors: int, n_steps: int) -> tuple[Array, Array]:
    """Return loadings and noise variances of one covariance matrix, by EM from its principal axes.

    Rubin and Thayer, EM algorithms for ML factor analysis (1982); the start is that of Tipping and Bishop,
    Mixtures of probabilistic principal component analyzers (1999).

    Parameters
    ----------
    scatter : ndarray of shape (n_features, n_features)
        Positive semidefinite.
    """
    n_features = len(scatter)
    variances = np.diagonal(scatter)
    scale = np.sqrt(np.where(variances > 0.0, variances, 1.0))
    values, vectors = np.linalg.eigh(scatter / np.outer(scale, scale))
    kept = min(n_factors, n_features)
    rest = float(values[: n_features - kept].mean()) if kept < n_features else 0.0
    # Of features that say nothing but noise, too, some is left to their factors: none would stay none.
    excess = np.sqrt(np.maximum(values[n_features - kept :] - rest, 1e-3))
    loadings = np.zeros((n_features, n_factors))
    loadings[:, :kept] = scale[:, np.newaxis] * vectors[:, n_features - kept :] * excess
    floor = 1e-3 * np.where(variances > 0.0, variances, 1.0)
    noise = np.maximum(variances - (loadings**2).sum(axis=1), floor)
    for _ in range(n_steps):
        scaled = loadings / noise[:, np.newaxis]
        posterior = np.linalg.inv(np.eye(n_factors) + loadings.T @ scaled)
        towards = scatter @ scaled @ posterior
        loadings = np.linalg.solve(posterior + posterior @ scaled.T @ towards, towards.T).T
        noise = np.maximum(variances - (loadings * towards).sum(axis=1), floor * 1e-3)
    return loadings, noise
