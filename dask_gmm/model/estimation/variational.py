"""The variational posterior of a Bayesian mixture, with scikit-learn's conventions.

Bishop, Pattern Recognition and Machine Learning (2006), section 10.2; Blei and Jordan, Variational inference
for Dirichlet process mixtures (2006). Rows are evaluated by the expected logarithm of their density, which is
that of a Gaussian but for a constant; so passes and kernels are those of any mixture.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaln, digamma, gammaln

from dask_gmm.model.density import Density
from dask_gmm.model.entropy import entropy
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.estimation.prior import Prior
from dask_gmm.model.moments import Moments
from dask_gmm.model.mstep import check_size, guarded, well_defined
from dask_gmm.model.parameters import Parameters, Posterior
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Variational(Estimation):
    """Coordinate ascent on the variational bound.

    Attributes
    ----------
    prior : Prior
        Of means and covariances.
    concentration : float
        Of the weights.
    process : bool
        Whether weights are broken off a stick (Dirichlet process), or Dirichlet.
    per_row : bool
        Whether the bound is divided by the number of rows; scikit-learn's is not.
    weight : float
        Sum of the weights of all rows, once it is informed.
    """

    prior: Prior
    concentration: float
    process: bool
    per_row: bool
    weight: float = np.nan
    has_prior = True
    is_likelihood = False

    def informed(self, moments: Moments) -> Variational:
        prior = self.prior.informed(moments, float(len(moments.mean)))
        return replace(self, prior=prior, weight=moments.all_weight)

    def started(self, parameters: Parameters) -> Parameters:
        return self._posterior(
            parameters,
            parameters.weights * self.weight,
            parameters.means,
            parameters.covariances,
            np.dtype(np.float64),
        )

    def density(self, parameters: Parameters) -> Density:
        return expected_density(parameters)

    def objective(self, parameters: Parameters, statistics: Statistics) -> float:
        # The bound is of the posterior that this pass leads to: see `objective_after`.
        return -np.inf

    def objective_after(
        self,
        objective: float,
        statistics: Statistics,
        origins: Array,
        density: Density,
        maximized: Parameters,
    ) -> float:
        bound = entropy(density, statistics, origins) + log_evidence(maximized, self.process)
        return bound / statistics.totals.weight if self.per_row else bound

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
            statistics.second, nk, shift, reg_covar, previous=parameters.covariances
        )
        return self._posterior(parameters, nk, origins + shift, spread, dtype)

    def _posterior(
        self, parameters: Parameters, nk: Array, means: Array, spread: Array, dtype: np.dtype[np.floating]
    ) -> Parameters:
        """Return the posterior from counts, means and covariances of the components' rows."""
        mean, precision, freedom, scale = self.prior.complete
        structure = parameters.structure
        if self.process:
            after = np.append(np.cumsum(nk[::-1])[-2::-1], 0.0)
            concentration = np.stack([1.0 + nk, self.concentration + after])
        else:
            concentration = self.concentration + nk
        mean_precision = precision + nk
        degrees = np.asarray(freedom + structure.occupation(nk))
        pulled = (precision * mean + nk[:, np.newaxis] * means) / mean_precision[:, np.newaxis]
        scatter = structure.scatter(spread, nk, means - mean, precision / mean_precision)
        covariances = structure.over(scale + scatter, degrees)
        check_size(covariances)
        found = well_defined(
            parameters.covariance_type, expected_weights(concentration), pulled, covariances, dtype
        )
        return replace(found, posterior=Posterior(concentration, mean_precision, degrees))


def expected_weights(concentration: Array) -> Array:
    """Return the mean of the weights: of shape (2, K) by breaking a stick, of shape (K,) of a Dirichlet."""
    if concentration.ndim == 1:
        weights: Array = concentration / concentration.sum()
        return weights
    total = concentration.sum(axis=0)
    left = concentration[1] / total
    weights = concentration[0] / total * np.append(1.0, np.cumprod(left[:-1]))
    normal: Array = weights / weights.sum()
    return normal


def expected_log_weights(concentration: Array) -> Array:
    """Return the mean of the logarithm of the weights."""
    if concentration.ndim == 1:
        logs: Array = digamma(concentration) - digamma(concentration.sum())
        return logs
    total = digamma(concentration.sum(axis=0))
    before = np.append(0.0, np.cumsum(digamma(concentration[1]) - total)[:-1])
    broken: Array = digamma(concentration[0]) - total + before
    return broken


def expected_density(parameters: Parameters) -> Density:
    """Return what rows are evaluated by: weights hold all that is constant, and do not sum to one."""
    posterior = parameters.posterior
    assert posterior is not None
    n_features = parameters.n_features
    degrees = np.broadcast_to(posterior.degrees_of_freedom, (parameters.n_components,))
    log_precision = n_features * np.log(2.0) + digamma(
        0.5 * (degrees - np.arange(n_features)[:, np.newaxis])
    ).sum(axis=0)
    logs = (
        expected_log_weights(posterior.weight_concentration)
        - 0.5 * n_features * np.log(degrees)
        + 0.5 * (log_precision - n_features / posterior.mean_precision)
    )
    return replace(Density.of(parameters), weights=np.exp(logs))


def log_evidence(parameters: Parameters, process: bool) -> float:
    """Return the bound without the entropy of responsibilities, constants left out as scikit-learn does."""
    posterior = parameters.posterior
    assert posterior is not None
    n_components, n_features = parameters.means.shape
    degrees, concentration = posterior.degrees_of_freedom, posterior.weight_concentration
    log_det = parameters.structure.log_det(parameters.precisions_cholesky, n_components, n_features)
    log_det = log_det - 0.5 * n_features * np.log(degrees)
    degrees = np.broadcast_to(degrees, (n_components,))
    log_wishart = -(
        degrees * log_det
        + degrees * n_features * 0.5 * np.log(2.0)
        + gammaln(0.5 * (degrees - np.arange(n_features)[:, np.newaxis])).sum(axis=0)
    )
    if process:
        log_weights = -betaln(concentration[0], concentration[1]).sum()
    else:
        log_weights = gammaln(concentration.sum()) - gammaln(concentration).sum()
    return float(-log_wishart.sum() - log_weights - 0.5 * n_features * np.log(posterior.mean_precision).sum())
