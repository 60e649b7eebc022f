"""The entropy of responsibilities, from the sufficient statistics alone."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


def entropy(density: Density, statistics: Statistics, origins: Array) -> float:
    """Return the sum of the entropies of the responsibilities, in nats.

    It is the log-likelihood less the expected complete-data log-likelihood, which the statistics that the
    M-step needs determine already.

    Parameters
    ----------
    density : Density
    statistics : Statistics
        What the E-step of this mixture gave.
    origins : ndarray of shape (n_components, n_features)
        What the moments in `statistics` are about.
    """
    nk = statistics.nk
    present = nk > 0.0
    counts = np.where(present, nk, 1.0)
    shift = statistics.first / counts[:, np.newaxis]
    structure, factors = density.structure, density.precisions_cholesky
    squares = structure.squared_distances(statistics.second, counts, nk, shift, factors)
    distances = origins + shift - density.means
    for k in np.flatnonzero(present):
        whitened = structure.whitened(distances[k : k + 1], np.zeros(density.n_features), factors, int(k))
        squares += nk[k] * float((whitened**2).sum())
    logs = density.log_factors[present] - 0.5 * density.n_features * math.log(2.0 * math.pi)
    complete = float(nk[present] @ logs) - 0.5 * squares
    if density.background > -math.inf:
        complete += max(0.0, statistics.totals.weight - float(nk.sum())) * density.background
    return max(0.0, statistics.totals.log_likelihood - complete)
