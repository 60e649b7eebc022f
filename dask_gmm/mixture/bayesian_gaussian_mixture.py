"""The Bayesian mixture that a user holds: its parameters, its attributes, and what it delegates to."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, ClassVar, Literal, Self

import numpy as np
import sklearn.mixture
from sklearn.base import BaseEstimator, DensityMixin

from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Source
from dask_gmm.engine.cache import Cache
from dask_gmm.fitting.coverage import warn_of_coverage
from dask_gmm.fitting.em import Run
from dask_gmm.mixture.attributes import fitted_attributes, set_fitted
from dask_gmm.mixture.constraints import BAYESIAN_GAUSSIAN_MIXTURE, Constraints
from dask_gmm.mixture.endings import warn_of_ending
from dask_gmm.mixture.fit import FitSpec, run_fit
from dask_gmm.mixture.persistence import PersistenceMixin, converted_to
from dask_gmm.mixture.predict import PredictingMixin
from dask_gmm.mixture.priors import posterior_attributes, prior_attributes, variational
from dask_gmm.mixture.repr import ShownMixin
from dask_gmm.mixture.specification import spec_of_one
from dask_gmm.mixture.validation import MeasurementErrors, start_settings, training_source
from dask_gmm.model.estimation.variational import Variational
from dask_gmm.reporting.callback_support import CallbackSupportMixin, with_callbacks
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose import Verbose

# A component with fewer rows than this is not used.
_LEAST_ROWS = 1.0


class BayesianGaussianMixture(
    ShownMixin,
    CallbackSupportMixin,
    PredictingMixin,
    PersistenceMixin,
    DensityMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Variational Bayesian Gaussian mixture for data of any size, with scikit-learn's interface and answers.

    Passes and kernels are those of `GaussianMixture`; what is estimated is a posterior of the parameters. How
    many components are used comes out of the fit.

    Parameters
    ----------
    n_components : int, default=1
        Most components that may be used.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        As in `GaussianMixture`.
    tol : float, default=1e-3
        Stop when the lower bound changes by less. For data in memory the bound is the total over all rows, as
        scikit-learn has it; for stored and lazy data it is divided by the number of rows, since the same gain
        a row would otherwise need more iterations the more rows there are.
    reg_covar : float, default=1e-6
        Added to the variances, in squared units of the data.
    max_iter, n_init, init_params, random_state, warm_start, verbose, verbose_interval
        As in `GaussianMixture`.
    weight_concentration_prior_type : str, default='dirichlet_process'
        Weights are broken off a stick one after the other; with 'dirichlet_distribution' drawn together.
    weight_concentration_prior : float, default=None
        The smaller, the fewer components are used; 1 / n_components without it.
    mean_precision_prior : float, default=None
        How many rows the prior of a mean is worth; 1 without it.
    mean_prior : array-like of shape (n_features,), default=None
        Where means are expected; the mean of the rows without it.
    degrees_of_freedom_prior : float, default=None
        Of the Wishart distribution of precisions, above n_features - 1; n_features without it.
    covariance_prior : float or array-like, default=None
        Scale of the covariances, of the shape of one; the covariance of the rows without it.
    cache, checkpoint, nan, missing
        As in `GaussianMixture`.

    Attributes
    ----------
    weights_, means_, covariances_, precisions_, precisions_cholesky_, covariance_type_
        As in `GaussianMixture`, at their posterior means.
    weight_concentration_ : ndarray of shape (n_components,), or tuple of two
        Of the Dirichlet distribution, or of each break of the stick.
    mean_precision_, degrees_of_freedom_ : ndarray of shape (n_components,)
        Of the posterior; one number of freedom for 'tied'.
    weight_concentration_prior_, mean_precision_prior_, degrees_of_freedom_prior_ : float
        The prior that was used.
    mean_prior_, covariance_prior_ : ndarray
        Likewise.
    n_effective_components_ : int
        Components that have at least one row.
    converged_, n_iter_, lower_bound_, lower_bounds_, history_, n_features_in_, feature_names_in_
        As in `GaussianMixture`.

    See Also
    --------
    sklearn.mixture.BayesianGaussianMixture : The same on one machine's memory.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gmm import BayesianGaussianMixture
    >>> rng = np.random.default_rng(0)
    >>> X = rng.normal(size=(300, 2)) + 9 * rng.integers(0, 2, size=(300, 1))
    >>> bgm = BayesianGaussianMixture(n_components=5, max_iter=500, random_state=0).fit(X)
    >>> bgm.n_effective_components_
    2
    """

    _parameter_constraints: ClassVar[Constraints] = BAYESIAN_GAUSSIAN_MIXTURE

    def __init__(
        self,
        *,
        n_components: int = 1,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weight_concentration_prior_type: str = "dirichlet_process",
        weight_concentration_prior: float | None = None,
        mean_precision_prior: float | None = None,
        mean_prior: Any = None,
        degrees_of_freedom_prior: float | None = None,
        covariance_prior: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
        cache: Cache = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
        nan: NanRule = "error",
        missing: Literal["error", "em"] = "error",
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weight_concentration_prior_type = weight_concentration_prior_type
        self.weight_concentration_prior = weight_concentration_prior
        self.mean_precision_prior = mean_precision_prior
        self.mean_prior = mean_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.covariance_prior = covariance_prior
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval
        self.cache = cache
        self.checkpoint = checkpoint
        self.nan = nan
        self.missing = missing

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None
    ) -> Self:
        """Estimate the posterior by coordinate ascent.

        Parameters
        ----------
        X, y, sample_weight, X_err, X_corr
            As in `GaussianMixture.fit`.

        Returns
        -------
        self : BayesianGaussianMixture
            A fit that raises leaves the estimator as it was.

        Raises
        ------
        InvalidParameterError
            A constructor parameter out of range (a ValueError and TypeError).
        DataError
            NaN, infinity or bad weights, with the chunk and the first bad row (a ValueError).
        ValueError
            A prior of another shape, or that is not positive definite.

        Warns
        -----
        ConvergenceWarning
            The best restart did not meet `tol` within `max_iter`.
        """
        self._fit(X, y, sample_weight, MeasurementErrors.given(X_err, X_corr))
        return self

    @with_callbacks
    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None
    ) -> Any:
        """Fit, and return the labels of X as `predict` does; parameters as in `fit`."""
        source = self._fit(X, y, sample_weight, MeasurementErrors.given(X_err, X_corr))
        return self._answer(source, "labels")

    def to_sklearn(self) -> sklearn.mixture.BayesianGaussianMixture:
        """Return a fitted ``sklearn.mixture.BayesianGaussianMixture`` with the same attributes."""
        return converted_to(sklearn.mixture.BayesianGaussianMixture, self)

    def _fit(self, X: Any, y: Any, sample_weight: Any, errors: MeasurementErrors | None) -> Source:
        """Fit as `fit` does, and return the rows."""
        self._validate_params()
        source, features = training_source(self, X, sample_weight, int(self.n_components), errors)
        spec = self._spec(source, features)

        def attributes(run: Run) -> Mapping[str, Any]:
            return {
                **features,
                **fitted_attributes(run, source.dtype),
                **posterior_attributes(run, source.dtype),
            }

        verbose = Verbose(self.verbose, self.verbose_interval)
        report = FitReport(self, verbose, attributes, X, y, sample_weight)
        done = run_fit(spec, source, report)
        (candidate,) = done.candidates
        warn_of_coverage(done.coverage, source.feature_names)
        warn_of_ending(candidate, None)
        found = {**attributes(candidate.best), "history_": done.history(0)}
        estimation = candidate.settings.estimation
        assert isinstance(estimation, Variational)
        prior = prior_attributes(estimation)
        # What a component's mean is worth beyond its prior are its rows.
        n_rows = np.asarray(found["mean_precision_"], dtype=float) - prior["mean_precision_prior_"]
        found |= {**prior, "n_effective_components_": int((n_rows >= _LEAST_ROWS).sum())}
        set_fitted(self, found)
        report.fit_done(candidate.best, done.records)
        return source

    def _spec(self, source: Source, features: Mapping[str, Any]) -> FitSpec:
        start = start_settings(
            source.n_features,
            n_components=self.n_components,
            covariance_type=self.covariance_type,
            init_params=self.init_params,
            reg_covar=self.reg_covar,
        )
        estimation = variational(self, start, source.n_features, per_row=not source.in_memory)
        return spec_of_one(self, source, features, start=start, estimation=estimation, accelerate=False)
