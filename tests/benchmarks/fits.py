"""Fits of a known number of passes, for benchmarks."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gmm import GaussianMixture


def given_start(K: int, d: int, covariance_type: str = "full") -> dict[str, Any]:
    """Return arguments of an estimator whose start needs no pass and which never converges."""
    shape = {"full": np.tile(np.eye(d), (K, 1, 1)), "tied": np.eye(d), "diag": np.ones((K, d))}
    return {
        "n_components": K,
        "covariance_type": covariance_type,
        "weights_init": np.full(K, 1 / K),
        "means_init": np.random.default_rng(1).normal(size=(K, d)) * 1.5,
        "precisions_init": shape[covariance_type],
        "tol": 0.0,
    }


def fitted(X: Any, K: int, passes: int, covariance_type: str = "full") -> GaussianMixture:
    """Fit in exactly that many passes, none of which finds its rows in a cache."""
    d = X.n_features if hasattr(X, "n_features") else X.shape[1]
    start = given_start(K, d, covariance_type)
    return GaussianMixture(max_iter=passes, cache=False, **start).fit(X)


def seconds_of_passes(model: GaussianMixture, first: int = 1) -> list[float]:
    """Return the seconds of a fit's passes, without the first, which starts up."""
    return [one.seconds for one in model.history_.passes[first:]]
