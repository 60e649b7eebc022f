"""A mixture as coefficients of quadratic features: the form that the compiled kernels evaluate.

With y = x - shift and the precision P P^T, log weight + log N(x) is a constant plus a linear form in y minus
half the quadratic form y^T P P^T y. The shift is the mixture's own mean; statistics are about it too.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import triangle
from dask_gmm.model.density import Density
from dask_gmm.model.kernels.quadratic import QuadraticKernel
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]


class QuadraticEvaluator:
    """Evaluates one mixture on rows with compiled kernels; see `CentredKernel` for the methods.

    Parameters
    ----------
    density : Density
    dtype : dtype
        float32 or float64: of the products. Sums over tiles are float64.
    """

    def __init__(self, density: Density, dtype: np.dtype[Any]) -> None:
        self.density = density
        self.uses_scatter = density.covariance_type == "tied"
        shift = centre(density)
        self.origins = np.tile(shift, (density.n_components, 1))
        whitening = density.precisions_cholesky if density.covariance_type == "tied" else None
        self._kernel = QuadraticKernel(
            density.covariance_type, shift, coefficients(density, shift), whitening, dtype
        )
        self.labels = self._kernel.labels
        self.log_density = self._kernel.log_density
        self.responsibilities = self._kernel.responsibilities

    def accumulate(self, statistics: Statistics, rows: NDArray[Any], weights: Array | None) -> None:
        """Add the statistics of `rows` to `statistics` in place."""
        log_likelihood, sums = self._kernel.statistics(rows, weights)
        n_features = self.density.n_features
        np.add(statistics.nk, sums[:, 0], out=statistics.nk)
        np.add(statistics.first, sums[:, 1 : n_features + 1], out=statistics.first)
        if not self.uses_scatter:
            second = sums[:, n_features + 1 :].reshape(statistics.second.shape)
            np.add(statistics.second, second, out=statistics.second)
        weight = float(len(rows)) if weights is None else float(weights.sum())
        statistics.totals.add(Totals(log_likelihood, weight, len(rows)))


def centre(density: Density) -> Array:
    """Return the mixture's mean, shape (n_features,): a point near all rows."""
    centre: Array = density.weights @ density.means / density.weights.sum()
    return centre


def kappa(density: Density) -> float:
    """Return the largest squared distance of a component from the mixture's mean, in its own units.

    The quadratic form cancels that much: its rounding error is kappa times the machine epsilon.
    """
    distances = density.means - centre(density)
    whitened = [
        density.structure.whitened(distance[np.newaxis], np.zeros(1), density.precisions_cholesky, k)
        for k, distance in enumerate(distances)
    ]
    return max(float((z * z).sum()) for z in whitened)


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
    constant = density.log_factors - 0.5 * density.n_features * math.log(2.0 * math.pi)
    constant -= 0.5 * np.einsum("kd,kd->k", linear, distances)
    return np.concatenate([constant[:, np.newaxis], linear, quadratic], axis=1)


def _full(density: Density, distances: Array) -> tuple[Array, Array]:
    precisions = density.structure.precisions(density.precisions_cholesky)
    linear: Array = np.einsum("kij,kj->ki", precisions, distances)
    rows, columns = triangle(density.n_features)
    # Off the diagonal a product stands for two entries of the symmetric matrix.
    quadratic: Array = precisions[:, rows, columns] * np.where(rows == columns, -0.5, -1.0)
    return linear, quadratic
