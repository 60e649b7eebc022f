"""Principal components of stored, lazy and in-memory data, with scikit-learn's numbers."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
import scipy.linalg
import sklearn.decomposition
from numpy.typing import NDArray
from scipy.sparse import issparse
from sklearn.decomposition._pca import _infer_dimension
from sklearn.utils.extmath import svd_flip
from sklearn.utils.validation import check_is_fitted

from dask_gmm.data.in_memory import ArraySource
from dask_gmm.data.source import Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.one_pass import one_pass
from dask_gmm.errors import DataError
from dask_gmm.fitting.survey import Survey
from dask_gmm.mixture.constraints import GAUSSIAN_MIXTURE, Constraints
from dask_gmm.mixture.validation import prediction_source, training_source
from dask_gmm.model.moments import Moments
from dask_gmm.preprocessing.affine import Affine
from dask_gmm.preprocessing.lazy import is_lazy, mapping_of, set_features, transformed

# Data of more features than this scikit-learn decomposes otherwise; see its `svd_solver`.
_MOST_FEATURES, _ROWS_PER_FEATURE = 1000, 10


class PCA(sklearn.decomposition.PCA):  # type: ignore[misc]
    """Project rows onto the directions of largest variance, whatever the size of the data.

    Parameters, attributes and numbers are those of scikit-learn's class, from which this one derives.
    Stored and lazy data, and rows with weights, take one pass for their scatter matrix, on threads or on the
    cluster of the current Dask client; its eigenvectors are the components, whatever `svd_solver` says. The
    scatter is summed about the mean and rows are centred before they are projected, so that an offset costs
    no digits. `transform` changes each chunk after it is read: nothing is written.

    Parameters
    ----------
    n_components : int, float, 'mle' or None, default=None
        How many; or the share of the variance, between 0 and 1, that they explain; or as many as Minka's
        estimate says; all without it.
    copy, svd_solver, tol, iterated_power, n_oversamples, power_iteration_normalizer, random_state
        As in scikit-learn, for data in memory.
    whiten : bool, default=False
        Whether to divide each component by its standard deviation.
    nan : {'error', 'drop'}, default='error'
        Whether rows with a NaN or a null in stored and lazy data are an error, or count for nothing.

    Attributes
    ----------
    components_ : ndarray of shape (n_components_, n_features_in_)
        Unit vectors, by descending variance.
    explained_variance_, explained_variance_ratio_, singular_values_ : ndarray of shape (n_components_,)
        Variance along each, in squared units of the data; its share of all; and what the singular values of
        the centred rows are.
    mean_ : ndarray of shape (n_features_in_,)
    noise_variance_ : float
        Mean variance of the directions left out.
    n_components_, n_samples_, n_features_in_ : int
    feature_names_in_ : ndarray of str
        Where the data have names.

    Examples
    --------
    >>> import dask.array as da, numpy as np
    >>> from dask_gmm.preprocessing import PCA
    >>> rows = np.random.default_rng(0).normal(size=(300, 3)) * [3.0, 1.0, 0.1]
    >>> pca = PCA(n_components=0.99).fit(da.from_array(rows, chunks=(100, 3)))
    >>> pca.n_components_, pca.explained_variance_ratio_.round(2)
    (2, array([0.9, 0.1]))
    """

    _parameter_constraints: ClassVar[Constraints] = {
        **sklearn.decomposition.PCA._parameter_constraints,
        "nan": GAUSSIAN_MIXTURE["nan"],
    }

    def __init__(
        self,
        n_components: int | float | str | None = None,
        *,
        copy: bool = True,
        whiten: bool = False,
        svd_solver: str = "auto",
        tol: float = 0.0,
        iterated_power: int | str = "auto",
        n_oversamples: int = 10,
        power_iteration_normalizer: str = "auto",
        random_state: Any = None,
        nan: str = "error",
    ) -> None:
        super().__init__(
            n_components,
            copy=copy,
            whiten=whiten,
            svd_solver=svd_solver,
            tol=tol,
            iterated_power=iterated_power,
            n_oversamples=n_oversamples,
            power_iteration_normalizer=power_iteration_normalizer,
            random_state=random_state,
        )
        self.nan = nan

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Find the components, in one pass.

        Parameters
        ----------
        X
            As in `GaussianMixture.fit`: anything in memory, a dask collection, a source, a path or URL.
        y : ignored
        sample_weight : array-like of shape (n_samples,), default=None
            A row of weight 2 counts as two rows.

        Returns
        -------
        self : PCA

        Raises
        ------
        DataError
            NaN, infinity or bad weights, with the chunk and the row (a ValueError).
        ValueError
            More components than rows or features.
        """
        if self._is_for_sklearn(X, sample_weight):
            return super().fit(X, y)  # type: ignore[no-any-return]
        self._validate_params()
        return self._learn(X, sample_weight, None)

    def fit_transform(self, X: Any, y: Any = None, sample_weight: Any = None) -> Any:
        """Fit, and return `transform` of the same rows; parameters as in `fit`."""
        if self._is_for_sklearn(X, sample_weight):
            return super().fit_transform(X, y)
        return self.fit(X, y, sample_weight).transform(X)

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Learn from more rows: the components of all rows that were given so far; parameters as in `fit`."""
        self._validate_params()
        return self._learn(X, sample_weight, getattr(self, "_moments", None))

    def transform(self, X: Any) -> Any:
        """Project onto the components.

        Parameters
        ----------
        X
            As in `fit`.

        Returns
        -------
        X_new : ndarray, dask array, dask DataFrame or source
            Of the kind of X, lazy for lazy; a source for stored data and xarray objects, whose predictions
            have the coordinates of X.
        """
        check_is_fitted(self)
        if issparse(X):
            return super().transform(X)
        source = prediction_source(self, X)
        affine = self._affine()
        if isinstance(source, ArraySource):
            with SingleBlasThread():
                return affine(source.rows)
        mapping = mapping_of(affine, source, affine.identity, self.get_feature_names_out, self.n_components_)
        return transformed(X, source, mapping)

    def to_sklearn(self) -> sklearn.decomposition.PCA:
        """Return scikit-learn's class with the same parameters and attributes."""
        check_is_fitted(self)
        parameters = {name: value for name, value in self.get_params(deep=False).items() if name != "nan"}
        plain = sklearn.decomposition.PCA(**parameters)
        vars(plain).update({name: value for name, value in vars(self).items() if name.endswith("_")})
        return plain

    def _is_for_sklearn(self, X: Any, sample_weight: Any) -> bool:
        """Tell whether the rows are scikit-learn's to decompose: in memory, and not by their scatter."""
        if sample_weight is not None or is_lazy(X):
            return False
        shape: tuple[int, ...] = getattr(X, "shape", ())
        if issparse(X) or len(shape) != 2 or self.svd_solver not in ("auto", "covariance_eigh"):
            return True
        tall = shape[1] <= _MOST_FEATURES and shape[0] >= _ROWS_PER_FEATURE * shape[1]
        return not (tall or self.svd_solver == "covariance_eigh")

    def _affine(self) -> Affine:
        scale = np.sqrt(np.asarray(self.explained_variance_, dtype=np.float64)) if self.whiten else None
        matrix = np.asarray(self.components_, dtype=np.float64).T
        if scale is not None:
            least = np.finfo(scale.dtype).eps
            matrix = matrix / np.where(scale < least, least, scale)
        return Affine(np.asarray(self.mean_, dtype=np.float64), None, matrix)

    def _learn(self, X: Any, sample_weight: Any, before: Moments | None) -> Self:
        features: Any = {}
        if before is None:
            # Its centred rows would be dense as well.
            dense = X.toarray() if issparse(X) else X
            source, features = training_source(self, dense, sample_weight, None)
        else:
            source = prediction_source(self, X, sample_weight)
        moments = _moments_of(source)
        if before is not None:
            moments = before.merged(moments)
        if not moments.weight > 1.0:
            raise DataError(f"PCA needs rows whose weights sum to more than one, got {moments.weight:.3g}.")
        found = self._decomposed(moments, source.dtype)
        set_features(self, features)
        for name, value in {**found, "_moments": moments}.items():
            setattr(self, name, value)
        return self

    def _decomposed(self, moments: Moments, dtype: np.dtype[Any]) -> dict[str, Any]:
        """Return the attributes, as scikit-learn's solver by the covariance has them."""
        n_features, n_rows = len(moments.mean), round(moments.weight)
        most = min(n_rows, n_features)
        wanted = most if self.n_components is None else self.n_components
        if wanted == "mle":
            if n_rows < n_features:
                raise ValueError("n_components='mle' is only supported if n_samples >= n_features")
        elif not 0 <= wanted <= most:
            raise ValueError(
                f"n_components={wanted} must be between 0 and min(n_samples, n_features)={most} with "
                "svd_solver='covariance_eigh'"
            )
        freedom = moments.weight - 1.0
        assert moments.scatter is not None
        with SingleBlasThread():
            variance, vectors = scipy.linalg.eigh(moments.scatter / freedom)
        variance, vectors = np.maximum(variance[::-1], 0.0), vectors[:, ::-1]
        _, components = svd_flip(None, vectors.T, u_based_decision=False)
        ratio = variance / variance.sum()
        if wanted == "mle":
            wanted = _infer_dimension(variance, n_rows)
        elif 0 < wanted < 1.0:
            wanted = int(np.searchsorted(np.cumsum(ratio), wanted, side="right")) + 1
        left_out = variance[wanted:]
        arrays: dict[str, NDArray[Any]] = {
            "mean_": moments.mean,
            "components_": components[:wanted],
            "explained_variance_": variance[:wanted],
            "explained_variance_ratio_": ratio[:wanted],
            "singular_values_": np.sqrt(variance[:wanted] * freedom),
        }
        return {
            **{name: np.array(array, dtype=dtype) for name, array in arrays.items()},
            "noise_variance_": float(left_out.mean()) if wanted < most else 0.0,
            "n_components_": int(wanted),
            "n_samples_": n_rows,
        }


def _moments_of(source: Source) -> Moments:
    return one_pass(source, Survey(source.n_features, scatter=True, sampling=None)).moments
