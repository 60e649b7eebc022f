"""Whether data are what they were in the first pass, by sums that do not depend on the parameters."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.observation import Kernel
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

# Rounding of float32 products and of float64 ones, relative to how far rows and origins are from the mean.
_ROUNDING = {np.dtype(np.float32): 1e-4, np.dtype(np.float64): 1e-7}


def check_unchanged(moments: Moments, statistics: Statistics, kernel: Kernel, dtype: np.dtype[Any]) -> None:
    """Compare the rows of a pass with those of the first.

    Responsibilities of a row add up to one, so the components' first moments add up to those of all rows,
    where these are known exactly.

    Parameters
    ----------
    moments : Moments
        The moments of the first pass.
    statistics : Statistics
        The statistics of this pass.
    kernel : Kernel
        The kernel that made them of the rows.
    dtype : dtype
        The dtype of the rows.

    Raises
    ------
    DataError
        The numbers of rows, the weights or the means differ.
    """
    _check_counts(moments, statistics.totals.n_rows, statistics.totals.weight)
    nk, origins = statistics.nk, kernel.origins
    if not kernel.exact:
        return
    if not (np.isfinite(nk).all() and np.isfinite(statistics.first).all()):
        return  # A collapse, which the M-step describes.
    # About the mean of the first pass, so that nothing large cancels.
    distances = (statistics.first + nk[:, np.newaxis] * (origins - moments.mean)).sum(axis=0) / moments.weight
    reach = moments.deviation + np.abs(origins - moments.mean).max(axis=0)
    _check_means(moments, distances, reach, dtype)


def check_same_rows(before: Moments, now: Moments, dtype: np.dtype[Any]) -> None:
    """Compare the rows of two surveys, of `dtype`.

    Raises
    ------
    DataError
        The numbers of rows, the weights, the means or the variances differ.
    """
    _check_counts(before, now.n_rows, now.weight)
    _check_means(before, now.mean - before.mean, before.deviation, dtype)
    least = before.weight * (1e-12 * before.mean) ** 2
    if not np.allclose(now.squares, before.squares, rtol=_ROUNDING[np.dtype(dtype)], atol=least):
        feature = int(np.argmax(np.abs(now.squares - before.squares)))
        raise changed(f"the variance of feature {feature} is another")


def _check_counts(moments: Moments, n_rows: int, weight: float) -> None:
    if n_rows != moments.all_rows:
        raise changed(f"{moments.all_rows} rows in the first pass, {n_rows} in this one")
    if not np.isclose(weight, moments.all_weight, rtol=1e-12, atol=0.0):
        raise changed(f"weights summed to {moments.all_weight!r}, now to {weight!r}")


def _check_means(moments: Moments, distances: Array, reach: Array, dtype: np.dtype[Any]) -> None:
    tolerance = _ROUNDING[np.dtype(dtype)] * reach + 1e-12 * np.abs(moments.mean) + np.finfo(dtype).tiny
    if (np.abs(distances) > tolerance).any():
        feature = int(np.argmax(np.abs(distances) - tolerance))
        raise changed(f"the mean of feature {feature} moved by {distances[feature]:.3g}")


def changed(what: str) -> DataError:
    """Return the error of data that are no longer what they were."""
    return DataError(
        f"The data changed during the fit: {what}. Fit again once they are at rest; a checkpoint of this "
        "fit does not fit them any more."
    )
