"""A mixture as coefficients of quadratic features: the form that the compiled kernels evaluate.

With y = x - shift and the precision P P^T, log weight + log N(x) is a constant plus a linear form in y minus
half the quadratic form y^T P P^T y. The shift is the mixture's own mean; statistics are about it too.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import triangle
from dask_gmm.model.density import Density

Array = NDArray[np.float64]


def centre(density: Density) -> Array:
    """Return the mixture's mean, shape (n_features,): a point near all rows."""
    centre: Array = density.weights @ density.means / density.weights.sum()
    return centre


def kappa(density: Density) -> float:
    """Return the largest squared distance of a component from the mixture's mean, in its own units.

    The quadratic form cancels that much: its rounding error is kappa times the machine epsilon.
    """
    distances, factors = density.means - centre(density), density.precisions_cholesky
    match density.covariance_type:
        case "full":
            whitened = np.matmul(distances[:, np.newaxis, :], factors)[:, 0, :]
        case "tied":
            whitened = distances @ factors
        case "diag":
            whitened = distances * factors
        case _:
            whitened = distances * factors[:, np.newaxis]
    return float((whitened**2).sum(axis=1).max())


def coefficients(density: Density, shift: Array) -> Array:
    """Return theta of shape (K, P): see `dask_gmm.model.kernels.quadratic` for the features."""
    distances = density.means - shift
    match density.covariance_type:
        case "full":
            linear, quadratic = _full(density, distances)
        case "tied":
            # In whitened coordinates the precision is the identity.
            linear = distances @ density.precisions_cholesky
            distances = linear
            quadratic = np.full((density.n_components, 1), -0.5)
        case "diag":
            precisions = density.precisions_cholesky**2
            linear, quadratic = distances * precisions, -0.5 * precisions
        case _:
            precisions = density.precisions_cholesky[:, np.newaxis] ** 2
            linear, quadratic = distances * precisions, -0.5 * precisions
    constant = density.peaks - 0.5 * np.einsum("kd,kd->k", linear, distances)
    return np.concatenate([constant[:, np.newaxis], linear, quadratic], axis=1)


def _full(density: Density, distances: Array) -> tuple[Array, Array]:
    precisions = density.structure.precisions(density.precisions_cholesky)
    linear: Array = np.einsum("kij,kj->ki", precisions, distances)
    rows, columns = triangle(density.n_features)
    # Off the diagonal a product stands for two entries of the symmetric matrix.
    quadratic: Array = precisions[:, rows, columns] * np.where(rows == columns, -0.5, -1.0)
    return linear, quadratic
