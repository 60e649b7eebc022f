"""Values that were not observed: expected, or drawn; and the mixture of some features, given others."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any, Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import clone
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from dask_gmm.data.feature_number import Feature, feature_number
from dask_gmm.data.imported import is_instance
from dask_gmm.data.source import Source
from dask_gmm.errors import DataError
from dask_gmm.mixture.attributes import parameter_attributes
from dask_gmm.mixture.fitted import fitted_parameters, refuse_background
from dask_gmm.mixture.prediction import denoising, imputation
from dask_gmm.mixture.validation import MeasurementErrors, imputed_source
from dask_gmm.model.parameters import Parameters


class ImputingMixin:
    """What a fitted mixture says of features that are not known."""

    feature_dim_: Any

    def impute(self, X: Any, *, draw: bool = False, random_state: Any = None) -> Any:
        """Return X with its missing values filled in, by what the mixture expects given those that are there.

        Parameters
        ----------
        X
            As in `fit`. A NaN, a null or a masked value is missing, whatever `missing` is set to. A column
            that is missing everywhere is predicted from the others (Gaussian mixture regression).
        draw : bool, default=False
            Draw from the conditional distribution instead of taking its mean.
        random_state : int, RandomState instance or None, default=None
            Decides the draws.

        Returns
        -------
        X_imputed
            Of the kind, dtype, names, index, coordinates and chunks of X, lazy for lazy; a dask array for
            stored data. Observed values are those of X to the last bit.

        Raises
        ------
        DataError
            Infinity in X (a ValueError).

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=500)
        >>> X = np.column_stack([x, 2 * x])
        >>> gm = GaussianMixture(1, reg_covar=1e-9).fit(X)
        >>> gm.impute([[1.0, np.nan]]).round(3)
        array([[1., 2.]])
        """
        check_is_fitted(self)
        refuse_background(self, "Imputing")
        source: Source = imputed_source(self, X)
        seed = int(check_random_state(random_state).randint(2**31 - 1)) if draw else None
        values = source.apply(imputation(self, source.dtype, seed))  # type: ignore[arg-type]
        return _as_given(X, values, getattr(self, "feature_dim_", None))

    def denoise(self, X: Any, X_err: Any = None, X_corr: Any = None) -> Any:
        """Return where each row is expected to be truly, given what was measured and its errors.

        Parameters
        ----------
        X, X_err, X_corr
            As in `fit`. Missing values, and those of infinite error, are filled in as well.

        Returns
        -------
        X_denoised
            Of the kind, dtype, names, index, coordinates and chunks of X, lazy for lazy. Exact rows are those
            of X.
        """
        check_is_fitted(self)
        refuse_background(self, "Denoising")
        source: Source = imputed_source(self, X, MeasurementErrors.given(X_err, X_corr))
        values = source.apply(denoising(self, source.dtype))  # type: ignore[arg-type]
        return _as_given(X, values, getattr(self, "feature_dim_", None))

    def marginal(self, features: Sequence[Feature]) -> Self:
        """Return the mixture of some features as a fitted estimator of the same parameters.

        Parameters
        ----------
        features : sequence of int or str
            Their numbers, or their names, in the order that they are to have.

        Raises
        ------
        ValueError
            None, unknown ones, or the same twice.
        """
        check_is_fitted(self)
        refuse_background(self, "A marginal")
        chosen = self._positions(features)
        whole = fitted_parameters(self)  # type: ignore[arg-type]
        covariances = whole.structure.selected(whole.covariances, chosen)
        return self._of(chosen, whole.covariance_type, whole.weights, whole.means[:, chosen], covariances)

    def condition(self, given: Mapping[Feature, float]) -> Self:
        """Return the mixture of all other features where some are known, as a fitted estimator.

        Parameters
        ----------
        given : mapping of int or str to float
            Values by the numbers or names of their features.

        Returns
        -------
        GaussianMixture
            Of the features that are not given, in their order.

        Raises
        ------
        ValueError
            All features, none, or unknown ones; values that are not finite.

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> x = rng.normal(size=500)
        >>> gm = GaussianMixture(1, reg_covar=1e-9).fit(np.column_stack([x, 2 * x]))
        >>> gm.condition({0: 1.0}).means_.round(3)
        array([[2.]])
        """
        check_is_fitted(self)
        refuse_background(self, "Conditioning")
        known = self._positions(list(given))
        whole = fitted_parameters(self)  # type: ignore[arg-type]
        left = [feature for feature in range(whole.n_features) if feature not in set(known)]
        if not left:
            raise ValueError("All features are given: nothing is left to say.")
        values = np.array([float(value) for value in given.values()])
        if not np.isfinite(values).all():
            raise ValueError(f"Given values must be finite, got {list(given.values())}.")
        deviations = values - whole.means[:, known]
        log_density, moves, covariances = whole.structure.conditioned(
            whole.covariances, left, known, deviations
        )
        with np.errstate(divide="ignore"):
            log_weights = np.log(whole.weights) + log_density
        weights = np.exp(log_weights - log_weights.max())
        means = whole.means[:, left] + moves
        return self._of(left, whole.covariance_type, weights / weights.sum(), means, covariances)

    def _of(
        self,
        chosen: Sequence[int],
        covariance_type: str,
        weights: NDArray[Any],
        means: NDArray[Any],
        covariances: NDArray[Any],
    ) -> Self:
        """Return a fitted estimator of some features."""
        mixture: Any = clone(self)
        dtype = self.means_.dtype  # type: ignore[attr-defined]
        found = Parameters.from_covariances(covariance_type, weights, means, covariances)
        vars(mixture).update(parameter_attributes(found, dtype))
        mixture.n_features_in_ = len(chosen)
        if hasattr(self, "feature_names_in_"):
            mixture.feature_names_in_ = self.feature_names_in_[list(chosen)]
        for name in ("converged_", "n_iter_"):
            setattr(mixture, name, getattr(self, name))
        # Of other rows than these features have.
        mixture.lower_bound_, mixture.lower_bounds_ = dtype.type(-np.inf), []
        result: Self = mixture
        return result

    def _positions(self, features: Sequence[Feature]) -> list[int]:
        names = [str(name) for name in getattr(self, "feature_names_in_", ())]
        n_features = int(self.n_features_in_)  # type: ignore[attr-defined]
        positions = []
        for feature in features:
            number = feature_number(feature, names, n_features)
            if number is None:
                known = names or f"0 to {n_features - 1}"
                raise ValueError(f"There is no feature {feature!r}; the features are {known}.")
            positions.append(number)
        if not positions or len(set(positions)) < len(positions):
            raise ValueError(f"Name each feature once, and at least one; got {list(features)}.")
        return positions


def _as_given(X: Any, values: Any, feature_dim: Hashable | None) -> Any:
    """Return imputed values, features last, as what X is."""
    if isinstance(X, pd.DataFrame):
        dtypes = {name: dtype for name, dtype in X.dtypes.items() if pd.api.types.is_float_dtype(dtype)}
        return pd.DataFrame(values, index=X.index, columns=X.columns).astype(dtypes)
    if is_instance(X, "dask.dataframe", "DataFrame"):
        return values.rename(columns=dict(zip(values.columns, X.columns, strict=True)))
    if is_instance(X, "xarray", "DataArray"):
        dim = X.dims[-1] if feature_dim is None else feature_dim
        named = values.rename({values.dims[-1]: dim}).transpose(*X.dims)
        return X.copy(data=named.data)
    if is_instance(X, "xarray", "Dataset"):
        return _as_dataset(X, values, feature_dim)
    return values


def _as_dataset(X: Any, values: Any, feature_dim: Hashable | None) -> Any:
    last, place, filled = values.dims[-1], 0, {}
    for name, variable in X.data_vars.items():
        width = variable.sizes.get(feature_dim, 1) if feature_dim is not None else 1
        own = values.isel({last: slice(place, place + width)})
        place += width
        if feature_dim is not None and feature_dim in variable.dims:
            own = own.rename({last: feature_dim})
        else:
            own = own.isel({last: 0}, drop=True)
        missing = [dim for dim in own.dims if dim not in variable.dims]
        if missing:
            raise DataError(
                f"Variable {name!r} lacks the dimensions {missing}: it has one value where the imputed ones "
                "differ. Broadcast it first."
            )
        filled[name] = variable.copy(data=own.transpose(*variable.dims).data)
    return X.assign(filled)
