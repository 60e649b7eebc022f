"""The M-step: sufficient statistics in, parameters out. It runs centrally, once per pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.model.covariance.parts import NotPositiveDefiniteError
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

# The wording that users of scikit-learn know and search for.
_ILL_DEFINED = (
    "Fitting the mixture model failed because some components have ill-defined empirical covariance "
    "(for instance caused by singleton or collapsed samples). Try to decrease the number of components, "
    "increase reg_covar, or scale the input data."
)
_FLOAT32_HINT = " The numerical accuracy can also be improved by passing float64 data instead of float32."


_TOO_LARGE = (
    "Fitting the mixture model failed because a covariance, which is in squared units of X, is more than "
    "float64 can hold. Scale the input data, for instance to unit variance."
)


def maximize(
    parameters: Parameters,
    statistics: Statistics,
    origins: Array,
    *,
    reg_covar: float,
    dtype: np.dtype[np.floating],
) -> Parameters:
    """Return the parameters that maximize the expected complete-data log-likelihood.

    Bishop, Pattern Recognition and Machine Learning (2006), equations 9.24 to 9.26; `reg_covar` is then
    added to the variances.

    Parameters
    ----------
    parameters : Parameters
        Those that the rows were evaluated by.
    statistics : Statistics
    origins : ndarray of shape (n_components, n_features)
        What the moments in `statistics` are about.
    reg_covar : float
        In squared units of the data.
    dtype : dtype
        The dtype of the rows, which sets the tiny number that keeps an empty component's division defined.

    Raises
    ------
    CollapsedComponentError
        Naming the component, its weight and its smallest eigenvalue.
    """
    nk = guarded(statistics.nk, dtype)
    shift = statistics.first / nk[:, np.newaxis]
    covariances = parameters.structure.estimate(
        statistics.second, nk, shift, reg_covar, previous=parameters.covariances
    )
    check_size(covariances)
    return well_defined(parameters.covariance_type, nk / nk.sum(), origins + shift, covariances, dtype)


def check_size(covariances: Array) -> None:
    """Refuse covariances that overflow.

    Raises
    ------
    CollapsedComponentError
    """
    if np.isinf(covariances).any():
        raise CollapsedComponentError(_TOO_LARGE)


def guarded(nk: Array, dtype: np.dtype[np.floating]) -> Array:
    """Return `nk` plus ten times the machine epsilon of the rows' dtype, as scikit-learn does."""
    guarded_nk: Array = nk + 10.0 * float(np.finfo(dtype).eps)
    return guarded_nk


def well_defined(
    covariance_type: str, weights: Array, means: Array, covariances: Array, dtype: np.dtype[np.floating]
) -> Parameters:
    """Build parameters, turning a failed factorization into an error that says what happened."""
    try:
        return Parameters.from_covariances(covariance_type, weights, means, covariances)
    except NotPositiveDefiniteError as error:
        message = _ILL_DEFINED + (_FLOAT32_HINT if dtype == np.float32 else "")
        raise CollapsedComponentError(
            f"{message} {_what_happened(error, weights)}", error.component
        ) from None


def _what_happened(error: NotPositiveDefiniteError, weights: Array) -> str:
    eigenvalue = f"smallest eigenvalue is {error.smallest_eigenvalue:.3g}"
    if error.component is None:
        return f"The covariance shared by all components is not positive definite: its {eigenvalue}."
    weight = weights[error.component]
    return f"Component {error.component} has weight {weight:.3g} and its covariance's {eigenvalue}."
