"""What a fitted mixture says of rows: the methods, for any kind of data."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from dask_gmm.data.source import Source
from dask_gmm.engine.one_pass import one_pass
from dask_gmm.errors import DataError
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.reductions import LogLikelihood
from dask_gmm.mixture.fitted import fitted_density, fitted_parameters, observation_of
from dask_gmm.mixture.prediction import Quantity, prediction
from dask_gmm.mixture.summarize import MixtureSummary, summarize
from dask_gmm.mixture.validation import MeasurementErrors, prediction_source
from dask_gmm.model.sampling import draw
from dask_gmm.model.statistics import Totals


class PredictingMixin:
    """Labels, probabilities, densities and criteria from the attributes of a fitted estimator."""

    random_state: Any
    covariance_type: Any
    weights_: NDArray[Any]
    means_: NDArray[Any]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        dropped = getattr(self, "nan", "error") == "drop"
        tags.input_tags.allow_nan = dropped or observation_of(self).takes_holes
        return tags

    def predict(self, X: Any, X_err: Any = None, X_corr: Any = None) -> Any:
        """Return the most probable component of each row.

        Parameters
        ----------
        X, X_err, X_corr
            As in `fit`. In memory or lazy. With errors, a row's density is that of what was measured.

        Returns
        -------
        labels : int64, shape of the sample axes
            The first component of equally probable ones; -1 for rows dropped by ``nan="drop"``.
            An ndarray for data in memory; for dask arrays and stored data a lazy dask array, for
            dask dataframes a lazy Series or DataFrame with their index.
        """
        check_is_fitted(self)
        return self._answer(self._rows(X, None, X_err, X_corr), "labels")

    def predict_proba(self, X: Any, X_err: Any = None, X_corr: Any = None) -> Any:
        """Return the posterior probability of each component for each row.

        Parameters
        ----------
        X, X_err, X_corr
            As in `fit`. In memory or lazy. With errors, a row's density is that of what was measured.

        Returns
        -------
        probabilities : shape of the sample axes and (n_components,)
            NaN for rows dropped by ``nan="drop"``. float32 where model and rows are.
            An ndarray for data in memory; for dask arrays and stored data a lazy dask array, for
            dask dataframes a lazy Series or DataFrame with their index.
        """
        check_is_fitted(self)
        return self._answer(self._rows(X, None, X_err, X_corr), "probabilities")

    def score_samples(self, X: Any, X_err: Any = None, X_corr: Any = None) -> Any:
        """Return the log density of each row, in nats.

        Parameters
        ----------
        X, X_err, X_corr
            As in `fit`. In memory or lazy. With errors, a row's density is that of what was measured.

        Returns
        -------
        log_density : shape of the sample axes
            NaN for rows dropped by ``nan="drop"``. float32 where model and rows are.
            An ndarray for data in memory; for dask arrays and stored data a lazy dask array, for
            dask dataframes a lazy Series or DataFrame with their index.
        """
        check_is_fitted(self)
        return self._answer(self._rows(X, None, X_err, X_corr), "log_density")

    def _rows(self, X: Any, sample_weight: Any, X_err: Any, X_corr: Any) -> Source:
        return prediction_source(self, X, sample_weight, MeasurementErrors.given(X_err, X_corr))

    def _answer(self, source: Source, quantity: Quantity) -> Any:
        return source.apply(prediction(self, quantity, source))

    def score(
        self, X: Any, y: Any = None, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None
    ) -> float:
        """Return the mean log density of the rows, in nats.

        Parameters
        ----------
        X
            As in `fit`. Read in one pass.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
        X_err, X_corr
            As in `fit`.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        source = self._rows(X, sample_weight, X_err, X_corr)
        if source.in_memory and sample_weight is None and not observation_of(self, source).takes_holes:
            # By definition; for float32 rows rounded as `score_samples` is.
            values = np.asarray(self._answer(source, "log_density"))
            values = values[~np.isnan(values)]  # those of rows that are dropped
            if len(values):
                return float(np.mean(values))
        totals = self._totals(source)
        return totals.log_likelihood / totals.weight

    def summarize(
        self, X: Any, quantiles: Sequence[float] = (0.05, 0.5, 0.95), sample_weight: Any = None
    ) -> MixtureSummary:
        """Return what the rows of each component are like, and quantiles of the log density.

        Parameters
        ----------
        X
            As in `fit`. Read in one pass.
        quantiles : sequence of float, default=(0.05, 0.5, 0.95)
            Shares between 0 and 1.
        sample_weight : array-like of shape (n_samples,), default=None

        Returns
        -------
        MixtureSummary
            Counts, means, deviations, extremes and quantiles of the features of the rows that each component
            is the most probable one of: ``summarize(X).to_frame()``.

        Raises
        ------
        ValueError
            Quantiles that do not lie between 0 and 1.
        DataError
            NaN, infinity or bad weights (a ValueError).

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> X = np.array([[1, 2], [1, 4], [1, 0], [10, 2], [10, 4], [10, 0]])
        >>> gm = GaussianMixture(n_components=2, random_state=0).fit(X)
        >>> summary = gm.summarize(X, quantiles=[0.5])
        >>> summary.n_rows, summary.mean
        (array([3, 3]), array([[10.,  2.],
               [ 1.,  2.]]))
        >>> list(summary.to_frame()["q0.5"])
        [10.0, 2.0, 1.0, 2.0]
        """
        check_is_fitted(self)
        source = prediction_source(self, X, sample_weight)
        names = getattr(self, "feature_names_in_", source.feature_names)
        return summarize(fitted_density(self), observation_of(self, source), source, quantiles, names)

    def bic(self, X: Any, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None) -> float:
        """Return the Bayesian information criterion on X; the lower, the better.

        Schwarz, Estimating the Dimension of a Model (1978): -2 log L + p log n, with n the sum of weights.

        Parameters
        ----------
        X
            As in `fit`. Read in one pass.
        sample_weight : array-like of shape (n_samples,), default=None
        X_err, X_corr
            As in `fit`.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        totals = self._totals(self._rows(X, sample_weight, X_err, X_corr))
        return -2 * totals.log_likelihood + self._n_parameters() * math.log(totals.weight)

    def aic(self, X: Any, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None) -> float:
        """Return Akaike's information criterion on X; the lower, the better.

        Akaike, A New Look at the Statistical Model Identification (1974): -2 log L + 2 p.

        Parameters
        ----------
        X
            As in `fit`. Read in one pass.
        sample_weight : array-like of shape (n_samples,), default=None
        X_err, X_corr
            As in `fit`.

        Returns
        -------
        float
        """
        check_is_fitted(self)
        totals = self._totals(self._rows(X, sample_weight, X_err, X_corr))
        return -2 * totals.log_likelihood + 2 * self._n_parameters()

    def _totals(self, source: Source) -> Totals:
        work = LogLikelihood(fitted_density(self), arithmetic(source.dtype), observation_of(self, source))
        totals = one_pass(source, work)
        if not totals.weight > 0:
            raise DataError("X has no row of positive weight: there is nothing to score.")
        return totals

    def _n_parameters(self) -> int:
        return fitted_parameters(self).n_free

    def sample(self, n_samples: int = 1) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Draw rows from the fitted mixture.

        Parameters
        ----------
        n_samples : int, default=1

        Returns
        -------
        X : ndarray of shape (n_samples, n_features), float64
            Component by component.
        y : ndarray of shape (n_samples,)
            The component of each row.
        """
        check_is_fitted(self)
        return draw(fitted_parameters(self), n_samples, check_random_state(self.random_state))
