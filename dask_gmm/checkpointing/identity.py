"""What must be the same for a saved state to be continued: parameters and data, as short JSON values."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import numpy as np

import dask_gmm
from dask_gmm.data.source import Source

# They change what a fit tells or where rows are kept, not where it goes.
_WITHOUT_EFFECT = frozenset({"cache", "checkpoint", "verbose", "verbose_interval"})


def fit_identity(estimator: Any, source: Source) -> dict[str, Any]:
    """Return the identity of a fit of `source` by `estimator`."""
    parameters = {
        name: _value(value)
        for name, value in estimator.get_params(deep=False).items()
        if name not in _WITHOUT_EFFECT
    }
    if estimator.warm_start and hasattr(estimator, "means_"):
        parameters["warm_start"] = _value(np.asarray(estimator.means_))
    return {**parameters, "release": dask_gmm.__version__, **source_identity(source)}


def source_identity(source: Source) -> dict[str, Any]:
    """Return what `source` is known by: its shape and chunks, and a listing of the store where there is one.

    That the rows are the same is seen in each pass of a fit.
    """
    chunks = sha256(repr([(chunk.name, chunk.n_rows) for chunk in source.chunks]).encode())
    return {
        "shape of the samples": list(source.sample_shape),
        "features": source.n_features,
        "dtype": str(source.dtype),
        "chunks": f"{len(source.chunks)} of digest {chunks.hexdigest()[:16]}",
        "listing": listing() if callable(listing := getattr(source, "listing", None)) else None,
    }


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.number)):
        return float(value)
    if isinstance(value, np.random.RandomState):
        _, words, position, *_ = value.get_state(legacy=True)
        return _digest(np.append(words, position))
    return _digest(np.asarray(value))


def _digest(array: np.ndarray[Any, Any]) -> str:
    return f"{array.dtype}{array.shape} of digest {sha256(array.tobytes()).hexdigest()[:16]}"
