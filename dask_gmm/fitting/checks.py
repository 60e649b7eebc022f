"""Checks of the number of rows."""

from __future__ import annotations

from dask_gmm.data.source import DataError


def check_enough_rows(n_rows: int, n_components: int) -> None:
    """Refuse fewer rows than components, or fewer than two.

    Raises
    ------
    DataError
    """
    if n_rows < 2:
        raise DataError(
            f"Found array with {n_rows} sample(s) while a minimum of 2 is required by GaussianMixture."
        )
    if n_rows < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )
