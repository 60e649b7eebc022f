"""A few rows to draw, of data of any size: one pass at most, and the same rows whatever the chunks."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.in_memory import ArraySource
from dask_gmm.engine.one_pass import one_pass
from dask_gmm.fitting.row_sample import Sample, Sampling
from dask_gmm.fitting.survey import Survey
from dask_gmm.mixture.validation import known_rows, prediction_source

# Every picture of the same data shows the same rows.
_SEED = 0


def sampled_rows(estimator: Any, X: Any, limit: int, sample: Sample | None = None) -> NDArray[Any]:
    """Return at most `limit` rows of X, drawn by their numbers, in row order.

    Parameters
    ----------
    estimator : GaussianMixture
        Fitted; X is checked against its features.
    X
        As in ``GaussianMixture.predict``.
    limit : int
        Most rows.
    sample : Sample, optional
        What `row_sample` drew of X, with the same limit or a larger one.
    """
    sample = row_sample(estimator, X, limit) if sample is None else sample
    assert sample.keys is not None
    smallest = np.sort(np.argsort(sample.keys, kind="stable")[:limit])
    return sample.rows[smallest]


def row_sample(estimator: Any, X: Any, limit: int) -> Sample:
    """Return rows of X with the keys that decide which are shown: all in memory, else as many as `limit`."""
    source = prediction_source(estimator, X)
    sampling = Sampling(limit, _SEED, known_rows(source))
    if isinstance(source, ArraySource):
        return Sample(source.rows, keys=sampling.keys(np.arange(len(source.rows))))
    return one_pass(source, Survey(source.n_features, False, sampling)).sample(sampling)
