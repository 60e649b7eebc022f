"""Sufficient statistics of a stream, in which what came long ago counts less and less."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.matrices import add_to_diagonals
from dask_gmm.model.covariance.triangles import pack
from dask_gmm.model.kept_statistics import KeptStatistics, recentred
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RunningSums:
    """The sums of stepwise EM, per unit of weight.

    Cappé and Moulines, On-line expectation-maximization algorithm for latent data models (2009). Means move
    from batch to batch, but what the sums are about must not: so it stays where the stream began.

    Attributes
    ----------
    origins : ndarray of shape (n_components, n_features)
        The means with which the stream began, which the moments are about.
    nk : ndarray of shape (n_components,)
        Mean responsibilities.
    first : ndarray of shape (n_components, n_features)
        Means of r (x - origin).
    second : ndarray
        Means of r (x - origin)(x - origin)^T, in the covariance type's shape.
    n_batches : int
        Batches so far, the first one included.
    n_rows : int
        Rows of all batches.
    weight : float
        Sum of their weights.
    """

    origins: Array
    nk: Array
    first: Array
    second: Array
    n_batches: int
    n_rows: int
    weight: float

    @classmethod
    def of_kept(cls, kept: KeptStatistics, means: Array) -> RunningSums:
        """Return the sums of a fit as the first batch of a stream, about `means`."""
        totals = kept.statistics.totals
        moved = recentred(kept.statistics, kept.parameters, kept.origins, means)
        weight = totals.weight
        return cls(
            means, moved.nk / weight, moved.first / weight, moved.second / weight, 1, totals.n_rows, weight
        )

    @classmethod
    def of_mixture(cls, parameters: Parameters, reg_covar: float) -> RunningSums:
        """Return sums whose M-step is a mixture of which no sums are known, as if of no rows."""
        shape, weights = parameters.means.shape, parameters.weights
        matrices = parameters.structure.as_matrices(parameters.covariances, *shape).copy()
        add_to_diagonals(matrices, -reg_covar)
        second = parameters.structure.second_of_matrices(
            pack(weights[:, np.newaxis, np.newaxis] * matrices), parameters.precisions_cholesky
        )
        return cls(parameters.means, weights, np.zeros(shape), second, 1, 0, 0.0)

    def step(self, batch: Statistics, parameters: Parameters, origins: Array, size: float) -> RunningSums:
        """Return the sums after one more batch.

        Parameters
        ----------
        batch : Statistics
            Of the batch by `parameters`, about `origins`.
        parameters : Parameters
        origins : ndarray of shape (n_components, n_features)
        size : float
            The step size: the share of the batch in the sums.
        """
        totals = batch.totals
        found = recentred(batch, parameters, origins, self.origins)
        return RunningSums(
            self.origins,
            self.nk + size * (found.nk / totals.weight - self.nk),
            self.first + size * (found.first / totals.weight - self.first),
            self.second + size * (found.second / totals.weight - self.second),
            self.n_batches + 1,
            self.n_rows + totals.n_rows,
            self.weight + totals.weight,
        )

    @property
    def statistics(self) -> Statistics:
        """The sums as if all rows were like them, for the M-step."""
        scale = max(self.weight, 1.0)
        totals = Totals(0.0, scale, self.n_rows)
        return Statistics(scale * self.nk, scale * self.first, scale * self.second, totals, np.zeros(0))


def step_size(n_batches: int, exponent: float, offset: float) -> float:
    """Return the share of the next batch in the sums, after so many: (n_batches + offset)^-exponent."""
    return float((n_batches + offset) ** -exponent)
