"""Mixtures of any covariance type, rows of them, and their log-joints by the definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.stats import multivariate_normal

from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Weighted:
    """Rows with weights, as kernels take them."""

    rows: NDArray[Any]
    weights: Array | None = None
    columns: Mapping[str, Array] = field(default_factory=dict)


def mixture(
    covariance_type: str,
    distance: float = 1.0,
    n_components: int = 4,
    n_features: int = 3,
    offset: float = 0.0,
    seed: int = 7,
) -> Parameters:
    """Return components of about unit size, `distance` apart."""
    rng, structure = np.random.default_rng(seed), covariance_structure(covariance_type)
    gathered = covariance_structure(structure.moments_of_starts)
    second = np.zeros(gathered.second_shape(n_components, n_features))
    n_rows = 20 * n_features
    for k in range(n_components):
        root = np.eye(n_features) + 0.3 * rng.normal(size=(n_features, n_features))
        gathered.add_second(second, rng.normal(size=(n_rows, n_features)) @ root, np.ones(n_rows), k)
    nk, nothing = np.full(n_components, float(n_rows)), np.zeros((n_components, n_features))
    covariances = structure.of_moments(second, nk, nothing, 0.1)
    means = offset + distance * rng.normal(size=(n_components, n_features))
    return Parameters.from_covariances(
        covariance_type, rng.dirichlet(np.ones(n_components)), means, covariances
    )


def rows_of(parameters: Parameters, n_rows: int = 500, dtype: Any = np.float64) -> NDArray[Any]:
    """Return rows around the components' means."""
    rng = np.random.default_rng(8)
    labels = rng.integers(parameters.n_components, size=n_rows)
    rows = parameters.means[labels] + rng.normal(size=(n_rows, parameters.n_features))
    return rows.astype(dtype)


def log_joint(parameters: Parameters, rows: NDArray[Any]) -> Array:
    """Return log(weight_k) + log density_k of each row by SciPy's density, shape (n, n_components)."""
    structure, n_features = parameters.structure, parameters.n_features
    columns = []
    for k, (weight, mean) in enumerate(zip(parameters.weights, parameters.means, strict=True)):
        root = structure.whitened(np.eye(n_features), np.zeros(n_features), parameters.precisions_cholesky, k)
        about_zero = multivariate_normal(np.zeros(n_features), np.linalg.inv(root @ root.T))
        with np.errstate(divide="ignore"):
            columns.append(np.log(weight) + about_zero.logpdf(rows - mean))
    return np.stack(columns, axis=1)
