"""The start from one row per component: means at the rows, covariances of next to nothing.

What spread a single row has is `reg_covar` and rounding, and the rounding decides which optimum EM goes
to. So this is computed as scikit-learn does, in the dtype of the rows, where that is well defined.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.row_sample import Sample
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.covariance.parts import NotPositiveDefiniteError, SingleRows

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
    covariance_type : str
    reg_covar : float
    """
    rows = sample.rows[chosen]
    weights = np.ones(len(chosen)) if sample.weights is None else sample.weights[chosen]
    weights = weights.astype(rows.dtype)
    nk = weights + 10 * np.finfo(rows.dtype).eps
    means = (weights / nk)[:, np.newaxis] * rows
    if sample.weights is None:
        means = rows / nk[:, np.newaxis]
    start = SingleRows(rows, weights, nk, means, sample.rows, sample.weights)
    return _double(nk), _double(means), _well_conditioned(start, covariance_type, reg_covar)


def _well_conditioned(start: SingleRows, covariance_type: str, reg_covar: float) -> Array:
    """Return the covariances, or what they would be without rounding where that left them indefinite."""
    structure = covariance_structure(covariance_type)
    covariances = _double(structure.of_single_rows(start, reg_covar))
    try:
        structure.cholesky(covariances)
    except NotPositiveDefiniteError:
        return structure.of_single_rows_exactly(start, reg_covar)
    return covariances


def _double(array: NDArray[Any]) -> Array:
    return np.asarray(array, dtype=np.float64)
