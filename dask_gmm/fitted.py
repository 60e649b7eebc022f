"""Between the parameters of a mixture and the attributes of a fitted estimator."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gmm.fitting.em import Run
from dask_gmm.model.density import Density
from dask_gmm.model.parameters import Parameters

PARAMETER_ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_cholesky_", "precisions_")


def fitted_attributes(run: Run, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the attributes that a fit sets, numbers in the dtype of the rows."""
    parameters = run.parameters
    bounds = [dtype.type(bound) for bound in run.lower_bounds]
    return {
        "weights_": parameters.weights.astype(dtype),
        "means_": parameters.means.astype(dtype),
        "covariances_": parameters.covariances.astype(dtype),
        "precisions_cholesky_": parameters.precisions_cholesky.astype(dtype),
        "precisions_": parameters.precisions.astype(dtype),
        "converged_": run.converged,
        "n_iter_": run.n_iter,
        "lower_bound_": bounds[-1] if bounds else -np.inf,
        "lower_bounds_": bounds,
    }


def fitted_parameters(estimator: Any) -> Parameters:
    """Return the parameters that a fitted estimator holds."""
    return Parameters(
        # An estimator that chose has it as a fitted attribute.
        getattr(estimator, "covariance_type_", estimator.covariance_type),
        np.asarray(estimator.weights_, dtype=np.float64),
        np.asarray(estimator.means_, dtype=np.float64),
        np.asarray(estimator.covariances_, dtype=np.float64),
        np.asarray(estimator.precisions_cholesky_, dtype=np.float64),
    )


def fitted_density(estimator: Any) -> Density:
    """Return what evaluates rows under a fitted estimator."""
    return Density.of(fitted_parameters(estimator))
