"""The mode of the posterior under a conjugate prior: components that cannot collapse."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.density import Density
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.estimation.prior import Prior
from dask_gmm.model.moments import Moments
from dask_gmm.model.mstep import check_size, guarded, well_defined
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PosteriorMode(Estimation):
    """EM for the posterior mode.

    Fraley and Raftery, Bayesian regularization for normal mixture estimation and model-based clustering
    (2007), section 3, as the package mclust has it.

    Attributes
    ----------
    prior : Prior
    weight : float
        Sum of the weights of all rows, once it is informed.
    """

    prior: Prior
    weight: float = np.nan
    has_prior = True

    @property
    def asks_rows(self) -> bool:
        return self.prior.asks_rows

    def informed(self, moments: Moments) -> PosteriorMode:
        prior = self.prior.informed(moments, len(moments.mean) + 2.0)
        return replace(self, prior=prior, weight=moments.all_weight)

    def density(self, parameters: Parameters) -> Density:
        return Density.of(parameters)

    def objective(self, parameters: Parameters, statistics: Statistics) -> float:
        return statistics.mean_log_likelihood + self.log_prior(parameters) / statistics.totals.weight

    def log_prior(self, parameters: Parameters) -> float:
        """Return the log density of the prior up to a constant, in nats."""
        mean, precision, freedom, scale = self.prior.complete
        structure, factors = parameters.structure, parameters.precisions_cholesky
        n_components, n_features = parameters.means.shape
        constant, _ = structure.prior_counts(n_components, n_features, precision > 0.0)
        log_volumes, traces = structure.volumes_and_traces(factors, scale, n_features)
        whitened = structure.whitened_moves(parameters.means - mean, factors)
        exponent = (freedom + constant) * float(np.sum(log_volumes)) + float(np.sum(traces))
        return -0.5 * (exponent + precision * float((whitened**2).sum()))

    def maximize(
        self,
        parameters: Parameters,
        statistics: Statistics,
        origins: Array,
        *,
        reg_covar: float,
        dtype: np.dtype[np.floating],
    ) -> Parameters:
        nk = guarded(statistics.nk, dtype)
        shift = statistics.first / nk[:, np.newaxis]
        spread = parameters.structure.estimate(
            statistics.second, nk, shift, 0.0, previous=parameters.covariances
        )
        return self._mode(parameters, nk, origins + shift, spread, reg_covar, dtype)

    def started(self, parameters: Parameters) -> Parameters:
        nk = parameters.weights * self.weight
        double = np.dtype(np.float64)
        return self._mode(parameters, nk, parameters.means, parameters.covariances, 0.0, double)

    def _mode(
        self,
        parameters: Parameters,
        nk: Array,
        means: Array,
        spread: Array,
        reg_covar: float,
        dtype: np.dtype[np.floating],
    ) -> Parameters:
        """Return the mode from counts, means and covariances of the components' rows."""
        mean, precision, freedom, scale = self.prior.complete
        structure = parameters.structure
        constant, times = structure.prior_counts(means.shape[0], means.shape[1], precision > 0.0)
        scatter = structure.scatter(spread, nk, means - mean, precision / (precision + nk))
        copies = structure.scatter_copies(means.shape[0], means.shape[1])
        divisors = np.asarray(freedom + constant + times * structure.occupation(nk))
        covariances = structure.with_reg_covar(structure.over(scale + copies * scatter, divisors), reg_covar)
        check_size(covariances)
        pulled = (nk[:, np.newaxis] * means + precision * mean) / (nk + precision)[:, np.newaxis]
        return well_defined(parameters.covariance_type, nk / nk.sum(), pulled, covariances, dtype)
