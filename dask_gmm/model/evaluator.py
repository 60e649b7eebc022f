"""A mixture's compiled kernel, with what its sums are about."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.kernels.centred import CentredKernel
from dask_gmm.model.kernels.quadratic import QuadraticKernel
from dask_gmm.model.quadratic import centre, coefficients
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]


class CompiledEvaluator:
    """Evaluates one mixture on rows; the reference, `dask_gmm.model.centred`, explains the methods.

    Parameters
    ----------
    density : Density
    kernel : QuadraticKernel or CentredKernel
    origins : ndarray of shape (n_components, n_features)
        What the kernel's sums are about.
    uses_scatter : bool
        The kernel leaves a tied second moment out.
    """

    def __init__(
        self,
        density: Density,
        kernel: QuadraticKernel | CentredKernel,
        origins: Array,
        *,
        uses_scatter: bool = False,
    ) -> None:
        self.density, self.origins, self.uses_scatter = density, origins, uses_scatter
        self._kernel = kernel
        self.labels = kernel.labels
        self.log_density = kernel.log_density
        self.responsibilities = kernel.responsibilities

    @classmethod
    def quadratic(cls, density: Density, dtype: np.dtype[Any]) -> CompiledEvaluator:
        """Return the quadratic form about the mixture's mean, with products in `dtype`."""
        shift, tied = centre(density), density.covariance_type == "tied"
        kernel = QuadraticKernel(
            density.covariance_type,
            shift,
            coefficients(density, shift),
            density.precisions_cholesky if tied else None,
            dtype,
        )
        return cls(density, kernel, np.tile(shift, (density.n_components, 1)), uses_scatter=tied)

    @classmethod
    def centred(cls, density: Density, dtype: np.dtype[Any]) -> CompiledEvaluator:
        """Return each component about its own mean, with products in `dtype`."""
        kernel = CentredKernel(
            density.covariance_type, density.means, density.precisions_cholesky, density.peaks, dtype
        )
        return cls(density, kernel, density.means)

    def accumulate(self, statistics: Statistics, rows: NDArray[Any], weights: Array | None) -> None:
        """Add the statistics of `rows` to `statistics` in place."""
        log_likelihood, sums = self._kernel.statistics(rows, weights)
        n_features = self.density.n_features
        np.add(statistics.nk, sums[:, 0], out=statistics.nk)
        np.add(statistics.first, sums[:, 1 : n_features + 1], out=statistics.first)
        if not self.uses_scatter:
            second = sums[:, n_features + 1 :]
            pooled = second.sum(axis=0) if self.density.covariance_type == "tied" else second
            np.add(statistics.second, pooled.reshape(statistics.second.shape), out=statistics.second)
        weight = float(len(rows)) if weights is None else float(weights.sum())
        statistics.totals.add(Totals(log_likelihood, weight, len(rows)))
