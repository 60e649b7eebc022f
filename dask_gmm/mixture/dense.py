"""Covariances as matrices, for types that hold something smaller: computed when they are asked for."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gmm.mixture.fitted import fitted_parameters
from dask_gmm.model.covariance import covariance_structure

# Larger ones would take the memory of a machine unasked.
_MOST_BYTES = 1 << 30

_DENSE = ("covariances_", "precisions_", "precisions_cholesky_")


class DenseMixin:
    """Gives `covariances_`, `precisions_` and `precisions_cholesky_` to a fit that holds no such arrays."""

    def __getattr__(self, name: str) -> Any:
        # Asked only for what an instance does not have; before a fit it has none of them.
        if "covariance_type_" not in vars(self) or name not in _DENSE:
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")
        parameters = fitted_parameters(self)
        n_components, n_features = parameters.means.shape
        n_bytes = 8 * n_components * n_features**2
        if n_bytes > _MOST_BYTES:
            raise AttributeError(
                f"{name} would be {n_components} matrices of {n_features} features, {n_bytes / 1e9:.1f} GB. "
                "Use the attributes that covariance_type gives in their place, or marginal(features)."
            )
        structure = parameters.structure
        matrices = structure.as_matrices(parameters.covariances, n_components, n_features)
        dense = covariance_structure(structure.name_in_scikit_learn)
        given = {"covariances_": matrices}
        if name != "covariances_":
            factors = dense.cholesky(matrices)
            given |= {"precisions_cholesky_": factors, "precisions_": dense.precisions(factors)}
        return np.asarray(given[name], dtype=self.means_.dtype)
