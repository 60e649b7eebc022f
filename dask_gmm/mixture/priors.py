"""From the priors that users give to estimations, and from posteriors to attributes."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_array

from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.model.covariance import conjugate_types, covariance_structure
from dask_gmm.model.estimation.background import OverBackground
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.estimation.posterior_mode import PosteriorMode
from dask_gmm.model.estimation.prior import Prior
from dask_gmm.model.estimation.variational import Variational
from dask_gmm.model.parameters import Posterior

Array = NDArray[np.float64]

# What mclust takes where nothing is given.
_MEAN_PRECISION = 0.01


class WithPriors(Protocol):
    """The parameters that say a prior; in `GaussianMixture` each may be 'auto'."""

    mean_prior: Any
    mean_precision_prior: Any
    covariance_prior: Any
    degrees_of_freedom_prior: Any


class Bayesian(WithPriors, Protocol):
    """The parameters of a `BayesianGaussianMixture` that say its prior."""

    weight_concentration_prior_type: str
    weight_concentration_prior: float | None


class OverSomething(WithPriors, Protocol):
    """Parameters that say what there is besides components, too."""

    background: str | None
    background_volume: float | None
    accelerate: bool
    missing: str


def estimation_of(estimator: OverSomething, start: StartSettings, n_features: int) -> Estimation:
    """Return what a `GaussianMixture` estimates: the likelihood's maximum, or with a prior the posterior's.

    Raises
    ------
    ValueError
        A prior of another shape, or out of range; or of a covariance type that has none. A background beside
        what it does not go with.
    """
    within = _of_components(estimator, start, n_features)
    if estimator.background is None:
        return within
    for name, given, needed in (
        ("accelerate", estimator.accelerate, False),
        ("missing", estimator.missing, "error"),
    ):
        if given != needed:
            raise ValueError(f"background={estimator.background!r} does not go with {name}={given!r}.")
    volume = estimator.background_volume
    return OverBackground(
        within, None if volume is None else math.log(volume), n_free_of_background(estimator)
    )


def n_free_of_background(estimator: object) -> int:
    """Return its free parameters: its weight, and its volume where the data say it, as mclust counts."""
    return 2 if getattr(estimator, "background_volume", None) is None else 1


def _of_components(estimator: WithPriors, start: StartSettings, n_features: int) -> Estimation:
    given = (
        estimator.mean_prior,
        estimator.mean_precision_prior,
        estimator.covariance_prior,
        estimator.degrees_of_freedom_prior,
    )
    if all(part is None for part in given):
        return MAXIMUM_LIKELIHOOD
    if not covariance_structure(start.covariance_type).has_conjugate_prior:
        raise ValueError(
            f"There is no conjugate prior for covariance_type={start.covariance_type!r}: leave mean_prior, "
            "mean_precision_prior, covariance_prior and degrees_of_freedom_prior at None, and raise "
            f"reg_covar where components collapse; or use one of {', '.join(conjugate_types())}."
        )
    prior = _prior(estimator, start, n_features, _MEAN_PRECISION)
    return PosteriorMode(replace(prior, shrunk=True))


def variational(estimator: Bayesian, start: StartSettings, n_features: int, *, per_row: bool) -> Variational:
    """Return what a `BayesianGaussianMixture` estimates.

    Raises
    ------
    ValueError
        A prior of another shape, or out of range, in scikit-learn's words.
    """
    concentration = estimator.weight_concentration_prior
    return Variational(
        _prior(estimator, start, n_features, 1.0),
        1.0 / start.n_components if concentration is None else float(concentration),
        process=estimator.weight_concentration_prior_type == "dirichlet_process",
        per_row=per_row,
    )


def prior_attributes(estimation: Variational) -> dict[str, Any]:
    """Return the prior that a fit used, by scikit-learn's names."""
    mean, precision, freedom, scale = estimation.prior.complete
    return {
        "weight_concentration_prior_": estimation.concentration,
        "mean_prior_": mean,
        "mean_precision_prior_": precision,
        "degrees_of_freedom_prior_": freedom,
        "covariance_prior_": scale if scale.ndim else float(scale),
    }


def posterior_attributes(run: Run, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return what a run says of the posterior, by scikit-learn's names."""
    posterior = run.parameters.posterior
    assert posterior is not None
    concentration = posterior.weight_concentration.astype(dtype)
    return {
        "weight_concentration_": tuple(concentration) if concentration.ndim > 1 else concentration,
        "mean_precision_": posterior.mean_precision.astype(dtype),
        "degrees_of_freedom_": posterior.degrees_of_freedom.astype(dtype)[()],
    }


def fitted_posterior(estimator: Any) -> Posterior | None:
    """Return the posterior that a fitted estimator holds, None where it holds a mixture only."""
    if not hasattr(estimator, "weight_concentration_"):
        return None
    return Posterior(
        np.array(estimator.weight_concentration_, dtype=np.float64),
        np.array(estimator.mean_precision_, dtype=np.float64),
        np.array(estimator.degrees_of_freedom_, dtype=np.float64),
    )


def _prior(estimator: WithPriors, start: StartSettings, n_features: int, mean_precision: float) -> Prior:
    """Return the prior that is given, with this precision of the mean where none is."""
    mean, precision, scale, freedom = (
        None if isinstance(part, str) and part == "auto" else part
        for part in (
            estimator.mean_prior,
            estimator.mean_precision_prior,
            estimator.covariance_prior,
            estimator.degrees_of_freedom_prior,
        )
    )
    return Prior(
        start.covariance_type,
        start.n_components,
        None if mean is None else _mean(mean, n_features),
        mean_precision if precision is None else float(precision),
        None if freedom is None else _freedom(float(freedom), n_features),
        None if scale is None else _scale(scale, start.covariance_type, n_features),
    )


def _mean(given: Any, n_features: int) -> Array:
    mean = np.asarray(check_array(given, dtype=np.float64, ensure_2d=False))
    if mean.shape != (n_features,):
        raise ValueError(
            f"The parameter 'means' should have the shape of {(n_features,)}, but got {mean.shape}"
        )
    return mean


def _freedom(freedom: float, n_features: int) -> float:
    if not freedom > n_features - 1.0:
        raise ValueError(
            "The parameter 'degrees_of_freedom_prior' should be greater than "
            f"{n_features - 1:d}, but got {freedom:.3f}."
        )
    return freedom


def _scale(given: Any, covariance_type: str, n_features: int) -> Array:
    structure = covariance_structure(covariance_type)
    expected = structure.scale_of(np.eye(n_features), equal=False)
    if not expected.ndim:
        return np.asarray(float(given))
    scale = np.asarray(check_array(given, dtype=np.float64, ensure_2d=False))
    if scale.shape != expected.shape:
        raise ValueError(
            f"The parameter '{covariance_type} covariance_prior' should have the shape of {expected.shape}, "
            f"but got {scale.shape}"
        )
    structure.check_precisions(scale)
    return scale
