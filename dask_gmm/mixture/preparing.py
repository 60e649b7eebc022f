"""What a fit needs to know of its rows, and where rows in memory are fitted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from dask_gmm.config import START_BYTES
from dask_gmm.data.in_memory import ArraySource
from dask_gmm.data.source import SAMPLE_WEIGHT, Source, byte_counts
from dask_gmm.engine.cache import Cache
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.cluster import ClusterEngine
from dask_gmm.engine.memory_estimate import PassBytes
from dask_gmm.engine.threads import ThreadsEngine
from dask_gmm.fitting.checksums import Checksum
from dask_gmm.fitting.passes import Engine, Rows
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.row_sample import Sample
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.mixture.validation import known_rows


def start_bytes() -> int:
    """Return how many bytes of rows this process may take into memory."""
    return START_BYTES.get()


def start_rows(source: Source) -> int:
    """Return how many rows the start may take into memory."""
    return max(2, start_bytes() // max(1, source.n_features * source.dtype.itemsize))


def engine_for(
    source: Source, cache: Cache, settings: Sequence[FitSettings], n_mixtures: int
) -> ThreadsEngine | ClusterEngine:
    """Return the engine of a fit.

    Restarts and candidates go on until the slowest is done, so where there are several, rows that the start
    may take into memory stay there.

    Parameters
    ----------
    source : Source
    cache : {'auto', True, False}
    settings : sequence of FitSettings
        Of all candidates.
    n_mixtures : int
        How many share passes.
    """
    kept = start_bytes() if n_mixtures > 1 else 0
    return choose_engine(source, cache, pass_bytes(source, settings), kept)


def pass_bytes(source: Source, settings: Sequence[FitSettings]) -> PassBytes:
    """Return the bytes of what a pass for these candidates computes."""
    return PassBytes(
        values=sum(one.value_bytes(source.n_features) for one in settings),
        sample=0 if all(one.start.given for one in settings) else start_bytes(),
    )


def rows_of(source: Source, most_to_start: int) -> Rows:
    """Return what is known of the rows beforehand."""
    # Rows at hand and few enough are the sample themselves: no pass is needed to start.
    at_hand = isinstance(source, ArraySource) and len(source.rows) <= most_to_start
    sample = Sample(source.rows, source.weights) if at_hand and isinstance(source, ArraySource) else None
    sizes = byte_counts(source.chunks, unknown=-1)
    n_bytes = None if sizes.min(initial=0) < 0 else int(sizes.sum())
    # What lies in an array of the user's is his to leave alone.
    checksum = None if isinstance(source, ArraySource) else Checksum(source.n_features, source.stored)
    return Rows(
        known_rows(source),
        source.n_features,
        source.dtype,
        arithmetic(source.dtype),
        n_bytes,
        sample,
        checksum,
    )


def engine_in_memory(sample: Sample) -> Engine:
    """Return the engine that runs passes over a sample in this process."""
    columns = {} if sample.weights is None else {SAMPLE_WEIGHT: sample.weights}
    return choose_engine(ArraySource(sample.rows, columns))


def fit_data(X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    """Return the data as scikit-learn's callbacks receive them."""
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    # Monitors score only where there are targets; a density's targets are the rows themselves.
    return {"X": X, "y": X if y is None else y, "metadata": metadata}
