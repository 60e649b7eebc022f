"""A mixture's compiled kernel, with what its sums are about."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property, partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.kernels.centred import CentredKernel
from dask_gmm.model.kernels.quadratic import QuadraticKernel
from dask_gmm.model.kernels.settled import SettledLabels
from dask_gmm.model.quadratic import centre, coefficients
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]
Labels = Callable[[NDArray[Any], NDArray[np.int64]], None]

# With fewer, a second look costs more than it saves: measured.
_FEATURES_TO_SETTLE = 8


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
    quick : callable, optional
        Returns a kernel that settles most labels faster.
    """

    def __init__(
        self,
        density: Density,
        kernel: QuadraticKernel | CentredKernel,
        origins: Array,
        *,
        uses_scatter: bool = False,
        quick: Callable[[], QuadraticKernel] | None = None,
    ) -> None:
        self.density, self.origins, self.uses_scatter = density, origins, uses_scatter
        self._kernel, self._quick = kernel, quick

    def log_density(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's log density to `out`."""
        self._kernel.log_density(rows, out)
        far = np.flatnonzero(np.isnan(out))
        if len(far):
            answer = self._of_far(CentredKernel.log_density, rows[far], out[far])
            # Nothing is left of a density whose logarithm is beyond float64.
            answer[np.isnan(answer) & np.isfinite(rows[far]).all(axis=1)] = -np.inf
            out[far] = answer

    def responsibilities(self, rows: NDArray[Any], out: NDArray[Any]) -> None:
        """Write each row's posterior probabilities to `out`."""
        self._kernel.responsibilities(rows, out)
        far = np.flatnonzero(np.isnan(out[:, 0]))
        if len(far):
            out[far] = self._of_far(CentredKernel.responsibilities, rows[far], out[far])

    def _of_far(
        self,
        method: Callable[[CentredKernel, NDArray[Any], NDArray[Any]], None],
        rows: NDArray[Any],
        out: NDArray[Any],
    ) -> NDArray[Any]:
        """Return what float64 says, about each mean, where sums of infinite terms were no number."""
        density, double = self.density, np.dtype(np.float64)
        kernel = CentredKernel(
            density.covariance_type, density.means, density.precisions_cholesky, density.peaks, double
        )
        answer = np.empty(out.shape)
        method(kernel, rows.astype(double), answer)
        with np.errstate(over="ignore"):
            return answer.astype(out.dtype)

    @classmethod
    def quadratic(cls, density: Density, dtype: np.dtype[Any]) -> CompiledEvaluator:
        """Return the quadratic form about the mixture's mean, with products in `dtype`."""
        shift, tied = centre(density), density.covariance_type == "tied"
        theta = coefficients(density, shift)
        whitening = density.precisions_cholesky if tied else None
        kernel = QuadraticKernel(density.covariance_type, shift, theta, whitening, dtype)
        quick = None
        if density.covariance_type == "full" and dtype == np.float64 and len(shift) >= _FEATURES_TO_SETTLE:
            quick = partial(QuadraticKernel, "full", shift, theta, dtype=np.float32, settles=True)
        origins = np.tile(shift, (density.n_components, 1))
        return cls(density, kernel, origins, uses_scatter=tied, quick=quick)

    @classmethod
    def centred(cls, density: Density, dtype: np.dtype[Any]) -> CompiledEvaluator:
        """Return each component about its own mean, with products in `dtype`."""
        kernel = CentredKernel(
            density.covariance_type, density.means, density.precisions_cholesky, density.peaks, dtype
        )
        return cls(density, kernel, density.means)

    @cached_property
    def labels(self) -> Labels:
        """Writes each row's most probable component to an array."""
        return self._kernel.labels if self._quick is None else SettledLabels(self._quick(), self._kernel)

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
