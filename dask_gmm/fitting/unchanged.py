"""Whether stored data are what they were in the first pass, by sums that no parameters enter."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import DataError
from dask_gmm.model.moments import Moments
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

# Rounding of float32 products and of float64 ones, relative to how far rows and origins are from the mean.
_ROUNDING = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-7}


def check_unchanged(moments: Moments, statistics: Statistics, origins: Array, dtype: np.dtype[Any]) -> None:
    """Compare the rows of a pass with those of the first.

    Responsibilities of a row add up to one, so the components' first moments add up to those of all rows.

    Parameters
    ----------
    moments : Moments
        Of the first pass.
    statistics : Statistics
        Of this pass.
    origins : ndarray of shape (n_components, n_features)
        What its first moments are about.
    dtype : dtype
        Of the rows.

    Raises
    ------
    DataError
        The numbers of rows, the weights or the means differ.
    """
    totals = statistics.totals
    if totals.n_rows != moments.n_rows:
        raise DataError(_changed(f"{moments.n_rows} rows in the first pass, {totals.n_rows} in this one"))
    if not np.isclose(totals.weight, moments.weight, rtol=1e-12, atol=0.0):
        raise DataError(_changed(f"weights summed to {moments.weight!r}, now to {totals.weight!r}"))
    nk = statistics.nk
    if not (np.isfinite(nk).all() and np.isfinite(statistics.first).all()):
        return  # A collapse, which the M-step describes.
    # About the mean of the first pass, so that nothing large cancels.
    distances = (statistics.first + nk[:, np.newaxis] * (origins - moments.mean)).sum(axis=0) / moments.weight
    reach = moments.deviation + np.abs(origins - moments.mean).max(axis=0)
    tolerance = _ROUNDING[np.dtype(dtype)] * reach + 1e-12 * np.abs(moments.mean) + np.finfo(dtype).tiny
    if (np.abs(distances) > tolerance).any():
        feature = int(np.argmax(np.abs(distances) - tolerance))
        raise DataError(_changed(f"the mean of feature {feature} moved by {distances[feature]:.3g}"))


def _changed(what: str) -> str:
    return (
        f"The data changed during the fit: {what}. Fit again once they are at rest; a checkpoint of this "
        "fit does not fit them any more."
    )
