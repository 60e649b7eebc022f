"""Rows of which every number is known exactly."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.kernels.prepared import Labels, Prepared
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.observation import Kernel, Observation, Observed
from dask_gmm.model.statistics import Statistics, Totals


@dataclass(frozen=True)
class Complete(Observation):
    """A row is the point that it says: its density is the mixture's, its moments are its own."""

    def kernel(self, density: Density, dtype: np.dtype[Any]) -> Kernel:
        prepared = density.structure.kernel(density.components, dtype)
        return CompleteKernel(density, prepared.over(density.background, density.means))


class CompleteKernel:
    """Makes the statistics of a mixture from a compiled kernel's sums; see `Kernel` for the methods.

    Parameters
    ----------
    density : Density
    prepared : Prepared
    """

    def __init__(self, density: Density, prepared: Prepared) -> None:
        self.density, self.origins = density, prepared.origins
        # What a background takes of the rows is in no sum.
        self.exact = density.background == -math.inf
        self._prepared = prepared

    def told(self, observed: Observed) -> None:
        return None

    def log_density(self, observed: Observed, out: NDArray[Any]) -> None:
        rows = observed.rows
        self._prepared.kernel.log_density(rows, out)
        far = np.flatnonzero(np.isnan(out))
        if len(far):
            answer = np.empty(len(far))
            self._prepared.far().log_density(rows[far].astype(np.float64), answer)
            # Nothing is left of a density whose logarithm is beyond float64.
            answer[np.isnan(answer) & np.isfinite(rows[far]).all(axis=1)] = -np.inf
            with np.errstate(over="ignore"):
                out[far] = answer.astype(out.dtype)

    def responsibilities(self, observed: Observed, out: NDArray[Any]) -> None:
        rows = observed.rows
        self._prepared.kernel.responsibilities(rows, out)
        far = np.flatnonzero(np.isnan(out[:, 0]))
        if len(far):
            answer = np.empty((len(far), out.shape[1]))
            self._prepared.far().responsibilities(rows[far].astype(np.float64), answer)
            out[far] = answer

    def labels(self, observed: Observed, out: NDArray[np.int64]) -> None:
        self._labels(observed.rows, out)

    @cached_property
    def _labels(self) -> Labels:
        return self._prepared.labels()

    @property
    def leaves_second_out(self) -> bool:
        """Whether second moments are those of all rows together, which `completed` adds."""
        return self._prepared.second_of_scatter is not None

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        rows, weights = observed.rows, observed.weights
        log_likelihood, sums = self._prepared.kernel.statistics(rows, weights)
        n_features = self.density.n_features
        np.add(statistics.nk, sums[:, 0], out=statistics.nk)
        np.add(statistics.first, sums[:, 1 : n_features + 1], out=statistics.first)
        if self._prepared.second_of_scatter is None:
            second = self.density.structure.pooled(sums[:, n_features + 1 :])
            np.add(statistics.second, second, out=statistics.second)
        weight = float(len(rows)) if weights is None else float(weights.sum())
        statistics.totals.add(Totals(log_likelihood, weight, len(rows)))

    def completed(self, statistics: Statistics, moments: Moments) -> Statistics:
        if self._prepared.second_of_scatter is not None:
            # One origin for all components: with it the sum of their moments is that of the rows.
            scatter = moments.scatter_about(self.origins[0])
            statistics.second[...] = self._prepared.second_of_scatter(scatter)
        return statistics


#: It has no state: this one is enough.
COMPLETE = Complete()
