"""The estimator that a user holds: checks, delegates, and sets what was fitted once, at the end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping
from numbers import Integral, Real
from typing import Any, ClassVar

import dask
import numpy as np
from dask.utils import parse_bytes
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from dask_gmm.data.arrays import ArraySource
from dask_gmm.data.source import Source
from dask_gmm.engine.choose import choose_engine
from dask_gmm.fitted import fitted_attributes, fitted_density, fitted_parameters
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.fit import FitSettings, Passes, Rows, WarmStart, fit_mixture
from dask_gmm.fitting.survey import Sample
from dask_gmm.fitting.works import LogLikelihood
from dask_gmm.model.sampling import draw
from dask_gmm.model.statistics import Totals
from dask_gmm.predicting import Quantity, prediction
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose import Verbose
from dask_gmm.validation import known_rows, prediction_source, start_settings, training_source

_NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


class GaussianMixture(CallbackSupportMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian mixture for data of any size, with scikit-learn's interface and answers.
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "n_components": [Interval(Integral, 1, None, closed="left")],
        "covariance_type": [StrOptions({"full", "tied", "diag", "spherical"})],
        "tol": [Interval(Real, 0.0, None, closed="left")],
        "reg_covar": [Interval(Real, 0.0, None, closed="left")],
        "max_iter": [Interval(Integral, 0, None, closed="left")],
        "n_init": [Interval(Integral, 1, None, closed="left")],
        "init_params": [StrOptions({"kmeans", "random", "random_from_data", "k-means++"})],
        "weights_init": ["array-like", None],
        "means_init": ["array-like", None],
        "precisions_init": ["array-like", None],
        "random_state": ["random_state"],
        "warm_start": ["boolean"],
        "verbose": ["verbose"],
        "verbose_interval": [Interval(Integral, 1, None, closed="left")],
    }

    def __init__(
        self,
        n_components: int = 1,
        *,
        covariance_type: str = "full",
        tol: float = 1e-3,
        reg_covar: float = 1e-6,
        max_iter: int = 100,
        n_init: int = 1,
        init_params: str = "kmeans",
        weights_init: Any = None,
        means_init: Any = None,
        precisions_init: Any = None,
        random_state: Any = None,
        warm_start: bool = False,
        verbose: int = 0,
        verbose_interval: int = 10,
    ) -> None:
        self.n_components = n_components
        self.covariance_type = covariance_type
        self.tol = tol
        self.reg_covar = reg_covar
        self.max_iter = max_iter
        self.n_init = n_init
        self.init_params = init_params
        self.weights_init = weights_init
        self.means_init = means_init
        self.precisions_init = precisions_init
        self.random_state = random_state
        self.warm_start = warm_start
        self.verbose = verbose
        self.verbose_interval = verbose_interval

    @with_callbacks
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> GaussianMixture:
        """Estimate the parameters by expectation maximization.
        """
        self._fit(X, y, sample_weight)
        return self

    @with_callbacks
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the labels of X as `predict` does.
        """
        source = self._fit(X, y, sample_weight)
        return self._answer(source, "labels")

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Source:
        self._validate_params()
        source, learned = training_source(self, X, sample_weight)
        start, replaced = start_settings(self, source.n_features)
        settings = FitSettings(start, self.tol, self.max_iter, self.n_init, _start_rows(source))
        warm = self._warm_start(source)
        engine = choose_engine(source)

        def attributes(run: Run) -> Mapping[str, Any]:
            return {**learned, **replaced, **fitted_attributes(run, source.dtype)}

        report = FitReport(
            self,
            Verbose(self.verbose, self.verbose_interval),
            _fit_data(X, y, sample_weight),
            n_groups=engine.n_groups,
            most_passes=1 + self.max_iter * (1 if warm else self.n_init),
            attributes=attributes,
        )
        rows = Rows(known_rows(source), source.n_features, source.dtype, _sample_in_memory(source, settings))
        passes = Passes(engine, rows, settings, report)
        run = fit_mixture(passes, settings, check_random_state(self.random_state), warm, report)
        if not run.converged and self.max_iter > 0:
            warnings.warn(_NOT_CONVERGED, ConvergenceWarning, stacklevel=4)
        for name, value in attributes(run).items():
            setattr(self, name, value)
        report.fit_done(run)
        return source

    def _warm_start(self, source: Source) -> WarmStart | None:
        if not (self.warm_start and hasattr(self, "converged_")):
            return None
        parameters = fitted_parameters(self)
        if parameters.n_features != source.n_features:
            raise ValueError(
                f"warm_start=True continues from a fit with {parameters.n_features} features, but X has "
                f"{source.n_features}. Fit a new estimator, or set warm_start=False."
            )
        return WarmStart(parameters, float(self.lower_bound_))

    def predict(self, X: Any) -> Any:
        """Return the most probable component of each row.
        """
        check_is_fitted(self)
        return self._answer(prediction_source(self, X), "labels")

    def predict_proba(self, X: Any) -> Any:
        """Return the posterior probability of each component for each row.
        """
        check_is_fitted(self)
        return self._answer(prediction_source(self, X), "probabilities")

    def score_samples(self, X: Any) -> Any:
        """Return the log density of each row, in nats.
        """
        check_is_fitted(self)
        return self._answer(prediction_source(self, X), "log_density")

    def _answer(self, source: Source, quantity: Quantity) -> Any:
        return source.apply(prediction(fitted_density(self), quantity, source.dtype))

    def score(self, X: Any, y: Any = None, sample_weight: Any = None) -> float:
        """Return the mean log density of the rows, in nats.
        """
        totals = self._totals(X, sample_weight)
        return totals.log_likelihood / totals.weight

    def bic(self, X: Any, sample_weight: Any = None) -> float:
        """Return the Bayesian information criterion on X; the lower, the better.
        """
        totals = self._totals(X, sample_weight)
        return -2 * totals.log_likelihood + self._n_parameters() * math.log(totals.weight)

    def aic(self, X: Any, sample_weight: Any = None) -> float:
        """Return Akaike's information criterion on X; the lower, the better.
        """
        return -2 * self._totals(X, sample_weight).log_likelihood + 2 * self._n_parameters()

    def _totals(self, X: Any, sample_weight: Any) -> Totals:
        check_is_fitted(self)
        source = prediction_source(self, X, sample_weight)
        (totals,) = choose_engine(source).run([LogLikelihood(fitted_density(self), source.dtype)])
        return totals

    def _n_parameters(self) -> int:
        return fitted_parameters(self).n_free

    def sample(self, n_samples: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Draw rows from the fitted mixture.
        """
        check_is_fitted(self)
        return draw(fitted_parameters(self), n_samples, check_random_state(self.random_state))


def _start_rows(source: Source) -> int:
    """Return how many rows the start may take into memory."""
    budget: int = parse_bytes(dask.config.get("dask-gmm.start-bytes", "256 MiB"))
    return max(2, budget // max(1, source.n_features * source.dtype.itemsize))


def _sample_in_memory(source: Source, settings: FitSettings) -> Sample | None:
    """Return the rows themselves where they are at hand and few enough: no pass is needed to start."""
    if isinstance(source, ArraySource) and len(source.rows) <= settings.start_rows:
        return Sample(source.rows, source.weights)
    return None


def _fit_data(X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    # Monitors score only where there are targets; a density's targets are the rows themselves.
    return {"X": X, "y": X if y is None else y, "metadata": metadata}
