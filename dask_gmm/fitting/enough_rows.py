"""Checks of what all rows say together: their number, and whether their squares are numbers."""

from __future__ import annotations

import numpy as np

from dask_gmm.errors import DataError
from dask_gmm.model.moments import Moments


def check_enough_rows(
    n_rows: int, n_features: int, n_components: int, estimator: str = "GaussianMixture"
) -> None:
    """Refuse fewer rows than components, or fewer than two, in scikit-learn's words.

    Raises
    ------
    DataError
    """
    if n_rows < 2:
        raise DataError(
            f"Found array with {n_rows} sample(s) (shape=({n_rows}, {n_features})) while a minimum of 2 is "
            f"required by {estimator}."
        )
    if n_rows < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )


def check_squares(moments: Moments) -> None:
    """Refuse rows whose squared deviations from their mean overflow: no covariance can be estimated.

    Raises
    ------
    DataError
        Naming the first such feature.
    """
    finite = np.isfinite(moments.mean) & np.isfinite(moments.squares)
    if not finite.all():
        raise DataError(
            f"Feature {int(np.argmin(finite))} of X has values so large that their squares, of which "
            "covariances are sums, overflow float64. Scale the input data, for instance to unit variance."
        )
