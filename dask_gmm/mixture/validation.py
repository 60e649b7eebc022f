"""From what a user passes to what a fit needs: data of any kind to a `Source`, given starts to arrays."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.base import BaseEstimator
from sklearn.utils import check_array
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    _get_feature_names,
    validate_data,
)

from dask_gmm.data.abilities import HasFeatureDim, nan_rule_of
from dask_gmm.data.aligned import AlignedSource, with_nan_rule, with_weights
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.data.in_memory import ArraySource
from dask_gmm.data.masks import masked_as_nan, refuse_masked
from dask_gmm.data.measured_source import with_errors
from dask_gmm.data.rows import NanRule
from dask_gmm.data.scheduler import computed
from dask_gmm.data.source import SAMPLE_WEIGHT, Source
from dask_gmm.errors import DataError
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.fitting.survey import check_enough_rows
from dask_gmm.mixture.fitted import observation_of
from dask_gmm.model.covariance import covariance_structure

_FLOATS = [np.float64, np.float32]


class MeasurementErrors(NamedTuple):
    """Standard errors, and correlations of them, as they were given; see `with_errors`."""

    X_err: Any
    X_corr: Any = None

    @classmethod
    def given(cls, X_err: Any, X_corr: Any) -> MeasurementErrors | None:
        """Return them, None where there are none.

        Raises
        ------
        ValueError
            Correlations of errors that are not given.
        """
        if X_err is None:
            if X_corr is not None:
                raise ValueError("X_corr are the correlations of errors: give X_err, too.")
            return None
        return cls(X_err, X_corr)


_FEATURE_ATTRIBUTES = ("n_features_in_", "feature_names_in_")


def training_source(
    estimator: BaseEstimator,
    X: Any,
    sample_weight: Any,
    least_rows: int | None,
    errors: MeasurementErrors | None = None,
) -> tuple[Source, Mapping[str, Any]]:
    """Check X for fitting as far as that needs no pass over it.

    Parameters
    ----------
    estimator : estimator
        Whose features scikit-learn's checks are about; it is not changed.
    X, sample_weight
        As the user gave them.
    least_rows : int or None
        Fewer rows are an error: the most components that are fitted. None for any number.
    errors : MeasurementErrors, optional
        Of the rows.

    Returns
    -------
    source : Source
    attributes : mapping
        ``n_features_in_``, ``feature_names_in_`` where features have names, and what predictions have to
        know of how the source was made: ``feature_dim_`` where `from_xarray` was told a dimension, ``nan_``
        where rows with a NaN were left out.

    Raises
    ------
    ValueError, TypeError
        In scikit-learn's words where it has them.
    """
    # scikit-learn's checks write attributes to the estimator; a failed fit must leave it as it was.
    witness = copy.copy(estimator)
    source = _checked_source(witness, X, sample_weight, errors, reset=True)
    n_positions, name = known_rows(source), type(estimator).__name__
    if source.n_features == 0:
        n_rows = "unknown" if n_positions is None else n_positions
        raise DataError(
            f"Found array with 0 feature(s) (shape=({n_rows}, 0)) while a minimum of 1 is required by {name}."
        )
    if n_positions is not None and least_rows is not None:
        # Dropping rows with NaN can only leave fewer.
        check_enough_rows(n_positions, source.n_features, least_rows, name)
    attributes = {name: value for name, value in vars(witness).items() if name in _FEATURE_ATTRIBUTES}
    rows = source.source if isinstance(source, AlignedSource) else source
    if isinstance(rows, HasFeatureDim) and rows.feature_dim is not None:
        attributes["feature_dim_"] = rows.feature_dim
    if nan_rule_of(source) == "drop":
        attributes["nan_"] = "drop"
    return source, attributes


def prediction_source(
    estimator: BaseEstimator, X: Any, sample_weight: Any = None, errors: MeasurementErrors | None = None
) -> Source:
    """Check X against the fitted features and return it as a source."""
    return _checked_source(estimator, X, sample_weight, errors, reset=False)


def imputed_source(estimator: BaseEstimator, X: Any, errors: MeasurementErrors | None = None) -> Source:
    """Check X against the fitted features, and return it as a source with holes."""
    witness = copy.copy(estimator)
    witness.missing, witness.nan = "em", "error"
    return _checked_source(witness, X, None, errors, reset=False)


def nan_rule(estimator: BaseEstimator, *, fitted: bool) -> NanRule:
    """Return what becomes of rows with a NaN; once rows were left out of a fit, predictions do likewise.

    Raises
    ------
    ValueError
        They cannot be left out and fitted at the same time.
    """
    dropped = getattr(estimator, "nan", "error") == "drop"
    if observation_of(estimator).takes_holes:
        if dropped:
            raise ValueError('nan="drop" leaves out the rows that missing="em" is for: set one of them.')
        return "keep"
    left_out = fitted and hasattr(estimator, "nan_")
    return "drop" if left_out or dropped else "error"


def known_rows(source: Source) -> int | None:
    """Return the number of sample positions, None where only reading tells."""
    lengths = [length for length in source.sample_shape if length is not None]
    return int(np.prod(lengths)) if len(lengths) == len(source.sample_shape) else None


def _checked_source(
    estimator: BaseEstimator, X: Any, sample_weight: Any, errors: MeasurementErrors | None, *, reset: bool
) -> Source:
    nan = nan_rule(estimator, fitted=not reset)
    names = None if reset else getattr(estimator, "feature_names_in_", None)
    feature_dim = None if reset else getattr(estimator, "feature_dim_", None)
    source = lazy_source(X, nan, None if names is None else list(map(str, names)), feature_dim)
    if source is None:
        rows = _array_source(estimator, X, sample_weight, reset=reset, holes=nan != "error")
        rows = rows if nan == "error" else rows.with_nan(nan)
        return rows if errors is None else with_errors(rows, X, *errors)
    if nan == "error" and nan_rule_of(source) == "keep":
        # Only who asks for it takes holes.
        source = with_nan_rule(source, "error")
    if isinstance(getattr(X, "_meta", None), pd.DataFrame):
        # Names of several types are refused, as scikit-learn does.
        _get_feature_names(X._meta)
    template = _template(source)
    _check_feature_names(estimator, template, reset=reset)
    _check_n_features(estimator, template, reset=reset)
    if errors is not None:
        source = with_errors(source, X, *errors)
    return source if sample_weight is None else with_weights(source, sample_weight)


def _array_source(
    estimator: BaseEstimator, X: Any, sample_weight: Any, *, reset: bool, holes: bool
) -> ArraySource:
    finite: Any = "allow-nan" if holes else True
    if holes:
        X = masked_as_nan(X)
    refuse_masked(X, "X")
    if reset:
        rows = validate_data(estimator, X, dtype=_FLOATS, ensure_min_samples=2, ensure_all_finite=finite)
    else:
        # Unlike `fit`, scikit-learn's predictions take no text for numbers.
        _refuse_times(X)
        rows = validate_data(estimator, X, reset=False, ensure_all_finite=finite)
        rows = rows if rows.dtype in _FLOATS else rows.astype(np.float64)
    if sample_weight is None:
        return ArraySource(rows)
    if hasattr(sample_weight, "compute"):
        sample_weight = computed(sample_weight)
    refuse_masked(sample_weight, "sample_weight")
    weights = _check_sample_weight(sample_weight, rows, dtype=np.float64, ensure_non_negative=True)
    return ArraySource(rows, {SAMPLE_WEIGHT: weights})


def _refuse_times(X: Any) -> None:
    """Refuse dates and time spans where scikit-learn does: in predictions; `fit` takes them for numbers."""
    dtypes = X.dtypes if isinstance(X, pd.DataFrame) else [getattr(X, "dtype", None)]
    for dtype in dtypes:
        if getattr(dtype, "kind", None) in ("m", "M"):
            raise TypeError(f"X has dtype {dtype}; GaussianMixture needs real numbers: convert X first.")


def _template(source: Source) -> Any:
    """Return an empty table with the source's columns, for scikit-learn's checks of names and number."""
    if source.feature_names is None:
        return np.empty((0, source.n_features))
    return pd.DataFrame(columns=list(source.feature_names))


def start_settings(
    n_features: int,
    *,
    n_components: int,
    covariance_type: str,
    init_params: str,
    reg_covar: float,
    weights_init: Any = None,
    means_init: Any = None,
    precisions_init: Any = None,
) -> StartSettings:
    """Return what decides the start, with its given parts as checked arrays.

    Parameters
    ----------
    n_features : int
        Of the rows.
    n_components, covariance_type, init_params, reg_covar, weights_init, means_init, precisions_init
        As in `GaussianMixture`.

    Raises
    ------
    ValueError
        Wrong shape or range, weights that do not sum to one, precisions that are not positive definite;
        a covariance type that does not go with so few features.
    """
    covariance_structure(covariance_type).check_features(n_features)
    given = {"weights_init": weights_init, "means_init": means_init, "precisions_init": precisions_init}
    for name, part in given.items():
        refuse_masked(part, name)
    if weights_init is not None:
        weights_init = _checked_weights(weights_init, n_components)
    if means_init is not None:
        means_init = check_array(means_init, dtype=_FLOATS, ensure_2d=False)
        _check_shape(means_init, (n_components, n_features), "means")
    if precisions_init is not None:
        precisions_init = _checked_precisions(precisions_init, covariance_type, n_components, n_features)
    return StartSettings(
        n_components=n_components,
        covariance_type=covariance_type,
        init_params=init_params,
        reg_covar=float(reg_covar),
        weights=weights_init,
        means=means_init,
        precisions=precisions_init,
    )


def _checked_weights(weights: Any, n_components: int) -> NDArray[Any]:
    weights = check_array(weights, dtype=_FLOATS, ensure_2d=False)
    _check_shape(weights, (n_components,), "weights")
    if (weights < 0.0).any() or (weights > 1.0).any():
        # scikit-learn names these two the other way round; its text is what users search for.
        raise ValueError(
            "The parameter 'weights' should be in the range [0, 1], "
            f"but got max value {weights.min():.5f}, min value {weights.max():.5f}"
        )
    tolerance = 1e-6 if weights.dtype == np.float32 else 1e-8
    if not np.isclose(abs(1.0 - float(weights.sum())), 0.0, atol=tolerance):
        raise ValueError(
            f"The parameter 'weights' should be normalized, but got sum(weights) = {weights.sum():.5f}"
        )
    return np.asarray(weights)


def _checked_precisions(
    precisions: Any, covariance_type: str, n_components: int, n_features: int
) -> NDArray[Any]:
    structure = covariance_structure(covariance_type)
    shape = structure.shape(n_components, n_features)
    precisions = check_array(precisions, dtype=_FLOATS, ensure_2d=False, allow_nd=len(shape) > 2)
    _check_shape(precisions, shape, f"{covariance_type} precision")
    structure.check_precisions(precisions)
    return np.asarray(precisions)


def _check_shape(array: NDArray[Any], shape: tuple[int, ...], name: str) -> None:
    if array.shape != shape:
        raise ValueError(f"The parameter '{name}' should have the shape of {shape}, but got {array.shape}")
