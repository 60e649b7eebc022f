"""How one sweep goes: all candidates fitted in passes that they share, compared, and the best one kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from numbers import Integral
from typing import Any

import numpy as np
from sklearn.utils import check_random_state

from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.evaluation import Evaluation
from dask_gmm.fitting.history import History
from dask_gmm.fitting.loop import Candidate
from dask_gmm.fitting.mixtures import fit_mixtures
from dask_gmm.fitting.passes import Passes, PassRecord
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.mixture.attributes import fitted_attributes
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.model_selection import candidate_settings, grid_of, results_table, warn_of
from dask_gmm.mixture.preparing import engine_for, engine_in_memory, fit_data, rows_of, start_rows
from dask_gmm.mixture.training import checkpoint_of, set_fitted
from dask_gmm.mixture.validation import training_source
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose_sweep import SweepVerbose

# With the meaning and the rules that they have in `GaussianMixture`.
SHARED = (
    "reg_covar",
    "max_iter",
    "n_init",
    "init_params",
    "random_state",
    "cache",
    "checkpoint",
    "accelerate",
)


def sweep(estimator: Any, X: Any, y: Any, sample_weight: Any) -> None:
    """Fit the candidates of a `GaussianMixtureIC`, choose, and set its attributes.

    Raises
    ------
    Exception
        As `GaussianMixtureIC.fit`; the estimator is then as it was.
    """
    estimator._validate_params()
    grid_of(estimator)
    source, learned = training_source(estimator, X, sample_weight)
    settings = candidate_settings(estimator, start_rows(source), shared_passes=not source.in_memory)
    seed = _seed(estimator.random_state)

    def attributes(run: Run) -> Mapping[str, Any]:
        chosen = {"n_components_": run.parameters.n_components}
        return {**learned, **chosen, **fitted_attributes(run, source.dtype)}

    def so_far(run: Run, records: tuple[PassRecord, ...], left: int | None) -> Mapping[str, Any]:
        return {**attributes(run), "history_": History.of_run(run, records, left)}

    n_mixtures = len(settings) * estimator.n_init
    with (
        # Starts and M-steps too shall have the same bits on any number of cores.
        SingleBlasThread(),
        closing(engine_for(source, estimator.cache, settings, n_mixtures)) as engine,
        checkpoint_of(estimator, source) as keeper,
    ):
        report = FitReport(
            estimator,
            SweepVerbose(estimator.verbose),
            fit_data(X, y, sample_weight),
            n_groups=engine.n_groups,
            most_passes=2 + estimator.max_iter,
            attributes=so_far,
        )
        passes = Passes(
            engine,
            rows_of(source, start_rows(source)),
            report,
            scatter=any(one.needs_scatter for one in settings),
            least_rows=max(one.start.n_components for one in settings),
        )
        streams = [check_random_state(seed) for _ in settings]
        candidates = fit_mixtures(passes, settings, streams, engine_in_memory, report, keeper)
        evaluations = _evaluated(passes, candidates)
    warn_of(estimator, candidates, evaluations, stacklevel=4)
    results = results_table(candidates, evaluations)
    index = int(np.nanargmin(results[estimator.criterion]))
    best = candidates[index].best
    history = {"history_": History(best.number, candidates[index].iterations, passes.records)}
    mixture = _mixture(estimator, settings[index], seed)
    set_fitted(mixture, {**learned, **fitted_attributes(best, source.dtype), **history})
    chosen = {"results_": results, "best_index_": index, "best_estimator_": mixture}
    set_fitted(estimator, {**attributes(best), **history, **chosen})
    report.fit_done(best, passes.records)


def _seed(random_state: Any) -> int:
    # Candidates must not depend on one another, so each gets the same stream from its beginning.
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _evaluated(passes: Passes, candidates: Sequence[Candidate]) -> list[Evaluation | None]:
    """Return how good each candidate is, None for those that collapsed."""
    fitted = [candidate for candidate in candidates if candidate.runs]
    if not fitted:
        raise candidates[0].collapses[0].error
    mixtures = [candidate.best.parameters for candidate in fitted]
    evaluations = iter(passes.evaluate(mixtures, [candidate.settings for candidate in fitted]))
    return [next(evaluations) if candidate.runs else None for candidate in candidates]


def _mixture(estimator: Any, settings: FitSettings, seed: int) -> GaussianMixture:
    """Return the chosen mixture before it is fitted."""
    parameters = {name: getattr(estimator, name) for name in SHARED}
    parameters |= {"random_state": seed, "checkpoint": None}
    if estimator.tol != "auto":
        parameters["tol"] = estimator.tol
    return GaussianMixture(
        settings.start.n_components, covariance_type=settings.start.covariance_type, **parameters
    )
