"""What must be the same for a saved state to be continued: parameters and data, as short JSON values."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any

import numpy as np

import dask_gmm
from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.source import Source
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.settings import WarmStart
from dask_gmm.storage.fingerprint import of_array, of_parts

# They change what a fit tells or where rows are kept, not where it goes.
_WITHOUT_EFFECT = frozenset(
    {"cache", "checkpoint", "verbose", "verbose_interval", "step_exponent", "step_offset"}
)
#: Parameters that came later, with their defaults.
_LATER_DEFAULTS: Mapping[str, Any] = {"nan": "error", "contamination": None}
# A list of chunks is what earlier releases know them by. More than this take too long to list.
_MOST_LISTED = 100_000


def fit_identity(
    parameters: Mapping[str, Any], source: Source, warm: Sequence[WarmStart] = ()
) -> dict[str, Any]:
    """Return the identity of a fit.

    Parameters
    ----------
    parameters : mapping
        Those of the estimator's constructor, by name.
    source : Source
        The rows.
    warm : sequence of WarmStart
        The ends of earlier fits that this one continues.
    """
    known = {
        name: _value(value)
        for name, value in parameters.items()
        # Checkpoints from before there was a parameter are of fits with what is its default now.
        if name not in _WITHOUT_EFFECT and not (name in _LATER_DEFAULTS and value == _LATER_DEFAULTS[name])
    }
    if warm:
        known["warm_start"] = _digest(*(part for one in warm for part in _parts(one)))
    return {**known, "release": dask_gmm.__version__, **source_identity(source)}


def _parts(warm: WarmStart) -> tuple[Any, ...]:
    parameters = warm.parameters
    return parameters.weights, parameters.means, parameters.precisions_cholesky, warm.lower_bound


def source_identity(source: Source) -> dict[str, Any]:
    """Return what `source` is known by: its shape and chunks, and its fingerprint where it has one."""
    chunks = source.chunks
    by_rule = isinstance(chunks, GridChunks) and len(chunks) > _MOST_LISTED
    listed = chunks if by_rule else [(chunk.name, chunk.n_rows) for chunk in chunks]
    digest = sha256(repr(listed).encode()).hexdigest()[:16]
    return {
        "shape of the samples": list(source.sample_shape),
        "features": source.n_features,
        "dtype": str(source.dtype),
        "arithmetic": str(arithmetic(source.dtype)),
        "chunks": f"{len(chunks)} of digest {digest}",
        "data": source.fingerprint(),
    }


def _value(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, (float, np.number)):
        return float(value)
    if isinstance(value, np.random.RandomState):
        _, words, *position = value.get_state(legacy=True)
        return _digest(words, position)
    return _digest(value)


def _digest(*values: Any) -> str:
    return f"numbers of digest {of_parts(of_array(np.atleast_1d(value)) for value in values)}"
