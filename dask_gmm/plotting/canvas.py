"""What all displays share: axes to draw on, colours that everybody can tell apart, names of features."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.feature_number import feature_number
from dask_gmm.mixture.fitted import fitted_parameters

Array = NDArray[np.float64]

#: Okabe and Ito, Color Universal Design (2008), without yellow, which fades on white.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00", "#000000")
#: More components than this are told apart by their numbers, not by colours.
MOST_COLOURS = len(COLOURS)


def axes_of(ax: Any, **figure: Any) -> tuple[Any, Any]:
    """Return figure and axes to draw on; new ones where none are given.

    Raises
    ------
    ImportError
        matplotlib is not installed.
    """
    if ax is not None:
        return ax.figure, ax
    try:
        from matplotlib import pyplot
    except ImportError as error:
        raise ImportError("Displays need matplotlib: pip install 'dask-gmm[plot]'.") from error
    made: tuple[Any, Any] = pyplot.subplots(layout="constrained", **figure)
    return made


def names_of(estimator: Any) -> list[str]:
    """Return the names of the features a mixture was fitted to, or x0, x1, ..."""
    names = getattr(estimator, "feature_names_in_", None)
    n_features = int(estimator.n_features_in_)
    return [f"x{j}" for j in range(n_features)] if names is None else [str(name) for name in names]


def position_of(feature: int | str, names: list[str]) -> int:
    """Return the number of a feature.

    Raises
    ------
    ValueError
        There is no such feature.
    """
    number = feature_number(feature, names, len(names))
    if number is None:
        raise ValueError(f"There is no feature {feature!r}; the features are {names}.")
    return number


def matrices_of(estimator: Any, features: Sequence[int] | None = None) -> Array:
    """Return the covariance matrix of each component, shape (n_components, n, n), of n features or of all."""
    mixture = fitted_parameters(estimator)
    covariances, n_features = mixture.covariances, mixture.n_features
    if features is not None:
        covariances, n_features = mixture.structure.selected(covariances, features), len(features)
    return mixture.structure.as_matrices(covariances, mixture.n_components, n_features)


def deviations_and_correlations(matrices: Array) -> tuple[Array, Array]:
    """Return the standard deviations of each component, shape (n_components, n), and its correlations."""
    deviations = np.sqrt(np.diagonal(matrices, axis1=1, axis2=2))
    return deviations, matrices / (deviations[:, :, np.newaxis] * deviations[:, np.newaxis, :])
