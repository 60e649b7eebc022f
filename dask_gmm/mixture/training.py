"""How one fit goes: the data checked, the passes run, and what was fitted set once, at the end."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from typing import Any

from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state

from dask_gmm.checkpointing import Checkpoint, fit_identity
from dask_gmm.data.source import Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.fitting.convergence import gap_advice
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.history import History
from dask_gmm.fitting.mixtures import fit_mixture
from dask_gmm.fitting.passes import Passes, PassRecord
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.mixture.attributes import check_held, fitted_attributes
from dask_gmm.mixture.preparing import engine_for, engine_in_memory, fit_data, rows_of, start_rows
from dask_gmm.mixture.validation import start_settings, training_source
from dask_gmm.mixture.warm_start import warm_start
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose import Verbose

_LOGGER = logging.getLogger("dask_gmm")

_NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


def train(estimator: Any, X: Any, y: Any, sample_weight: Any) -> Source:
    """Fit a `GaussianMixture` and set its attributes.

    Returns
    -------
    source : Source
        The rows it was fitted to.

    Raises
    ------
    Exception
        As `GaussianMixture.fit`; the estimator is then as it was.
    """
    estimator._validate_params()
    source, learned = training_source(estimator, X, sample_weight)
    start, replaced = start_settings(estimator, source.n_features)
    warm = warm_start(estimator, source, learned)
    settings = FitSettings(
        start,
        estimator.tol,
        estimator.max_iter,
        estimator.n_init,
        start_rows(source),
        shared_passes=not source.in_memory,
        accelerate=estimator.accelerate,
    )

    def attributes(run: Run) -> Mapping[str, Any]:
        return {**learned, **replaced, **fitted_attributes(run, source.dtype)}

    def so_far(run: Run, records: tuple[PassRecord, ...], left: int | None) -> Mapping[str, Any]:
        return {**attributes(run), "history_": History.of_run(run, records, left)}

    with (
        # Starts and M-steps too shall have the same bits on any number of cores.
        SingleBlasThread(),
        closing(engine_for(source, estimator.cache, [settings], estimator.n_init)) as engine,
        checkpoint_of(estimator, source) as keeper,
    ):
        report = FitReport(
            estimator,
            Verbose(estimator.verbose, estimator.verbose_interval),
            fit_data(X, y, sample_weight),
            n_groups=engine.n_groups,
            most_passes=1 + estimator.max_iter * estimator.n_init,
            attributes=so_far,
        )
        passes = Passes(
            engine,
            rows_of(source, settings.start_rows),
            report,
            scatter=settings.needs_scatter,
            least_rows=estimator.n_components,
        )
        random_state = check_random_state(estimator.random_state)
        fitted = fit_mixture(passes, settings, random_state, warm, engine_in_memory, report, keeper)
    run = fitted.best
    for collapse in fitted.collapses:
        warnings.warn(f"Restart {collapse.number} was left out. {collapse.error}", UserWarning, stacklevel=4)
    _tell_ending(estimator, run, passes, source)
    history = History(run.number, fitted.iterations, passes.records)
    set_fitted(estimator, {**attributes(run), "history_": history})
    report.fit_done(run, passes.records)
    return source


def checkpoint_of(estimator: Any, source: Source) -> AbstractContextManager[Checkpoint | None]:
    """Return the estimator's checkpoint of a fit to these rows, held by this process while it is open."""
    if estimator.checkpoint is None:
        return nullcontext()
    return Checkpoint(estimator.checkpoint, fit_identity(estimator, source))


def set_fitted(estimator: Any, attributes: Mapping[str, Any]) -> None:
    """Set what a fit found.

    Raises
    ------
    DataError
        Parameters that the dtype of the rows cannot hold; nothing is set then.
    """
    check_held(attributes)
    # Rows without names forget those of an earlier fit.
    vars(estimator).pop("feature_names_in_", None)
    for name, value in attributes.items():
        setattr(estimator, name, value)


def _tell_ending(estimator: Any, run: Run, passes: Passes, source: Source) -> None:
    """Warn of a fit that stopped early; where scikit-learn would be silent, only log it."""
    advice = None
    if run.iterations and passes.moments is not None:
        advice = gap_advice(
            run.change,
            run.remaining,
            run.parameters.n_free,
            passes.moments.weight,
            accelerated=estimator.accelerate,
        )
    if not run.converged and estimator.max_iter > 0:
        warnings.warn(" ".join(filter(None, [_NOT_CONVERGED, advice])), ConvergenceWarning, stacklevel=5)
    elif advice is not None and not source.in_memory:
        warnings.warn(f"tol={estimator.tol:g} was met. {advice}", ConvergenceWarning, stacklevel=5)
    elif advice is not None:
        _LOGGER.info(advice)
