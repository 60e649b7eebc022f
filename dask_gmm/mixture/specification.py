"""What decides a fit, made of the parameters of an estimator of one mixture."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from sklearn.utils import check_random_state

from dask_gmm.data.source import Source
from dask_gmm.engine.cache import Cache
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.mixture.fit import FitSpec, mixture_settings
from dask_gmm.mixture.fitted import observation_of
from dask_gmm.mixture.priors import OverSomething, estimation_of
from dask_gmm.mixture.validation import start_settings
from dask_gmm.mixture.warm_start import Continued, warm_start
from dask_gmm.model.covariance import asked_type
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.observation.complete import COMPLETE


class OneMixture(Continued, Protocol):
    """The parameters that all estimators of one mixture have, by their names."""

    n_components: int
    tol: float
    reg_covar: float
    max_iter: int
    n_init: int
    init_params: str
    random_state: Any
    warm_start: bool
    cache: Cache
    checkpoint: str | os.PathLike[str] | None
    missing: str

    def get_params(self, deep: bool = True) -> dict[str, Any]:
        """Return all of them."""


class MixtureParameters(OneMixture, OverSomething, Protocol):
    """The parameters of a `GaussianMixture`, by their names."""

    weights_init: Any
    means_init: Any
    precisions_init: Any
    accelerate: bool


def fit_spec(estimator: MixtureParameters, source: Source, features: Mapping[str, Any]) -> FitSpec:
    """Return what decides a fit of `estimator` to `source`.

    Parameters
    ----------
    estimator : GaussianMixture
        With valid parameters.
    source : Source
        The rows.
    features : mapping
        Attributes that describe their features.

    Raises
    ------
    ValueError
        Given parts of the start that do not make one, or a last fit that cannot be continued.
    """
    start = start_settings(
        source.n_features,
        n_components=estimator.n_components,
        covariance_type=asked_type(vars(estimator)),
        init_params=estimator.init_params,
        reg_covar=estimator.reg_covar,
        weights_init=estimator.weights_init,
        means_init=estimator.means_init,
        precisions_init=estimator.precisions_init,
    )
    estimation = estimation_of(estimator, start, source.n_features)
    if estimator.background is not None and observation_of(estimator, source) is not COMPLETE:
        raise ValueError(
            "background does not go with measurement errors: fit without X_err, or without a background."
        )
    return spec_of_one(
        estimator, source, features, start=start, estimation=estimation, accelerate=estimator.accelerate
    )


def spec_of_one(
    estimator: OneMixture,
    source: Source,
    features: Mapping[str, Any],
    *,
    start: StartSettings,
    estimation: Estimation,
    accelerate: bool,
) -> FitSpec:
    """Return what decides a fit of one mixture, from a start and to an end of its own.

    Raises
    ------
    ValueError
        A last fit that cannot be continued.
    """
    continues = estimator.warm_start and hasattr(estimator, "converged_")
    settings = mixture_settings(
        source,
        start,
        tol=estimator.tol,
        max_iter=estimator.max_iter,
        n_init=estimator.n_init,
        accelerate=accelerate,
        observation=observation_of(estimator, source),
        estimation=estimation,
        warm=warm_start(estimator, start, source.n_features, features) if continues else None,
    )
    return FitSpec(
        mixtures=(settings,),
        random_states=(check_random_state(estimator.random_state),),
        parameters=estimator.get_params(deep=False),
        cache=estimator.cache,
        checkpoint=estimator.checkpoint,
    )
