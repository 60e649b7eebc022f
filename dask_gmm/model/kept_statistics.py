"""What a fit leaves behind so that rows which come later can be added without reading its own again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class KeptStatistics:
    """The last E-step of all rows: the M-step of these sums is the fitted mixture.

    Sums of other rows, evaluated by the same parameters, add to them. So the M-step of the total is the step
    that EM makes on all rows together.

    Attributes
    ----------
    parameters : Parameters
        The mixture that the rows were evaluated by, before the last M-step.
    origins : ndarray of shape (n_components, n_features)
        What the moments in `statistics` are about.
    statistics : Statistics
        The sums over all rows.
    """

    parameters: Parameters
    origins: Array
    statistics: Statistics

    @property
    def n_bytes(self) -> int:
        """Size of all numbers."""
        parameters, statistics = self.parameters, self.statistics
        return sum(
            array.nbytes
            for array in (
                parameters.weights,
                parameters.means,
                parameters.covariances,
                parameters.precisions_cholesky,
                self.origins,
                statistics.nk,
                statistics.first,
                statistics.second,
                statistics.more,
            )
        )

    def with_rows(self, parameters: Parameters, statistics: Statistics, origins: Array) -> KeptStatistics:
        """Return the sums of more rows: `statistics`, about `origins`, found by `parameters`."""
        own, other = self.statistics, recentred(statistics, parameters, origins, self.origins)
        # Rows that were observed in another way have other sums besides: see `adds_up`.
        more = own.more + other.more if own.more.shape == other.more.shape else np.zeros(0)
        totals = replace(own.totals)
        totals.add(other.totals)
        total = Statistics(
            own.nk + other.nk, own.first + other.first, own.second + other.second, totals, more
        )
        return KeptStatistics(parameters, self.origins, total)


def adds_up(statistics: Statistics) -> bool:
    """Return whether sums of different rows add up to those of all of them.

    Where features are filled up for the M-step by how many rows have them, which types of variances do to
    rows with missing values, they do not.
    """
    return not statistics.more.size or bool((statistics.more == statistics.nk[:, np.newaxis]).all())


def recentred(statistics: Statistics, parameters: Parameters, before: Array, after: Array) -> Statistics:
    """Return statistics about other origins.

    Parameters
    ----------
    statistics : Statistics
    parameters : Parameters
        By which the rows were evaluated.
    before, after : ndarray of shape (n_components, n_features)
        What they are about, and what they are to be about.
    """
    if (before == after).all():
        return statistics
    distances = before - after
    counts = np.where(statistics.nk > 0.0, statistics.nk, 1.0)
    shift = statistics.first / counts[:, np.newaxis]
    second = statistics.second.copy()
    for k, count in enumerate(statistics.nk):
        # The squares of the mean's distances from both origins are no larger than the second moments that
        # they are parts of: nothing cancels that would not in the M-step.
        deviations = np.stack([shift[k] + distances[k], shift[k]])
        parameters.structure.add_second(
            second, deviations, np.array([count, -count]), k, parameters.precisions_cholesky
        )
    first = statistics.first + statistics.nk[:, np.newaxis] * distances
    return replace(statistics, first=first, second=second)
