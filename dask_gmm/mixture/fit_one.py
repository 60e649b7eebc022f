"""A fit of one mixture, from the estimator to its attributes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source
from dask_gmm.fitting.coverage import warn_of_coverage
from dask_gmm.fitting.em import Run
from dask_gmm.mixture.attributes import fitted_attributes, given_parts, set_fitted
from dask_gmm.mixture.endings import warn_of_ending
from dask_gmm.mixture.fit import run_fit
from dask_gmm.mixture.fitted import observation_of
from dask_gmm.mixture.specification import MixtureParameters, fit_spec
from dask_gmm.mixture.summarize import threshold_of
from dask_gmm.mixture.validation import MeasurementErrors, training_source
from dask_gmm.reporting.callbacks import CallbackHost, FitReport
from dask_gmm.reporting.verbose import Verbose


class Fittable(MixtureParameters, CallbackHost, Protocol):
    """What is asked of a `GaussianMixture` besides what decides a fit."""

    verbose: int
    verbose_interval: int
    contamination: float | None
    nan: NanRule

    def _validate_params(self) -> None: ...


def fit_one(
    estimator: Fittable, X: Any, y: Any, sample_weight: Any, errors: MeasurementErrors | None
) -> Source:
    """Fit as `GaussianMixture.fit` does, and return the rows."""
    estimator._validate_params()
    source, features = training_source(estimator, X, sample_weight, int(estimator.n_components), errors)
    spec = fit_spec(estimator, source, features)
    (settings,) = spec.mixtures

    def attributes(run: Run) -> Mapping[str, Any]:
        return {**features, **given_parts(settings.start), **fitted_attributes(run, source.dtype)}

    verbose = Verbose(estimator.verbose, estimator.verbose_interval)
    report = FitReport(estimator, verbose, attributes, X, y, sample_weight)
    done = run_fit(spec, source, report)
    (candidate,) = done.candidates
    warn_of_coverage(done.coverage, source.feature_names)
    warn_of_ending(candidate, done.weight)
    found = {**attributes(candidate.best), "history_": done.history(0)}
    if estimator.contamination is not None:
        observation = observation_of(estimator, source)
        found["threshold_"] = threshold_of(found, observation, source, estimator.contamination)
    set_fitted(estimator, found)
    report.fit_done(candidate.best, done.records)
    return source
