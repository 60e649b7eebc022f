"""Between the parameters of a mixture and the attributes of a fitted estimator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError
from dask_gmm.fitting.em import Run
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.density import Density
from dask_gmm.model.parameters import Parameters

_PARAMETERS = ("weights", "means", "covariances", "precisions_cholesky", "precisions")
PARAMETER_ATTRIBUTES = tuple(f"{name}_" for name in _PARAMETERS)


def fitted_attributes(run: Run, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the attributes that a fit sets, numbers in the dtype of the rows."""
    parameters = run.parameters
    bounds = list(_of_dtype(np.array(run.lower_bounds), dtype))
    return {
        # A parameter may be set to something else afterwards; what was fitted stays.
        "covariance_type_": parameters.covariance_type,
        **{f"{name}_": _of_dtype(getattr(parameters, name), dtype) for name in _PARAMETERS},
        "converged_": run.converged,
        "n_iter_": run.n_iter,
        "lower_bound_": bounds[-1] if bounds else -np.inf,
        "lower_bounds_": bounds,
    }


def _of_dtype(array: NDArray[np.float64], dtype: np.dtype[Any]) -> NDArray[Any]:
    with np.errstate(over="ignore"):
        return array.astype(dtype)


def check_held(attributes: Mapping[str, Any]) -> None:
    """Refuse a fit whose parameters the dtype of the rows cannot hold.

    Raises
    ------
    DataError
    """
    for name in PARAMETER_ATTRIBUTES:
        array = attributes[name]
        if not np.isfinite(array).all():
            advice = " or pass float64 data" if array.dtype == np.float32 else ""
            raise DataError(
                f"The fitted {name} are beyond what {array.dtype} can hold: the values of X are too large, "
                "or too small, for their squares or the inverses of these. Scale the input data"
                f"{advice}."
            )


def fitted_type(estimator: Any) -> str:
    """Return the covariance type of what an estimator holds, which its parameter may not be any more."""
    # Estimators whose attributes were set by hand, or fitted by an earlier release, have the parameter only.
    return str(getattr(estimator, "covariance_type_", estimator.covariance_type))


def check_type_kept(estimator: Any) -> None:
    """Refuse an estimator whose parameter would give its attributes another meaning elsewhere.

    Raises
    ------
    ValueError
    """
    if estimator.covariance_type != fitted_type(estimator):
        raise ValueError(
            f"covariance_type is {estimator.covariance_type!r}, but the mixture was fitted with "
            f"{fitted_type(estimator)!r}. Set it back, or fit again."
        )


def fitted_parameters(estimator: Any) -> Parameters:
    """Return a copy of the parameters that a fitted estimator holds.

    A copy, because what is made of it (a lazy answer, say) must not follow when an attribute is changed in
    place.

    Raises
    ------
    ValueError
        The attributes do not make a mixture, as when they were replaced by hand.
    """
    weights, means, covariances, factors = (
        np.array(getattr(estimator, name), dtype=np.float64)
        for name in ("weights_", "means_", "covariances_", "precisions_cholesky_")
    )
    covariance_type = fitted_type(estimator)
    shapes = attribute_shapes(covariance_type, means)
    for name, array in (("weights_", weights), ("precisions_cholesky_", factors)):
        if array.shape != shapes[name]:
            raise ValueError(
                f"{name} has shape {array.shape}, but means_ of shape {means.shape} and covariance_type="
                f"{covariance_type!r} need {shapes[name]}. Set both again, or fit again."
            )
    return Parameters(covariance_type, weights, means, covariances, factors)


def attribute_shapes(covariance_type: str, means: NDArray[Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter attribute that goes with `means`.

    Raises
    ------
    ValueError
        `means` is no table of at least one component and one feature.
    """
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means_ has shape {means.shape}, not (n_components, n_features)")
    structure = covariance_structure(covariance_type)
    shapes = dict.fromkeys(PARAMETER_ATTRIBUTES, structure.shape(*means.shape))
    factors = structure.factor_shape(*means.shape)
    return shapes | {"weights_": means.shape[:1], "means_": means.shape, "precisions_cholesky_": factors}


def fitted_density(estimator: Any) -> Density:
    """Return what evaluates rows under a fitted estimator."""
    return Density.of(fitted_parameters(estimator))
