"""Model files, and what they hold of a fitted estimator: values that JSON has, and arrays."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator

import dask_gmm
from dask_gmm.errors import ModelFileError
from dask_gmm.mixture.fitted import attribute_shapes, check_type_kept, fitted_type
from dask_gmm.mixture.history_file import history_arrays, loaded_history
from dask_gmm.mixture.sums_file import loaded_sums, sums_of
from dask_gmm.model.covariance import asked_type, covariance_structure, covariance_types
from dask_gmm.storage.atomic import read_whole, write_atomically
from dask_gmm.storage.container import MAGIC, MALFORMED, Arrays, pack, reason, unpack
from dask_gmm.storage.location import Location
from dask_gmm.storage.retries import patiently

Estimator = TypeVar("Estimator")
Model = TypeVar("Model")

#: Fitted attributes that are not arrays, with what makes them values that JSON has.
_PLAIN: Mapping[str, Callable[[Any], Any]] = {
    "n_features_in_": int,
    "feature_names_in_": lambda names: [str(name) for name in names],
    "n_iter_": int,
    "converged_": bool,
    "threshold_": float,
    "background_weight_": float,
    "background_log_volume_": float,
    "feature_dim_": str,
    "nan_": str,
}
#: What the file of a mixture with steps before it says that it holds: releases that know no steps refuse it.
PIPELINE = "Pipeline"
_BOUNDS = ("lower_bound_", "lower_bounds_")

#: Of a Bayesian mixture: its posterior, and the prior that was used.
POSTERIOR = (
    *("weight_concentration_", "mean_precision_", "degrees_of_freedom_", "weight_concentration_prior_"),
    *("mean_prior_", "mean_precision_prior_", "degrees_of_freedom_prior_", "covariance_prior_"),
)

#: Every attribute that a fit sets besides those that say what the mixture is, see `attribute_shapes`.
FITTED = (*_PLAIN, *_BOUNDS)


def write_model(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None,
    header: Mapping[str, Any],
    arrays: Arrays,
) -> None:
    """Write a model file, as a whole or not at all.

    Raises
    ------
    OSError
        The store refuses, or fails for longer than ``dask-gmm.read-deadline``.
    """
    content = pack(header, arrays)
    location = Location.of(url, storage_options)
    patiently(lambda: write_atomically(location, content), f"{location} cannot be written")


def read_model(
    url: str | os.PathLike[str],
    storage_options: Mapping[str, Any] | None,
    made_of: Callable[[Mapping[str, Any], Arrays], Model],
) -> Model:
    """Return what is made of the header and the arrays of a model file.

    Raises
    ------
    ModelFileError
        Another kind of file, damaged, of another version, or nothing can be made of it (a ValueError).
    OSError
        There is no such file, or the store fails for longer than ``dask-gmm.read-deadline``.
    """
    location = Location.of(url, storage_options)
    content = patiently(lambda: read_whole(location, prefix=MAGIC), f"{location} cannot be read")
    header, arrays = unpack(content, str(location))
    try:
        return made_of(header, arrays)
    except MALFORMED as error:
        # The checksum is right: another kind of model, another release, or made by other means.
        raise ModelFileError(
            f"{location}, written by dask_gmm {header.get('release')}, holds no model that dask_gmm "
            f"{dask_gmm.__version__} can use: {reason(error)}"
        ) from error


def state_of(estimator: BaseEstimator, with_statistics: bool | None = None) -> tuple[dict[str, Any], Arrays]:
    """Return what goes into the file of a fitted estimator.

    Parameters
    ----------
    estimator : GaussianMixture
    with_statistics : bool, optional
        Whether the file carries the sums that `update` and `partial_fit` go on from; without it, where they
        have less than 16 MiB.

    Returns
    -------
    header : dict
        Values as JSON has them.
    arrays : dict of str to ndarray
        Fitted attributes and parameters by name.

    Raises
    ------
    TypeError, ValueError
        A parameter that a file cannot hold, or that no longer fits the fitted attributes.
    """
    check_type_kept(estimator)
    parameters, arrays = _plain_parameters(_of_the_model(estimator))
    estimator._validate_params()
    attributes = {
        name: plain(getattr(estimator, name)) for name, plain in _PLAIN.items() if hasattr(estimator, name)
    }
    own = attribute_shapes(fitted_type(estimator), estimator.means_)
    arrays |= {name: np.asarray(getattr(estimator, name)) for name in own}
    for name in _BOUNDS:
        arrays[name] = np.asarray(getattr(estimator, name), dtype=estimator.weights_.dtype)
    arrays |= {name: np.asarray(getattr(estimator, name)) for name in POSTERIOR if hasattr(estimator, name)}
    _check_consistent(parameters, attributes, arrays)
    if hasattr(estimator, "history_"):
        arrays |= history_arrays(estimator.history_)
    arrays |= sums_of(estimator, with_statistics)
    header = {
        "estimator": type(estimator).__name__,
        "release": dask_gmm.__version__,
        "parameters": parameters,
        "attributes": attributes,
    }
    return header, arrays


def estimator_of(cls: type[Estimator], header: Mapping[str, Any], arrays: Arrays) -> Estimator:
    """Return the estimator of class `cls` whose `state_of` this is.

    Raises
    ------
    ArithmeticError, AttributeError, LookupError, TypeError, ValueError
        It is the state of something else.
    """
    if header["estimator"] == PIPELINE:
        raise ValueError("it holds steps before the mixture: use dask_gmm.preprocessing.load_pipeline")
    if header["estimator"] != cls.__name__:
        raise ValueError(f"it holds a {header['estimator']}")
    parameters, attributes = header["parameters"], header["attributes"]
    _check_consistent(parameters, attributes, arrays)
    estimator = cls(**{name: _parameter(value, arrays) for name, value in parameters.items()})
    estimator._validate_params()  # type: ignore[attr-defined]
    # By their names here, not there: a file decides about values only.
    fitted = {name: plain(attributes[name]) for name, plain in _PLAIN.items() if name in attributes}
    if "feature_names_in_" in fitted:
        fitted["feature_names_in_"] = np.array(fitted["feature_names_in_"], dtype=object)
    fitted["covariance_type_"] = asked_type(parameters)
    fitted |= {name: arrays[name] for name in attribute_shapes(fitted["covariance_type_"], arrays["means_"])}
    fitted |= {"lower_bound_": arrays["lower_bound_"][()], "lower_bounds_": list(arrays["lower_bounds_"])}
    fitted |= _posterior(arrays)
    history = loaded_history(arrays)
    if history is not None:
        fitted["history_"] = history
    fitted |= loaded_sums(fitted["covariance_type_"], arrays)
    for name, value in fitted.items():
        setattr(estimator, name, value)
    return estimator


def _posterior(arrays: Arrays) -> dict[str, Any]:
    """Return the attributes of a Bayesian mixture, none of another.

    Raises
    ------
    ValueError
        They do not belong to the means.
    """
    if "weight_concentration_" not in arrays:
        return {}
    found: dict[str, Any] = {name: arrays[name][()] for name in POSTERIOR}
    n_components = len(arrays["means_"])
    concentration = arrays["weight_concentration_"]
    shapes = (concentration.shape, arrays["mean_precision_"].shape, arrays["degrees_of_freedom_"].shape)
    if shapes[0] not in ((n_components,), (2, n_components)) or shapes[1] != (n_components,):
        raise ValueError(f"its posterior has shapes {shapes} for {n_components} components")
    if concentration.ndim > 1:
        found["weight_concentration_"] = tuple(concentration)
    return found


def _check_consistent(parameters: Mapping[str, Any], attributes: Mapping[str, Any], arrays: Arrays) -> None:
    """Refuse, on both ways, numbers that do not make one mixture."""
    covariance_type = asked_type(parameters)
    if parameters["covariance_type"] not in covariance_types():
        raise ValueError(f"its covariance type is {covariance_type!r}")
    if "means_" not in arrays:
        raise ValueError("it has no means_")
    means = arrays["means_"]
    expected = {**attribute_shapes(covariance_type, means), "lower_bound_": ()}
    missing = [name for name in (*expected, "lower_bounds_") if name not in arrays]
    if missing:
        raise ValueError(f"it has no {', '.join(missing)}")
    for name, shape in expected.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} has shape {arrays[name].shape} where {len(means)} components of {means.shape[1]} "
                f"features and covariance_type={covariance_type!r} need {shape}"
            )
    for name in (*expected, "lower_bounds_"):
        if arrays[name].dtype not in (np.float32, np.float64):
            raise TypeError(f"{name} has dtype {arrays[name].dtype}, which is neither float32 nor float64")
    if arrays["lower_bounds_"].ndim != 1:
        raise ValueError("lower_bounds_ is no list")
    _check_values(covariance_type, arrays)
    _check_attributes(attributes, means.shape[1])


def _check_values(covariance_type: str, arrays: Arrays) -> None:
    own = attribute_shapes(covariance_type, arrays["means_"])
    for name in own:
        if not np.isfinite(arrays[name]).all():
            raise ValueError(f"{name} has values that are not finite")
    if (arrays["weights_"] < 0.0).any():
        raise ValueError("weights_ has values below zero")
    structure = covariance_structure(covariance_type)
    with np.errstate(all="ignore"):
        _, factors = structure.of_attributes({name.removesuffix("_"): arrays[name] for name in own})
        log_det = structure.log_det(factors, *arrays["means_"].shape)
    if not np.isfinite(log_det).all():
        raise ValueError("it has a covariance that is not positive definite")


def _check_attributes(attributes: Mapping[str, Any], n_features: int) -> None:
    for name, kind in (("n_features_in_", int), ("n_iter_", int), ("converged_", bool)):
        if type(attributes[name]) is not kind:
            raise ValueError(f"{name} is {attributes[name]!r}")
    if not np.isfinite(attributes.get("threshold_", 0.0)):
        raise ValueError(f"threshold_ is {attributes['threshold_']!r}")
    names = attributes.get("feature_names_in_")
    if names is not None and not (isinstance(names, list) and all(isinstance(name, str) for name in names)):
        raise ValueError("feature_names_in_ is no list of names")
    if attributes["n_features_in_"] != n_features or (names is not None and len(names) != n_features):
        raise ValueError(f"its means have {n_features} features, and its attributes another number")


def _of_the_model(estimator: BaseEstimator) -> dict[str, Any]:
    parameters: dict[str, Any] = estimator.get_params(deep=False)
    # A place of that one fit, whose URL may hold credentials.
    parameters.pop("checkpoint", None)
    return parameters


def _plain_parameters(parameters: Mapping[str, Any]) -> tuple[dict[str, Any], Arrays]:
    """Split constructor parameters into JSON values and arrays, which the values name."""
    plain: dict[str, Any] = {}
    arrays: Arrays = {}
    for name, value in parameters.items():
        if isinstance(value, np.generic):
            plain[name] = value.item()
        elif value is None or isinstance(value, (bool, int, float, str)):
            plain[name] = value
        elif isinstance(value, np.random.RandomState):
            plain[name], arrays[name] = _stream_state(value)
        else:
            plain[name], arrays[name] = {"array": name}, np.asarray(value)
    return plain, arrays


def _parameter(value: Any, arrays: Arrays) -> Any:
    if not isinstance(value, dict):
        return value
    return _stream(value, arrays) if "stream" in value else arrays[value["array"]]


def _stream_state(stream: np.random.RandomState) -> tuple[dict[str, Any], NDArray[np.uint32]]:
    """Return the place of a random stream, so that `sample` of the loaded estimator goes on from it."""
    state: Any = stream.get_state(legacy=False)
    if state["bit_generator"] != "MT19937":
        raise TypeError(
            f"random_state is a RandomState on {state['bit_generator']}; a model file can hold integers, "
            "None, and RandomState instances on MT19937."
        )
    place = {"pos": state["state"]["pos"], "has_gauss": state["has_gauss"], "gauss": state["gauss"]}
    return {"stream": "random_state", **place}, state["state"]["key"]


def _stream(value: Mapping[str, Any], arrays: Arrays) -> np.random.RandomState:
    key, pos = arrays[value["stream"]], value["pos"]
    if key.shape != (624,) or key.dtype != np.uint32 or not 0 <= pos <= 624:
        # NumPy itself would read past the key's end.
        raise ValueError("its random stream has no valid state")
    stream = np.random.RandomState()
    stream.set_state(("MT19937", key, pos, value["has_gauss"], value["gauss"]))
    return stream
