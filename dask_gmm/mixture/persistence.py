"""Fitted estimators to model files and to scikit-learn, and back."""

from __future__ import annotations

import copy
import os
from collections.abc import Mapping
from functools import partial
from typing import Any, Self, TypeVar

import sklearn.mixture
from sklearn.base import BaseEstimator
from sklearn.utils.validation import check_is_fitted

from dask_gmm.mixture.fitted import attribute_shapes, check_type_kept, fitted_type, refuse_background
from dask_gmm.mixture.model_file import FITTED, POSTERIOR, estimator_of, read_model, state_of, write_model
from dask_gmm.model.covariance import covariance_structure

Estimator = TypeVar("Estimator")
Url = str | os.PathLike[str]


class PersistenceMixin:
    """The methods that take a fitted estimator to a file or to scikit-learn, and back."""

    covariance_type_: str

    def save(
        self,
        url: Url,
        *,
        storage_options: Mapping[str, Any] | None = None,
        with_statistics: bool | None = None,
    ) -> None:
        """Write the fitted estimator to one file, as a whole or not at all.

        The file holds the constructor's parameters and the fitted attributes to the last bit, with a
        format version and a checksum. It holds no rows; callbacks and `checkpoint` are not kept.

        Parameters
        ----------
        url : str or path
            A local path, or any URL that fsspec can write to. A file that is there is replaced.
        storage_options : mapping, optional
            For the fsspec file system.
        with_statistics : bool, optional
            Whether the file carries the sums over the rows that `update` adds to and `partial_fit` goes on
            from, where there are any. Without it, where they have less than 16 MiB.

        Raises
        ------
        NotFittedError
            There is nothing to save yet (a ValueError).
        ValueError
            Parameters changed since the fit no longer describe the fitted attributes.
        TypeError
            A parameter that a file cannot hold.
        OSError
            The store refuses, or fails for longer than ``dask-gmm.read-deadline``.

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> gm = GaussianMixture(n_components=2, random_state=0).fit(rows)
        >>> gm.save("memory://models/two.gmm")
        >>> bool((GaussianMixture.load("memory://models/two.gmm").means_ == gm.means_).all())
        True
        """
        check_is_fitted(self)
        write_model(url, storage_options, *state_of(self, with_statistics))

    @classmethod
    def load(cls, url: Url, *, storage_options: Mapping[str, Any] | None = None) -> Self:
        """Return the fitted estimator that `save` wrote.

        Nothing from the file is executed, so that files from others are safe to load.

        Parameters
        ----------
        url : str or path
            A local path, or any URL that fsspec can read.
        storage_options : mapping, optional
            For the fsspec file system.

        Returns
        -------
        estimator : GaussianMixture
            Parameters given as lists come back as arrays, NumPy numbers as Python numbers, and a
            RandomState as one in the same state.

        Raises
        ------
        ModelFileError
            Another kind of file, damaged, of another version, or inconsistent (a ValueError). It names
            the URL without credentials.
        FileNotFoundError
            There is no such file.
        OSError
            The store refuses, or fails for longer than ``dask-gmm.read-deadline``.
        """
        return read_model(url, storage_options, partial(estimator_of, cls))

    def to_sklearn(self) -> sklearn.mixture.GaussianMixture:
        """Return a fitted ``sklearn.mixture.GaussianMixture`` with the same parameters and attributes.

        Raises
        ------
        NotFittedError
            There is nothing to convert yet (a ValueError).
        ValueError
            `covariance_type` is not that of the fit any more.

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rows = np.random.default_rng(0).normal(size=(100, 2))
        >>> GaussianMixture(n_components=2, random_state=0).fit(rows).to_sklearn()
        GaussianMixture(n_components=2, random_state=0)
        """
        return converted_to(sklearn.mixture.GaussianMixture, self)

    @classmethod
    def from_sklearn(cls, model: sklearn.mixture.GaussianMixture) -> Self:
        """Return a fitted estimator with the parameters and attributes of scikit-learn's `model`, copied.

        Raises
        ------
        TypeError
            `model` is not a ``sklearn.mixture.GaussianMixture``.
        NotFittedError
            It is not fitted (a ValueError).
        """
        if not isinstance(model, sklearn.mixture.GaussianMixture):
            raise TypeError(f"model is a {type(model).__name__}, not a sklearn.mixture.GaussianMixture.")
        return converted_to(cls, model)


def converted_to(cls: type[Estimator], estimator: BaseEstimator) -> Estimator:
    """Return an estimator of another class with the parameters and attributes of a fitted one, copied."""
    check_is_fitted(estimator)
    check_type_kept(estimator)
    if not issubclass(cls, PersistenceMixin):
        refuse_background(estimator, "Conversion to scikit-learn")
    converted: Any = cls()
    known = converted.get_params(deep=False)
    # Copies, so that a later fit of one leaves the other alone.
    parameters = copy.deepcopy(estimator.get_params(deep=False))
    converted.set_params(**{name: value for name, value in parameters.items() if name in known})
    theirs = covariance_structure(fitted_type(estimator)).name_in_scikit_learn
    converted.set_params(covariance_type=theirs)
    for name in (*FITTED, *POSTERIOR, *attribute_shapes(theirs, estimator.means_)):
        if hasattr(estimator, name):
            setattr(converted, name, copy.deepcopy(getattr(estimator, name)))
    if isinstance(converted, PersistenceMixin):
        # Scikit-learn's class has no such attribute.
        converted.covariance_type_ = estimator.covariance_type
    result: Estimator = converted
    return result
