"""A sample with holes as one without: complete rows while there are enough, else filled by regression."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.row_sample import Sample
from dask_gmm.model.density import Density
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.observation.holes import HOLES
from dask_gmm.model.observation.measured import seen_values
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

# Complete rows for each component, and for each of its numbers, that are enough to start from alone.
_ROWS_PER_COMPONENT, _ROWS_PER_NUMBER = 20, 2
# Steps of EM for the one Gaussian that rows are filled by; a start need not be exact.
_STEPS = 20


def without_holes(sample: Sample, n_components: int) -> Sample:
    """Return rows to start from.

    Where more than twenty rows a component are complete these alone are taken: of what was tried, clusters
    of complete rows lead to the best optimum most often. Otherwise holes are filled by their expected values
    under one Gaussian, fitted by EM to all rows.

    Parameters
    ----------
    sample : Sample
        NaN in the holes.
    n_components : int
    """
    sample = replace(sample, rows=seen_values(sample.rows, sample.columns)[0])
    holes = np.isnan(sample.rows)
    if not holes.any():
        return sample
    whole = ~holes.any(axis=1)
    n_features = sample.rows.shape[1]
    enough = n_components * max(_ROWS_PER_COMPONENT, _ROWS_PER_NUMBER * n_features)
    if int(whole.sum()) > enough:
        return _chosen(sample, np.flatnonzero(whole))
    told = _chosen(sample, np.flatnonzero(~holes.all(axis=1)))
    return replace(told, rows=_filled(told).astype(sample.rows.dtype))


def _chosen(sample: Sample, which: NDArray[np.intp]) -> Sample:
    columns = {name: column[which] for name, column in sample.columns.items()}
    return Sample(sample.rows[which], columns, None if sample.keys is None else sample.keys[which])


def _filled(sample: Sample) -> Array:
    """Return rows with the expected values of one Gaussian in their holes."""
    rows = sample.rows.astype(np.float64)
    mean = np.nanmean(rows, axis=0)
    variance = np.nanvar(rows, axis=0)
    variance[~(variance > 0.0)] = 1.0
    # In units of each feature, so that one small number keeps the covariance positive definite.
    scaled = (rows - mean) / np.sqrt(variance)
    d = rows.shape[1]
    parameters = Parameters.from_covariances("full", np.ones(1), np.zeros((1, d)), np.eye(d)[np.newaxis])
    dtype = np.dtype(np.float64)
    observed = replace(sample, rows=scaled)
    for _ in range(_STEPS):
        kernel = HOLES.kernel(Density.of(parameters), dtype)
        statistics = Statistics.zero("full", 1, d, HOLES.more_shape(kernel.density))
        kernel.accumulate(statistics, observed)
        parameters = MAXIMUM_LIKELIHOOD.maximize(
            parameters, statistics, kernel.origins, reg_covar=1e-3, dtype=dtype
        )
    out = np.empty_like(scaled)
    HOLES.kernel(Density.of(parameters), dtype).impute(observed, out)
    filled: Array = np.where(np.isnan(rows), mean + out * np.sqrt(variance), rows)
    return filled
