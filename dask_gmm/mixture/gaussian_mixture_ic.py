"""How many components, and which covariances: many mixtures fitted in passes that they share."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Literal, Self

import numpy as np
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.utils import check_random_state

from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source
from dask_gmm.engine.cache import Cache
from dask_gmm.fitting.coverage import warn_of_coverage
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.mixture.attributes import fitted_attributes, set_fitted
from dask_gmm.mixture.constraints import GAUSSIAN_MIXTURE_IC, SHARED, Constraints
from dask_gmm.mixture.dense import DenseMixin
from dask_gmm.mixture.fit import FitSpec, mixture_settings, run_fit
from dask_gmm.mixture.fitted import observation_of
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.model_selection import candidate_grid, results_table, warn_of_candidates
from dask_gmm.mixture.predict import PredictingMixin
from dask_gmm.mixture.priors import estimation_of
from dask_gmm.mixture.repr import ShownMixin
from dask_gmm.mixture.validation import start_settings, training_source
from dask_gmm.model.covariance import unspelled
from dask_gmm.reporting.callback_support import CallbackSupportMixin, with_callbacks
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose_sweep import SweepVerbose


class GaussianMixtureIC(
    ShownMixin,
    CallbackSupportMixin,
    PredictingMixin,
    DenseMixin,
    DensityMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Gaussian mixture whose number of components and covariance type a criterion chooses.

    All candidates are fitted together: each chunk is read once per pass, for all that are not done yet. Each
    ends where it would have ended alone, to the last bit.

    Parameters
    ----------
    n_components : int or sequence of int, default=(1, 2, ..., 10)
        Numbers of components to try.
    covariance_type : str or sequence of str, default=("full",)
        Covariance types to try, of those of `GaussianMixture`.
    n_factors : int or sequence of int, default=1
        Numbers of factors to try with 'factor'.
    criterion : {'bic', 'aic', 'icl'}, default='bic'
        What chooses; the lowest wins. BIC finds how many components describe the density, ICL how many
        clusters can be told apart, AIC how many predict best.
    tol : float or 'auto', default='auto'
        As in `GaussianMixture`. 'auto' goes on until the estimate of what is left to gain is a tenth of the
        penalty of `criterion`: for p parameters and n rows p ln n / (20 n) nats per row with BIC and ICL,
        p / (10 n) with AIC. A fixed tolerance leaves more than that where n is large, and what it leaves then
        decides the choice.
    reg_covar, max_iter, n_init, init_params, random_state, cache, checkpoint, accelerate, nan, noise, \
        background, background_volume
        As in `GaussianMixture`, for each candidate. All start from the same `random_state`. `max_iter` is
        1000 unless given; ``accelerate=True`` saves most of these passes.
    verbose : int, default=0
        1 prints a line for each restart of a candidate that is done.

    Attributes
    ----------
    results_ : dict of ndarray
        A table with one line per candidate, for ``pandas.DataFrame(results_)``: n_components,
        covariance_type, bic, aic, icl, log_likelihood (nats, all rows), lower_bound and remaining (estimate
        of what is left to gain; nats per row), n_parameters, n_iter, converged, error (empty unless the
        candidate collapsed).
    best_index_ : int
        The chosen line.
    best_estimator_ : GaussianMixture
        The chosen mixture, fitted.
    n_components_, covariance_type_
        Of the chosen mixture.
    weights_, means_, covariances_, precisions_, precisions_cholesky_
        As in `GaussianMixture`, of the chosen mixture.
    converged_, n_iter_, lower_bound_, lower_bounds_
        Likewise.
    history_ : History
        Of the chosen mixture; its `passes` are those of the whole sweep.
    n_features_in_, feature_names_in_
        As in `GaussianMixture`.

    See Also
    --------
    sklearn.linear_model.LassoLarsIC : The same manner of choosing.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gmm import GaussianMixtureIC
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + 8 * rng.integers(0, 3, size=(300, 1))
    >>> selection = GaussianMixtureIC(range(1, 6), covariance_type=("full", "spherical"), random_state=0)
    >>> selection.fit(X).n_components_, selection.covariance_type_
    (3, 'spherical')
    """

    _parameter_constraints: ClassVar[Constraints] = GAUSSIAN_MIXTURE_IC

    def __init__(
        self,
        n_components: int | Sequence[int] = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10),
        *,
        covariance_type: str | Sequence[str] = ("full",),
        criterion: str = "bic",
        tol: float | str = "auto",
        reg_covar: float = 1e-6,
        max_iter: int = 1000,
        n_init: int = 1,
        init_params: str = "kmeans",
        random_state: Any = None,
        verbose: int = 0,
        cache: Cache = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        accelerate: bool = False,
        nan: NanRule = "error",
        n_factors: int | Sequence[int] = 1,
        noise: str = "diag",
        background: Literal["uniform"] | None = None,
        background_volume: float | None = None,
        missing: Literal["error", "em"] = "error",
        mean_prior: Any = None,
        mean_precision_prior: Any = None,
        covariance_prior: Any = None,
        degrees_of_freedom_prior: Any = None,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.criterion = criterion
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.random_state = random_state
        self.verbose = verbose
        self.cache = cache
        self.checkpoint = checkpoint
        self.accelerate = accelerate
        self.nan = nan
        self.n_factors = n_factors
        self.noise = noise
        self.background = background
        self.background_volume = background_volume
        self.missing = missing
        self.mean_prior = mean_prior
        self.mean_precision_prior = mean_precision_prior
        self.covariance_prior = covariance_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior

    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Fit all candidates and choose.

        Parameters
        ----------
        X, y, sample_weight
            As in `GaussianMixture.fit`.

        Returns
        -------
        self : GaussianMixtureIC
            A fit that raises leaves the estimator as it was.

        Raises
        ------
        InvalidParameterError
            A constructor parameter out of range (a ValueError and TypeError).
        DataError
            NaN, infinity or bad weights, with the chunk and the first bad row (a ValueError).
        CollapsedComponentError
            Of the first candidate, when every candidate collapsed.

        Warns
        -----
        UserWarning
            Candidates, or restarts of them, that collapsed and are left out.
        ConvergenceWarning
            Candidates that did not converge within `max_iter`, or met a `tol` that leaves more to gain than
            'auto' does.
        """
        self._validate_params()
        grid = candidate_grid(self.n_components, self.covariance_type, self.n_factors, self.noise)
        most_components = max(n_components for _, n_components in grid)
        source, features = training_source(self, X, sample_weight, most_components)
        seed = _seed(self.random_state)
        spec = fit_spec(self, grid, source, seed)

        def attributes(run: Run) -> Mapping[str, Any]:
            chosen = {"n_components_": run.parameters.n_components}
            return {**features, **chosen, **fitted_attributes(run, source.dtype)}

        report = FitReport(self, SweepVerbose(self.verbose), attributes, X, y, sample_weight)
        done = run_fit(spec, source, report)
        warn_of_coverage(done.coverage, source.feature_names)
        warn_of_candidates(done.candidates, done.evaluations)
        results = results_table(done.candidates, done.evaluations)
        index = int(np.nanargmin(results[self.criterion]))
        best, history = done.candidates[index].best, {"history_": done.history(index)}
        mixture = _mixture(self, spec.mixtures[index].start, seed)
        set_fitted(mixture, {**features, **fitted_attributes(best, source.dtype), **history})
        chosen = {"results_": results, "best_index_": index, "best_estimator_": mixture}
        set_fitted(self, {**attributes(best), **history, **chosen})
        report.fit_done(best, done.records)
        return self


def fit_spec(
    estimator: GaussianMixtureIC, grid: Sequence[tuple[str, int]], source: Source, seed: int
) -> FitSpec:
    """Return what decides a fit of all candidates to `source`.

    Parameters
    ----------
    estimator : GaussianMixtureIC
        With valid parameters.
    grid : sequence of (str, int)
        Covariance type and number of components of each candidate.
    source : Source
        The rows.
    seed : int
        What each candidate draws from, so that none depends on the others.
    """
    starts = (
        start_settings(
            source.n_features,
            n_components=n_components,
            covariance_type=covariance_type,
            init_params=estimator.init_params,
            reg_covar=estimator.reg_covar,
        )
        for covariance_type, n_components in grid
    )
    mixtures = tuple(
        mixture_settings(
            source,
            start,
            tol=None if isinstance(estimator.tol, str) else estimator.tol,
            max_iter=estimator.max_iter,
            n_init=estimator.n_init,
            accelerate=estimator.accelerate,
            criterion=estimator.criterion,
            observation=observation_of(estimator, source),
            estimation=estimation_of(estimator, start, source.n_features),
        )
        for start in starts
    )
    return FitSpec(
        mixtures=mixtures,
        random_states=tuple(check_random_state(seed) for _ in mixtures),
        parameters=estimator.get_params(deep=False),
        cache=estimator.cache,
        checkpoint=estimator.checkpoint,
        compared=True,
    )


def _seed(random_state: Any) -> int:
    if isinstance(random_state, Integral):
        return int(random_state)
    return int(check_random_state(random_state).randint(2**31 - 1))


def _mixture(estimator: GaussianMixtureIC, start: StartSettings, seed: int) -> GaussianMixture:
    """Return the chosen mixture before it is fitted."""
    parameters = {name: getattr(estimator, name) for name in SHARED}
    parameters |= {"random_state": seed, "checkpoint": None}
    if estimator.tol != "auto":
        parameters["tol"] = estimator.tol
    parameters |= unspelled(start.covariance_type)
    return GaussianMixture(start.n_components, **parameters)
