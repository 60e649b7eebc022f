"""Rows drawn from a mixture."""

from __future__ import annotations

from numbers import Integral

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]


def draw(
    parameters: Parameters, n_samples: int, random_state: np.random.RandomState
) -> tuple[Array, NDArray[np.int64]]:
    """Draw rows, in scikit-learn's order: component by component.

    Parameters
    ----------
    parameters : Parameters
    n_samples : int
        At least one.
    random_state : RandomState

    Returns
    -------
    X : ndarray of shape (n_samples, n_features)
    y : ndarray of shape (n_samples,)
        The component of each row.

    Raises
    ------
    ValueError
        Fewer than one sample.
    TypeError
        Not an integer.
    """
    if not isinstance(n_samples, Integral):
        raise TypeError(f"n_samples must be an integer, got {n_samples!r}.")
    if n_samples < 1:
        raise ValueError(
            f"Invalid value for 'n_samples': {n_samples} . The sampling requires at least one sample."
        )
    weights = parameters.weights / parameters.weights.sum()
    counts = random_state.multinomial(n_samples, weights)
    X = np.vstack(
        [
            parameters.structure.draw(mean, parameters.covariances, k, count, random_state)
            for k, (mean, count) in enumerate(zip(parameters.means, counts, strict=True))
        ]
    )
    return X, np.repeat(np.arange(parameters.n_components), counts)
