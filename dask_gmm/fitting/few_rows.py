"""The start from one row a component: means at the rows, covariances of next to nothing.

What spread a single row has is `reg_covar` and rounding, and the rounding decides which optimum EM goes
to. So this is computed as scikit-learn does, in the dtype of the rows, where that is well defined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.survey import Sample
from dask_gmm.model.covariance import NotPositiveDefiniteError, covariance_structure
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]


def estimate_from_few(
    sample: Sample, chosen: NDArray[np.intp], covariance_type: str, reg_covar: float
) -> tuple[Array, Array, Array]:
    """Return nk, means and covariances of components that start from one row each.

    Parameters
    ----------
    sample : Sample
    chosen : ndarray of shape (n_components,)
        Row numbers in the sample.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}
    reg_covar : float
    """
    rows = sample.rows[chosen]
    weights = np.ones(len(chosen)) if sample.weights is None else sample.weights[chosen]
    weights = weights.astype(rows.dtype)
    nk = weights + 10 * np.finfo(rows.dtype).eps
    means = (weights / nk)[:, np.newaxis] * rows
    if sample.weights is None:
        means = rows / nk[:, np.newaxis]
    covariances = _spread(sample, rows, weights, nk, means, covariance_type, reg_covar)
    return _double(nk), _double(means), _well_conditioned(sample, covariances, nk, covariance_type, reg_covar)


def _spread(
    sample: Sample,
    rows: NDArray[Any],
    weights: NDArray[Any],
    nk: NDArray[Any],
    means: NDArray[Any],
    covariance_type: str,
    reg_covar: float,
) -> NDArray[Any]:
    if covariance_type == "tied":
        # All rows count in the sum, but only one a component in the divisor: a wide covariance.
        all_rows = sample.rows
        weighted = all_rows if sample.weights is None else _weighted(all_rows, sample.weights)
        covariance: NDArray[Any] = (weighted.T @ all_rows - nk * means.T @ means) / nk.sum()
        covariance[np.diag_indices_from(covariance)] += reg_covar
        return covariance
    if covariance_type == "full":
        deviations = rows - means
        scaled = (weights / nk)[:, np.newaxis] * deviations
        covariances: NDArray[Any] = scaled[:, :, np.newaxis] * deviations[:, np.newaxis, :]
        covariances[:, range(rows.shape[1]), range(rows.shape[1])] += reg_covar
        return covariances
    variances = weights[:, np.newaxis] * (rows * rows) / nk[:, np.newaxis] - means**2 + reg_covar
    return np.asarray(variances if covariance_type == "diag" else variances.mean(axis=1))


def _well_conditioned(
    sample: Sample, covariances: NDArray[Any], nk: NDArray[Any], covariance_type: str, reg_covar: float
) -> Array:
    """Return the covariances, or what they would be without rounding where that left them indefinite."""
    structure = covariance_structure(covariance_type)
    try:
        structure.cholesky(_double(covariances))
        return _double(covariances)
    except NotPositiveDefiniteError:
        exact = np.zeros(covariances.shape)
    n_features = sample.rows.shape[1]
    if covariance_type == "tied":
        moments = Moments.zero(n_features, scatter=True).with_rows(sample.rows, sample.weights)
        assert moments.scatter is not None
        exact = moments.scatter / float(nk.sum())
    if covariance_type in ("full", "tied"):
        exact[..., range(n_features), range(n_features)] += reg_covar
        return exact
    return exact + reg_covar


def _weighted(rows: NDArray[Any], weights: Array) -> NDArray[Any]:
    weighted: NDArray[Any] = rows * weights.astype(rows.dtype)[:, np.newaxis]
    return weighted


def _double(array: NDArray[Any]) -> Array:
    return np.asarray(array, dtype=np.float64)
