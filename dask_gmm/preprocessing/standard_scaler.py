"""Standardization of stored, lazy and in-memory data, with scikit-learn's numbers."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
import sklearn.preprocessing
from sklearn.preprocessing._data import _handle_zeros_in_scale, _is_constant_feature
from sklearn.utils.validation import check_is_fitted

from dask_gmm.engine.one_pass import one_pass
from dask_gmm.errors import DataError
from dask_gmm.mixture.validation import prediction_source, training_source
from dask_gmm.preprocessing.affine import Affine
from dask_gmm.preprocessing.feature_moments import FeatureMoments, FeatureSurvey
from dask_gmm.preprocessing.lazy import is_lazy, mapping_of, set_features, transformed, with_holes


class StandardScaler(sklearn.preprocessing.StandardScaler):  # type: ignore[misc]
    """Subtract each feature's mean and divide by its standard deviation, whatever the size of the data.

    Data in memory go to scikit-learn's class, from which this one derives: parameters, attributes and
    numbers are its own. Stored and lazy data take one pass, on threads or on the cluster of the current Dask
    client, and `transform` changes each chunk after it is read: nothing is written. A NaN is no value, as
    in scikit-learn: it is left out of mean and variance and stays where it is.

    Parameters
    ----------
    copy : bool, default=True
        As in scikit-learn, for data in memory.
    with_mean : bool, default=True
        Whether to subtract the mean.
    with_std : bool, default=True
        Whether to divide by the standard deviation.

    Attributes
    ----------
    mean_, var_, scale_ : ndarray of shape (n_features_in_,), or None
        Mean and variance of each feature in its own units, float64, and what it is divided by: the standard
        deviation, or 1 where a feature is constant.
    n_samples_seen_ : float or ndarray of shape (n_features_in_,)
        Rows, or the sum of their weights; one for each feature where values are missing.
    n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the data have names.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from sklearn.pipeline import make_pipeline
    >>> from dask_gmm import GaussianMixture
    >>> from dask_gmm.preprocessing import StandardScaler
    >>> rows = np.array([[1, 0.2], [2, 0.1], [1, 0.0], [10, 9.0], [12, 9.5], [11, 9.1]])
    >>> X = da.from_array(rows, chunks=(2, 2))
    >>> pipeline = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0)).fit(X)
    >>> pipeline.predict(X).compute()
    array([1, 1, 1, 0, 0, 0])
    """

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn mean and variance, in one pass.

        Parameters
        ----------
        X
            As in `GaussianMixture.fit`: anything in memory, a dask collection, a source, a path or URL.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts as two rows.

        Returns
        -------
        self : StandardScaler

        Raises
        ------
        DataError
            Infinity or bad weights, with the chunk and the row (a ValueError).
        """
        if not is_lazy(X):
            return super().fit(X, y, sample_weight)  # type: ignore[no-any-return]
        self._validate_params()
        return self._learn(X, sample_weight, None)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from more rows, as one batch; parameters as in `fit`."""
        if not is_lazy(X):
            return super().partial_fit(X, y, sample_weight)  # type: ignore[no-any-return]
        self._validate_params()
        return self._learn(X, sample_weight, self._moments() if hasattr(self, "n_samples_seen_") else None)

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Standardize.

        Parameters
        ----------
        X
            As in `fit`.
        copy : bool, default=None
            As in scikit-learn, for data in memory.

        Returns
        -------
        X_new : ndarray, dask array, dask DataFrame or source
            Of the kind of X, lazy for lazy; a source for stored data and xarray objects, whose predictions
            have the coordinates of X.
        """
        check_is_fitted(self)
        if not is_lazy(X):
            return super().transform(X, copy)
        return self._mapped(X, Affine(self.mean_ if self.with_mean else None, self.scale_, None))

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """Undo `transform`, for data of the same kinds."""
        check_is_fitted(self)
        if not is_lazy(X):
            return super().inverse_transform(X, copy)
        scale = np.ones(self.n_features_in_) if self.scale_ is None else self.scale_
        mean = np.zeros(self.n_features_in_) if self.mean_ is None or not self.with_mean else self.mean_
        return self._mapped(X, Affine(-mean / scale, 1.0 / scale, None))

    def to_sklearn(self) -> sklearn.preprocessing.StandardScaler:
        """Return scikit-learn's class with the same parameters and attributes."""
        check_is_fitted(self)
        plain = sklearn.preprocessing.StandardScaler(**self.get_params(deep=False))
        vars(plain).update({name: value for name, value in vars(self).items() if name.endswith("_")})
        return plain

    def _learn(self, X: Any, sample_weight: Any, before: FeatureMoments | None) -> Self:
        if before is None:
            source, features = training_source(self, X, sample_weight, None)
        else:
            source, features = prediction_source(self, X, sample_weight), {}
        moments = one_pass(with_holes(source), FeatureSurvey(source.n_features))
        if not moments.weight.any():
            raise DataError("StandardScaler: X has no row of positive weight with a value.")
        if before is not None:
            moments = before.merged(moments)
        set_features(self, features)
        self._set(moments)
        return self

    def _set(self, moments: FeatureMoments) -> None:
        seen = moments.weight
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = np.where(moments.weight > 0.0, moments.mean, np.nan)
            variance = np.where(moments.weight > 0.0, moments.squares / moments.weight, np.nan)
        self.n_samples_seen_ = seen[0] if (seen == seen[0]).all() else seen
        needed = self.with_mean or self.with_std
        self.mean_, self.var_, self.scale_ = mean if needed else None, None, None
        if self.with_std:
            self.var_ = variance
            constant = _is_constant_feature(variance, mean, self.n_samples_seen_)
            self.scale_ = _handle_zeros_in_scale(np.sqrt(variance), copy=False, constant_mask=constant)

    def _moments(self) -> FeatureMoments:
        """Return what was learned before."""
        weight = np.broadcast_to(self.n_samples_seen_, (self.n_features_in_,)).astype(np.float64)
        mean = np.zeros_like(weight) if self.mean_ is None else np.nan_to_num(self.mean_)
        variance = np.zeros_like(weight) if self.var_ is None else np.nan_to_num(self.var_)
        return FeatureMoments(0, weight, mean, variance * weight)

    def _mapped(self, X: Any, affine: Affine) -> Any:
        source = prediction_source(self, X)
        names = self.get_feature_names_out if hasattr(self, "feature_names_in_") else None
        mapping = mapping_of(affine, source, affine.identity, names, source.n_features)
        return transformed(X, source, mapping)
