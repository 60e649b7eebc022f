"""What a fit knows of its rows before it reads them, and where rows in memory are fitted."""

from __future__ import annotations

import numpy as np

from dask_gmm.config import START_BYTES
from dask_gmm.data.in_memory import ArraySource
from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.choose import choose_engine
from dask_gmm.fitting.checksums import Checksum
from dask_gmm.fitting.passes import Engine, Rows
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.row_sample import Sample
from dask_gmm.mixture.validation import known_rows


def start_bytes() -> int:
    """Return how many bytes of rows this process may take into memory."""
    return START_BYTES.get()


def start_rows(source: Source) -> int:
    """Return how many rows the start may take into memory."""
    return max(2, start_bytes() // max(1, source.n_features * source.dtype.itemsize))


def rows_of(source: Source, most_to_start: int) -> Rows:
    """Return what is known of the rows beforehand.

    Parameters
    ----------
    source : Source
    most_to_start : int
        Rows that the start may take into memory.
    """
    # Rows at hand and few enough are the sample themselves: no pass is needed to start.
    at_hand = isinstance(source, ArraySource) and len(source.rows) <= most_to_start
    sample = Sample(source.rows, source.columns) if at_hand and isinstance(source, ArraySource) else None
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
        source.feature_names,
    )


def engine_in_memory(sample: Sample) -> Engine:
    """Return the engine that runs passes over a sample in this process."""
    holes = bool(np.isnan(sample.rows).any())
    return choose_engine(ArraySource(sample.rows, sample.columns, holes=holes))
