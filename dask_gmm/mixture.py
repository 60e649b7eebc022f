"""The estimator that a user holds: checks, delegates, and sets what was fitted once, at the end."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from contextlib import AbstractContextManager, closing, nullcontext
from numbers import Integral, Real
from typing import Any, ClassVar

import dask
from dask.utils import parse_bytes
from sklearn.base import BaseEstimator, DensityMixin
from sklearn.callback import CallbackSupportMixin, with_callbacks
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from dask_gmm.checkpointing import Checkpoint, fit_identity
from dask_gmm.data.arrays import ArraySource
from dask_gmm.data.source import Source
from dask_gmm.engine.cache import Cache
from dask_gmm.engine.choose import choose_engine
from dask_gmm.fitted import fitted_attributes, fitted_parameters
from dask_gmm.fitting.em import Run, best_of
from dask_gmm.fitting.fit import FitSettings, Passes, Rows, WarmStart, fit_mixture
from dask_gmm.fitting.survey import Sample
from dask_gmm.persistence import PersistenceMixin
from dask_gmm.predicting import PredictingMixin
from dask_gmm.reporting.callbacks import FitReport
from dask_gmm.reporting.verbose import Verbose
from dask_gmm.validation import known_rows, start_settings, training_source

_NOT_CONVERGED = (
    "Best performing initialization did not converge. Try different init parameters, or increase "
    "max_iter, tol, or check for degenerate data."
)


class GaussianMixture(CallbackSupportMixin, PredictingMixin, PersistenceMixin, DensityMixin, BaseEstimator):  # type: ignore[misc]
    """Gaussian mixture for data of any size, with scikit-learn's interface and answers.

    Rows are read chunk by chunk where they are stored. A pass evaluates the mixture on every chunk and
    adds up sufficient statistics, from which the parameters are maximized centrally: on the threads of
    this process, or on the cluster of the current Dask client.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical'}, default='full'
        Each component its own covariance matrix; one matrix for all; variances along the features; one
        variance a component.
    tol : float, default=1e-3
        Stop when the mean log-likelihood changes by less, in nats a row.
    reg_covar : float, default=1e-6
        Added to the variances, in squared units of the data.
    max_iter : int, default=100
        Most iterations, that is, passes over the data, of a restart.
    n_init : int, default=1
        Restarts; the best is kept.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data'}, default='kmeans'
        Where to start. While all rows fit the start's budget (64 MiB; the Dask configuration value
        ``dask-gmm.start-bytes``), the draws from `random_state` are scikit-learn's: the same seed
        gives the same model. Beyond it the start is found on a uniform sample of as many rows, drawn over
        all chunks by global row number, so that it does not depend on the chunking. (Where the
        numbers of rows are unknown beforehand - data frames, filtered Parquet, dask arrays with unknown
        chunks - rows are numbered within their chunk.)
    weights_init : array-like of shape (n_components,), default=None
        Mixing proportions to start from.
    means_init : array-like of shape (n_components, n_features), default=None
        Means to start from.
    precisions_init : array-like, default=None
        Inverse covariances to start from: (n_components, n_features, n_features) for 'full',
        (n_features, n_features) for 'tied', (n_components, n_features) for 'diag', (n_components,) for
        'spherical'. With all three given, nothing is drawn and the first pass is an iteration.
    random_state : int, RandomState instance or None, default=None
        Decides the start, and the rows that `sample` draws.
    warm_start : bool, default=False
        Continue from the parameters of the last fit.
    verbose : int, default=0
        1 prints each `verbose_interval`-th iteration, 2 also changes and times.
    verbose_interval : int, default=10
        Iterations between two prints.
    cache : {'auto', True, False}, default='auto'
        Whether rows that are read from a store or computed stay in memory between passes. On a cluster,
        'auto' keeps as many as its workers' memory limits allow, and reads the rest again in each pass;
        on the threads of this process it keeps none. True keeps all, False none. The result is the same.
    checkpoint : str or path, default=None
        Path or fsspec URL of a file that holds the state of the fit after every pass. A fit that finds
        one that belongs to it goes on from there, to the same last bit as if it had never stopped.

    Attributes
    ----------
    weights_ : ndarray of shape (n_components,)
        Mixing proportions. Like all parameters in the dtype of the rows, float32 or float64.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_ : ndarray
        Covariances, in the shape of `precisions_init`.
    precisions_ : ndarray
        Inverse covariances.
    precisions_cholesky_ : ndarray
        Their upper triangular Cholesky factors; square roots for 'diag' and 'spherical'.
    converged_ : bool
        Whether the best restart met `tol`.
    n_iter_ : int
        Iterations of the best restart.
    lower_bound_ : float
        Mean log-likelihood, in nats a row, before the last M-step.
    lower_bounds_ : list of float
        The same for every iteration.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where the data have names.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same on one machine's memory.
    dask_gmm.from_zarr, dask_gmm.read_parquet : Stored data to fit.

    Notes
    -----
    For the same chunks the parameters are the same to the last bit on any number of threads and workers.
    Statistics are sums in float64 about the components' means, so that offsets and scales of the data
    cost no accuracy.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gmm import GaussianMixture
    >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
    >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
    >>> gm.means_
    array([[10.,  2.],
           [ 1.,  2.]])
    >>> gm.predict([[0, 0], [12, 3]])
    array([1, 0])
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
        "cache": [StrOptions({"auto"}), "boolean"],
        "checkpoint": [str, os.PathLike, None],
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
        cache: Cache = "auto",
        checkpoint: str | os.PathLike[str] | None = None,
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
        self.cache = cache
        self.checkpoint = checkpoint

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> GaussianMixture:
        """Estimate the parameters by expectation maximization.

        Parameters
        ----------
        X : array-like, DataFrame, dask array or dataframe, zarr.Array, from_zarr(...), read_parquet(...)
            Rows of shape (n_samples, n_features), or n-dimensional data with one axis of features.
            A path or URL names a Zarr array or Parquet data.
        y : ignored
            Passed on to callbacks.
        sample_weight : array-like of shape (n_samples,), default=None
            Multiplies the responsibilities: a row of weight 2 counts as two rows, one of weight zero not at
            all. NumPy or dask array, dataframe column, or a source of one feature with the chunks of X.

        Returns
        -------
        self : GaussianMixture
            A fit that raises leaves the estimator as it was.

        Raises
        ------
        InvalidParameterError
            A constructor parameter out of range (a ValueError and TypeError).
        DataError
            NaN, infinity or bad weights, with the chunk and the first bad row (a ValueError).
        CollapsedComponentError
            A covariance that is not positive definite, with its component (a ValueError).

        Warns
        -----
        ConvergenceWarning
            The best restart did not meet `tol` within `max_iter`.
        """
        self._fit(X, y, sample_weight)
        return self

    @with_callbacks  # type: ignore[untyped-decorator]
    def fit_predict(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return the labels of X as `predict` does.

        Parameters
        ----------
        X, y, sample_weight
            As in `fit`.

        Returns
        -------
        labels : ndarray, dask array or dask Series
        """
        source = self._fit(X, y, sample_weight)
        return self._answer(source, "labels")

    def _fit(self, X: Any, y: Any, sample_weight: Any) -> Source:
        self._validate_params()
        source, learned = training_source(self, X, sample_weight)
        start, replaced = start_settings(self, source.n_features)
        settings = FitSettings(
            start,
            self.tol,
            self.max_iter,
            self.n_init,
            _start_rows(source),
            shared_passes=not source.in_memory,
        )

        def attributes(run: Run) -> Mapping[str, Any]:
            return {**learned, **replaced, **fitted_attributes(run, source.dtype)}

        with (
            closing(choose_engine(source, self.cache, settings.value_bytes(source.n_features))) as engine,
            self._keeper(source) as keeper,
        ):
            report = FitReport(
                self,
                Verbose(self.verbose, self.verbose_interval),
                _fit_data(X, y, sample_weight),
                n_groups=engine.n_groups,
                most_passes=1 + self.max_iter * self.n_init,
                attributes=attributes,
            )
            passes = Passes(engine, _rows(source, settings), settings, report)
            random_state, warm = check_random_state(self.random_state), self._warm_start(source)
            runs, collapses = fit_mixture(passes, settings, random_state, warm, report, keeper)
        for collapse in collapses:
            warnings.warn(
                f"Restart {collapse.number} was left out. {collapse.error}", UserWarning, stacklevel=4
            )
        run = best_of(runs)
        if not run.converged and self.max_iter > 0:
            warnings.warn(_NOT_CONVERGED, ConvergenceWarning, stacklevel=4)
        # Rows without names forget those of an earlier fit.
        self.__dict__.pop("feature_names_in_", None)
        for name, value in attributes(run).items():
            setattr(self, name, value)
        report.fit_done(run)
        return source

    def _keeper(self, source: Source) -> AbstractContextManager[Checkpoint | None]:
        if self.checkpoint is None:
            return nullcontext()
        return Checkpoint(self.checkpoint, fit_identity(self, source))

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


def _start_rows(source: Source) -> int:
    """Return how many rows the start may take into memory."""
    budget: int = parse_bytes(dask.config.get("dask-gmm.start-bytes", "64 MiB"))
    return max(2, budget // max(1, source.n_features * source.dtype.itemsize))


def _rows(source: Source, settings: FitSettings) -> Rows:
    # Rows at hand and few enough are the sample themselves: no pass is needed to start.
    at_hand = isinstance(source, ArraySource) and len(source.rows) <= settings.start_rows
    sample = Sample(source.rows, source.weights) if at_hand and isinstance(source, ArraySource) else None
    return Rows(known_rows(source), source.n_features, source.dtype, sample)


def _fit_data(X: Any, y: Any, sample_weight: Any) -> dict[str, Any]:
    metadata = None if sample_weight is None else {"sample_weight": sample_weight}
    # Monitors score only where there are targets; a density's targets are the rows themselves.
    return {"X": X, "y": X if y is None else y, "metadata": metadata}
