"""Which values the constructors' parameters may have, as scikit-learn's validation takes them."""

from __future__ import annotations

import os
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any

from sklearn.utils._param_validation import Interval, StrOptions

from dask_gmm.model.covariance import NOISES, conjugate_types, covariance_types

Constraints = Mapping[str, list[Any]]

#: Parameters of `GaussianMixtureIC` that mean what they mean in `GaussianMixture`.
SHARED = (
    "reg_covar",
    "max_iter",
    "n_init",
    "init_params",
    "random_state",
    "cache",
    "checkpoint",
    "accelerate",
    "nan",
    "noise",
    "background",
    "background_volume",
    "missing",
    "mean_prior",
    "mean_precision_prior",
    "covariance_prior",
    "degrees_of_freedom_prior",
)

#: Of all estimators of one mixture.
_ONE_MIXTURE: Constraints = {
    "n_components": [Interval(Integral, 1, None, closed="left")],
    "tol": [Interval(Real, 0.0, None, closed="left")],
    "reg_covar": [Interval(Real, 0.0, None, closed="left")],
    "max_iter": [Interval(Integral, 0, None, closed="left")],
    "n_init": [Interval(Integral, 1, None, closed="left")],
    "init_params": [StrOptions({"kmeans", "random", "random_from_data", "k-means++", "sample"})],
    "random_state": ["random_state"],
    "warm_start": ["boolean"],
    "verbose": ["verbose"],
    "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    "cache": [StrOptions({"auto"}), "boolean"],
    "checkpoint": [str, os.PathLike, None],
    "nan": [StrOptions({"error", "drop"})],
    "missing": [StrOptions({"error", "em"})],
}

_PRIORS: Constraints = {
    "mean_precision_prior": [None, Interval(Real, 0.0, None, closed="neither")],
    "mean_prior": [None, "array-like"],
    "degrees_of_freedom_prior": [None, Interval(Real, 0.0, None, closed="neither")],
    "covariance_prior": [None, "array-like", Interval(Real, 0.0, None, closed="neither")],
}

GAUSSIAN_MIXTURE: Constraints = {
    **_ONE_MIXTURE,
    "covariance_type": [StrOptions(set(covariance_types()))],
    "n_factors": [Interval(Integral, 1, None, closed="left")],
    "noise": [StrOptions(set(NOISES))],
    "background": [StrOptions({"uniform"}), None],
    "background_volume": [Interval(Real, 0.0, None, closed="neither"), None],
    "weights_init": ["array-like", None],
    "means_init": ["array-like", None],
    "precisions_init": ["array-like", None],
    "accelerate": ["boolean"],
    "contamination": [Interval(Real, 0.0, 0.5, closed="right"), None],
    "step_exponent": [Interval(Real, 0.5, 1.0, closed="right")],
    "step_offset": [Interval(Real, 0.0, None, closed="left")],
    **{name: [*constraint, StrOptions({"auto"})] for name, constraint in _PRIORS.items()},
    "mean_precision_prior": [None, StrOptions({"auto"}), Interval(Real, 0.0, None, closed="left")],
}

BAYESIAN_GAUSSIAN_MIXTURE: Constraints = {
    **_ONE_MIXTURE,
    "covariance_type": [StrOptions(set(conjugate_types()))],
    "weight_concentration_prior_type": [StrOptions({"dirichlet_process", "dirichlet_distribution"})],
    "weight_concentration_prior": [None, Interval(Real, 0.0, None, closed="neither")],
    **_PRIORS,
}

GAUSSIAN_MIXTURE_IC: Constraints = {
    "n_components": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "covariance_type": [StrOptions(set(covariance_types())), "array-like"],
    "n_factors": [Interval(Integral, 1, None, closed="left"), "array-like"],
    "criterion": [StrOptions({"bic", "aic", "icl"})],
    "tol": [Interval(Real, 0.0, None, closed="left"), StrOptions({"auto"})],
    "verbose": ["verbose"],
    **{name: GAUSSIAN_MIXTURE[name] for name in SHARED},
}
