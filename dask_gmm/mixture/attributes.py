"""The attributes that a fit sets, and the one place that sets them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.mixture.fitted import attribute_shapes
from dask_gmm.model.parameters import Parameters

# What not every fit sets, so that each has to forget it.
_OPTIONAL = (
    "feature_names_in_",
    "feature_dim_",
    "nan_",
    "threshold_",
    "background_weight_",
    "background_log_volume_",
    "statistics_",
    "update_",
    "n_samples_seen_",
    "_stream",
)


def fitted_attributes(run: Run, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the attributes that a run gives, numbers in the dtype of the rows."""
    bounds = list(_of_dtype(np.array(run.lower_bounds), dtype))
    return {
        **parameter_attributes(run.parameters, dtype),
        "converged_": run.converged,
        "n_iter_": run.n_iter,
        "lower_bound_": bounds[-1] if bounds else -np.inf,
        "lower_bounds_": bounds,
        **({} if run.kept is None else {"statistics_": run.kept}),
    }


def parameter_attributes(parameters: Parameters, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the attributes that say what a mixture is, numbers in `dtype`."""
    background = parameters.background
    of_background = (
        {}
        if background is None
        else {"background_weight_": background.weight, "background_log_volume_": background.log_volume}
    )
    return {
        **of_background,
        # A parameter may be set to something else afterwards; what was fitted stays.
        "covariance_type_": parameters.covariance_type,
        **{
            f"{name}_": _of_dtype(array, dtype)
            for name, array in {
                "weights": parameters.weights,
                "means": parameters.means,
                **parameters.structure.attributes(parameters.covariances, parameters.precisions_cholesky),
            }.items()
        },
    }


def _of_dtype(array: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def given_parts(start: StartSettings) -> dict[str, Any]:
    """Return the given parts of a start by the parameters' names: scikit-learn keeps them as checked."""
    parts = {"weights_init": start.weights, "means_init": start.means, "precisions_init": start.precisions}
    return {name: part for name, part in parts.items() if part is not None}


def set_fitted(estimator: object, attributes: Mapping[str, Any], keep: Collection[str] = ()) -> None:
    """Set what a fit found: all of it, or nothing.

    Parameters
    ----------
    estimator : GaussianMixture or GaussianMixtureIC
    attributes : mapping
    keep : collection of str
        Attributes that stay although `attributes` does not have them, as when rows are added.

    Raises
    ------
    DataError
        Parameters that the dtype of the rows cannot hold.
    """
    _check_held(attributes)
    if "covariance_type_" in vars(estimator):
        # Those of another covariance type have other names.
        for name in attribute_shapes(estimator.covariance_type_, estimator.means_):  # type: ignore[attr-defined]
            vars(estimator).pop(name, None)
    # Rows without names, and fits without a threshold, forget those of an earlier fit.
    for name in _OPTIONAL:
        if name not in keep:
            vars(estimator).pop(name, None)
    for name, value in attributes.items():
        setattr(estimator, name, value)


def _check_held(attributes: Mapping[str, Any]) -> None:
    for name in attribute_shapes(attributes["covariance_type_"], attributes["means_"]):
        array = attributes[name]
        if not np.isfinite(array).all():
            advice = " or pass float64 data" if array.dtype == np.float32 else ""
            raise DataError(
                f"The fitted {name} are beyond what {array.dtype} can hold: the values of X are too large, "
                "or too small, for their squares or the inverses of these. Scale the input data"
                f"{advice}."
            )
