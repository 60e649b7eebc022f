"""Steps of EM as textbooks write them, with matrices."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def factor_step(scatter: Array, loadings: Array, noise: Array) -> tuple[Array, Array]:
    """Return loadings and noise variances after a step of factor analysis (Ghahramani and Hinton, 1996).

    Parameters
    ----------
    scatter : ndarray of shape (d, d)
        Mean of v v^T about the mean of the rows.
    loadings : ndarray of shape (d, q)
    noise : ndarray of shape (d,)
    """
    towards = loadings.T @ np.linalg.inv(loadings @ loadings.T + np.diag(noise))
    squares = np.eye(loadings.shape[1]) - towards @ loadings + towards @ scatter @ towards.T
    after: Array = scatter @ towards.T @ np.linalg.inv(squares)
    return after, np.diag(scatter - after @ towards @ scatter)


def factor_steps(scatters: Array, covariances: Array) -> Array:
    """Return the covariances of factor analysers after a step each, in the shape that the type has."""
    found = []
    for scatter, covariance in zip(scatters, covariances, strict=True):
        loadings, noise = factor_step(scatter, covariance[:, :-1], covariance[:, -1])
        found.append(np.column_stack([loadings, noise]))
    return np.stack(found)
