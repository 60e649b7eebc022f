"""How good fitted mixtures are: likelihood, entropy, and the criteria that weigh them against parameters."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.entropy import entropy
from dask_gmm.model.observation.observation import Kernel
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Evaluation:
    """A mixture on all rows.

    Attributes
    ----------
    log_likelihood : float
        The sum over the rows, in nats.
    entropy : float
        Sum over the rows of the entropy of their responsibilities, in nats: zero where there is no doubt to
        which component a row belongs.
    weight : float
        Number of rows, or sum of their weights.
    n_free : int
        Free parameters.
    """

    log_likelihood: float
    entropy: float
    weight: float
    n_free: int

    @classmethod
    def of(cls, kernel: Kernel, statistics: Statistics, n_free: int) -> Evaluation:
        """Return the evaluation of a mixture with `n_free` parameters by what its kernel found."""
        totals = statistics.totals
        doubt = entropy(kernel.density, statistics, kernel.origins)
        return cls(totals.log_likelihood, doubt, totals.weight, n_free)

    @property
    def bic(self) -> float:
        """Schwarz, Estimating the Dimension of a Model (1978): -2 log L + p log n."""
        return -2.0 * self.log_likelihood + self.n_free * math.log(self.weight)

    @property
    def aic(self) -> float:
        """Akaike, A New Look at the Statistical Model Identification (1974): -2 log L + 2 p."""
        return -2.0 * self.log_likelihood + 2.0 * self.n_free

    @property
    def icl(self) -> float:
        """BIC plus twice the entropy: clusters that overlap count as fewer.

        Biernacki, Celeux and Govaert, Assessing a Mixture Model for Clustering with the Integrated Completed
        Likelihood (2000).
        """
        return self.bic + 2.0 * self.entropy
