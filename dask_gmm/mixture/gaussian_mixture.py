"""The estimator that a user holds: its parameters, its attributes, and what it delegates to."""

from __future__ import annotations

import os
from typing import Any, ClassVar, Literal, Self

from sklearn.base import BaseEstimator, DensityMixin

from dask_gmm.data.rows import NanRule
from dask_gmm.engine.cache import Cache
from dask_gmm.mixture.constraints import GAUSSIAN_MIXTURE, Constraints
from dask_gmm.mixture.dense import DenseMixin
from dask_gmm.mixture.fit_one import fit_one
from dask_gmm.mixture.impute import ImputingMixin
from dask_gmm.mixture.partial_fit import StreamingMixin
from dask_gmm.mixture.persistence import PersistenceMixin
from dask_gmm.mixture.predict import PredictingMixin
from dask_gmm.mixture.repr import ShownMixin
from dask_gmm.mixture.update import UpdatingMixin
from dask_gmm.mixture.validation import MeasurementErrors
from dask_gmm.reporting.callback_support import CallbackSupportMixin, with_callbacks


class GaussianMixture(
    ShownMixin,
    CallbackSupportMixin,
    PredictingMixin,
    ImputingMixin,
    DenseMixin,
    UpdatingMixin,
    StreamingMixin,
    PersistenceMixin,
    DensityMixin,  # type: ignore[misc]
    BaseEstimator,  # type: ignore[misc]
):
    """Gaussian mixture for data of any size, with scikit-learn's interface and answers.

    Rows are read chunk by chunk where they are stored. A pass evaluates the mixture on every chunk and
    adds up sufficient statistics, from which the parameters are maximized centrally: on the threads of
    this process, or on the cluster of the current Dask client.

    Parameters
    ----------
    n_components : int, default=1
        Number of components.
    covariance_type : {'full', 'tied', 'diag', 'spherical', 'factor'}, default='full'
        Each component its own covariance matrix; one matrix for all; variances along the features; one
        variance per component; a matrix of rank `n_factors` plus variances, which is for wide rows.
    tol : float, default=1e-3
        Stop when the mean log-likelihood changes by less, in nats per row.
    reg_covar : float, default=1e-6
        Added to the variances, in squared units of the data.
    max_iter : int, default=100
        Most iterations, that is, passes over the data, of a restart; rejected steps of `accelerate` count.
    n_init : int, default=1
        Restarts; the best is kept. For data that are not in memory they share passes.
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'sample'}, default='kmeans'
        Where to start. While all rows fit the start's budget (64 MiB; the Dask configuration value
        ``dask-gmm.start-bytes``), the draws from `random_state` are scikit-learn's: the same seed
        gives the same model. Beyond it one pass draws a uniform sample over all chunks, 500 rows for each
        free parameter within the budget. Four starts of the kind asked for (`n_init` times four) are fitted
        to some of these rows, the better ones to all of them, and the best three (or `n_init`, if that is
        more) race on the data: after each pass a third of them goes on, with a leap to where the sample says
        that EM leads, which is undone if it lowers the bound. 'sample' does that for data of any size, with
        k-means. The sample depends on the numbers of the rows, not on the chunking. (Where these are unknown
        beforehand - data frames, filtered Parquet, dask arrays with unknown chunks - rows are numbered within
        their chunk.)
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
        Continue from the parameters of the last fit, of as many components, features and the same covariance
        type; `n_init` and everything about the start are not looked at again.
    verbose : int, default=0
        1 prints each `verbose_interval`-th iteration, 2 also changes and times.
    verbose_interval : int, default=10
        Iterations between two prints.
    cache : {'auto', True, False}, default='auto'
        Whether rows that are read from a store or computed stay in memory between passes. On a cluster,
        'auto' keeps as many as its workers' memory limits allow, and reads the rest again in each pass;
        on the threads of this process it keeps rows that fit the start's budget where `n_init` is above 1,
        otherwise none. True keeps all, False none. The result is the same.
    checkpoint : str or path, default=None
        Path or fsspec URL of a file that holds the state of the fit after every pass. A fit that finds
        one that belongs to it goes on from there, to the same last bit as if it had never stopped.
    accelerate : bool, default=False
        Once EM creeps (small gains that shrink slowly), go on with L-BFGS on EM's steps, which mostly needs a
        quarter of the passes or fewer to the same `tol`. The lower bound never falls: a step that would lower
        it costs a pass and is undone. It may end in another local optimum than EM, a better one about as
        often as a worse one. At the default `tol` EM is mostly done before it begins.
    nan : {'error', 'drop'}, default='error'
        Whether rows with a NaN or a null are an error, in `fit` and predictions, or count for nothing: they
        take no part in the fit nor in scores, and predictions have -1 for their label and NaN elsewhere. A
        source that was made with ``nan="drop"`` drops them either way.
    n_factors : int, default=1
        For 'factor': the columns of each component's loadings (Ghahramani and Hinton, 1996).
    noise : {'diag', 'spherical'}, default='diag'
        For 'factor': whether the variances besides the factors are the features' own, or one for each
        component as in probabilistic PCA.
    background : {'uniform'}, default=None
        One more thing that a row may belong to than the components: a uniform density (Banfield and Raftery,
        1993), so that strays and garbage do not widen them. `predict` gives -1 for its rows, and what rows of
        `predict_proba` lack of one is its probability. `sample` draws from the components.
    background_volume : float, default=None
        In which it is uniform, in units of the data to the power of the number of features; without it that
        of the box of all rows, which the first pass finds.
    missing : {'error', 'em'}, default='error'
        What a NaN, a null or a masked value means. With 'em' it is a value that was not observed: the fit is
        by EM to what was (Ghahramani and Jordan, 1994), which is right where values are missing at random,
        and predictions are by what a row has. A row without any value counts for nothing. Several restarts
        are worth their time: there are more local optima than in complete data.
    mean_prior, mean_precision_prior, covariance_prior, degrees_of_freedom_prior : default=None
        A conjugate prior of each component, by the names of `BayesianGaussianMixture`; the fit is then to the
        mode of the posterior, and components cannot collapse. 'auto' for any of them, or None beside others
        that are given, takes what the package mclust does (Fraley and Raftery, 2007): the mean of the rows,
        a precision of 0.01 rows, the covariance of the rows over ``n_components ** (2 / n_features)``, and
        ``n_features + 2`` degrees of freedom. `reg_covar` should be 0 with it.
    contamination : float, default=None
        Share of the rows, above 0 and at most 0.5, that are to count as anomalies: the fit makes one more
        pass to find the log density below which they lie, `threshold_`.
    step_exponent : float, default=0.7
        Of `partial_fit`, above 0.5 and at most 1: the t-th batch after the first has the share
        ``(t + step_offset) ** -step_exponent`` in the statistics. The smaller it is, the sooner earlier
        batches are forgotten; with 1 and an offset of 1 all batches count the same.
    step_offset : float, default=2
        Of `partial_fit`, not below 0: the larger it is, the less the first batches after the start count.

    Attributes
    ----------
    covariance_type_ : str
        Covariance type of the fitted mixture, whatever `covariance_type` is set to since.
    weights_ : ndarray of shape (n_components,)
        Mixing proportions. Like all parameters in the dtype of the rows, float32 or float64.
    background_weight_, background_log_volume_ : float
        With a background: what `weights_` lack of one, and the logarithm of its volume.
    means_ : ndarray of shape (n_components, n_features)
        Means.
    covariances_ : ndarray
        Covariances, in the shape of `precisions_init`.
    precisions_ : ndarray
        Inverse covariances.
    precisions_cholesky_ : ndarray
        Their upper triangular Cholesky factors; square roots for 'diag' and 'spherical'. Like these two, for
        'factor' matrices, as for 'full', that are computed when they are asked for.
    factor_loadings_ : ndarray of shape (n_components, n_features, n_factors)
        Of 'factor' only: a covariance is ``loadings @ loadings.T`` plus `noise_variance_` on the diagonal.
        Columns are in the order of what they explain of the noise; their largest entries are positive.
    noise_variance_ : ndarray of shape (n_components, n_features)
        Of 'factor' only.
    converged_ : bool
        Whether the best restart met `tol`.
    n_iter_ : int
        Iterations of the best restart.
    lower_bound_ : float
        Mean log-likelihood, in nats per row, before the last M-step.
    lower_bounds_ : list of float
        The same for every iteration; where a step of `accelerate` was undone, the bound before it.
    threshold_ : float
        Log density, in nats, below which the share `contamination` of the fitted rows lies: a row is an
        anomaly where ``score_samples(X) < threshold_``. For up to 8000 rows it is exact; beyond, its rank is
        off by some 6e-5 of the rows at a share of 0.005. Only where `contamination` is given.
    history_ : History
        Bounds, gains, estimates of what is left to gain, seconds and bytes of every iteration:
        ``history_.to_frame()``.
    statistics_ : KeptStatistics
        The sums of the last pass and the parameters before the last M-step, to which `update` adds new rows.
    update_ : Update
        What the last `update` found: ``update_.drift`` tells whether its rows are like those before.
    n_samples_seen_ : int
        Rows of all batches, after `partial_fit`.
    n_features_in_ : int
        Number of features.
    feature_names_in_ : ndarray of shape (n_features_in_,)
        Names of the features, where the data have names.
    feature_dim_ : str
        The dimension that `from_xarray` was told, where it was: predictions of xarray data take it again.
    nan_ : {'drop'}
        Where rows with a NaN were left out of the fit, as the source or `nan` said: predictions leave such
        rows out too.

    See Also
    --------
    sklearn.mixture.GaussianMixture : The same on one machine's memory.
    dask_gmm.from_zarr, dask_gmm.read_parquet : Stored data to fit.

    Notes
    -----
    For the same chunks the parameters are the same to the last bit on any number of threads and workers.
    Statistics are sums in float64 about the components' means, so that offsets and scales of the data
    cost no accuracy. float32 rows are multiplied in float32 where components are not far apart, for about
    1e-6 of the log-likelihood; the Dask configuration value ``dask-gmm.precision: double`` asks for float64
    in fits and predictions.

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

    _parameter_constraints: ClassVar[Constraints] = GAUSSIAN_MIXTURE

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
        accelerate: bool = False,
        nan: NanRule = "error",
        n_factors: int = 1,
        noise: str = "diag",
        background: Literal["uniform"] | None = None,
        background_volume: float | None = None,
        missing: Literal["error", "em"] = "error",
        contamination: float | None = None,
        mean_prior: Any = None,
        mean_precision_prior: Any = None,
        covariance_prior: Any = None,
        degrees_of_freedom_prior: Any = None,
        step_exponent: float = 0.7,
        step_offset: float = 2,
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
        self.verbose, self.verbose_interval = verbose, verbose_interval
        self.cache = cache
        self.checkpoint = checkpoint
        self.accelerate = accelerate
        self.nan = nan
        self.n_factors, self.noise = n_factors, noise
        self.background, self.background_volume = background, background_volume
        self.missing = missing
        self.contamination = contamination
        self.mean_prior = mean_prior
        self.mean_precision_prior = mean_precision_prior
        self.covariance_prior = covariance_prior
        self.degrees_of_freedom_prior = degrees_of_freedom_prior
        self.step_exponent, self.step_offset = step_exponent, step_offset

    @with_callbacks
    def fit(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None
    ) -> Self:
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
        X_err : array-like of the shape of X, default=None
            Standard errors of the values, in their units: 0 for an exact value, inf for a missing one. The
            mixture is then that of the true values (extreme deconvolution; Bovy, Hogg and Roweis, 2011).
            Sources can have errors of their own: ``read_parquet(url, columns, errors=[...])``.
        X_corr : mapping of (feature, feature) to array-like of shape (n_samples,), default=None
            Correlations between the errors of two features, by their numbers or names.

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
        ValueError
            With `warm_start`, data or parameters that the last fit cannot be continued with.

        Warns
        -----
        ConvergenceWarning
            The best restart did not meet `tol` within `max_iter`.
        """
        fit_one(self, X, y, sample_weight, MeasurementErrors.given(X_err, X_corr))
        return self

    @with_callbacks
    def fit_predict(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None
    ) -> Any:
        """Fit, and return the labels of X as `predict` does.

        Parameters
        ----------
        X, y, sample_weight, X_err, X_corr
            As in `fit`.

        Returns
        -------
        labels : ndarray, dask array or dask Series
        """
        return self._answer(
            fit_one(self, X, y, sample_weight, MeasurementErrors.given(X_err, X_corr)), "labels"
        )
