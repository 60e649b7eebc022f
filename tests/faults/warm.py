"""Imported where workers are forked from: a fit that loads the kernels, so that no new worker has to.

Importing and loading take longer than the time that workers of these tests have to live.
"""

from __future__ import annotations

import warnings

import dask
import dask.array as da

from dask_gmm import GaussianMixture
from dask_gmm.engine import cluster as cluster

with warnings.catch_warnings(), dask.config.set(scheduler="sync"):
    warnings.simplefilter("ignore")
    # No k-means: OpenMP does not outlive a fork.
    _rows = da.random.default_rng(0).normal(size=(60, 3), chunks=(20, 3))
    GaussianMixture(3, max_iter=2, tol=0.0, random_state=0, init_params="random_from_data").fit(_rows)
