"""A few rows to draw, of data of any size: one pass at most, and the same rows whatever the chunks."""

from __future__ import annotations

from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.in_memory import ArraySource
from dask_gmm.engine.choose import choose_engine
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.survey import Survey
from dask_gmm.mixture.validation import known_rows, prediction_source


def sampled_rows(estimator: Any, X: Any, limit: int, seed: int = 0) -> NDArray[Any]:
    """Return at most `limit` rows of X, drawn by their numbers, in row order.

    Parameters
    ----------
    estimator : GaussianMixture
        Fitted; X is checked against its features.
    X
        As in ``GaussianMixture.predict``.
    limit : int
        Most rows.
    seed : int
        Decides which ones.
    """
    source = prediction_source(estimator, X)
    sampling = Sampling(limit, seed, known_rows(source))
    if isinstance(source, ArraySource):
        keys = sampling.keys(np.arange(len(source.rows)))
        return source.rows[np.sort(np.argsort(keys, kind="stable")[:limit])]
    with closing(choose_engine(source, cache=False)) as engine:
        (surveyed,) = engine.run([Survey(source.n_features, False, sampling)])
    rows: NDArray[Any] = surveyed.sample(sampling).rows
    return rows
