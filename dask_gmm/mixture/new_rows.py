"""Passes over rows that come after a fit."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager

import numpy as np

from dask_gmm.data.source import Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.cache import Cache
from dask_gmm.engine.choose import choose_engine
from dask_gmm.fitting.init.on_sample import UNOBSERVED
from dask_gmm.fitting.passes import Passes
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.mixture.fit import FitSpec
from dask_gmm.mixture.fit_rows import rows_of, start_rows
from dask_gmm.mixture.specification import MixtureParameters, fit_spec


def settings_of(estimator: MixtureParameters, source: Source) -> FitSettings:
    """Return what decides steps on new rows: the estimator's parameters as they are now.

    Raises
    ------
    ValueError
        With `warm_start`, parameters that do not fit the fitted mixture. Or a prior that is to be taken from
        all rows, of which these are some.
    """
    (settings,) = fit_spec(estimator, source, {}).mixtures
    if settings.estimation.asks_rows:
        raise ValueError(
            "A prior is to be taken from all rows, but these are some of them. Give numbers for mean_prior, "
            "covariance_prior and degrees_of_freedom_prior, or fit all rows again."
        )
    return settings


@contextmanager
def passes_over_new_rows(source: Source, settings: FitSettings, cache: Cache) -> Iterator[Passes]:
    """Return what runs passes over rows that are added to others, while the context is open.

    Parameters
    ----------
    source : Source
    settings : FitSettings
    cache : {'auto', True, False}
        Whether rows stay in memory between passes.
    """
    computed = FitSpec((settings,), (np.random.RandomState(0),), {}).pass_bytes(source.n_features)
    with (
        SingleBlasThread(),
        closing(choose_engine(source, cache, computed)) as engine,
    ):
        yield Passes(
            engine,
            rows_of(source, start_rows(source)),
            UNOBSERVED,
            scatter=settings.needs_scatter,
            least_rows=1,
            holes=settings.observation.takes_holes,
            appended=True,
        )
