"""A mixture and the steps before it in one model file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.utils.validation import check_is_fitted

from dask_gmm.mixture.bayesian_gaussian_mixture import BayesianGaussianMixture
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.model_file import PIPELINE, estimator_of, read_model, state_of, write_model
from dask_gmm.preprocessing.pca import PCA
from dask_gmm.preprocessing.standard_scaler import StandardScaler
from dask_gmm.storage.container import Arrays

Step = StandardScaler | PCA
Mixture = GaussianMixture | BayesianGaussianMixture
Url = str | os.PathLike[str]

_MIXTURES: Mapping[str, type[Mixture]] = {
    "GaussianMixture": GaussianMixture,
    "BayesianGaussianMixture": BayesianGaussianMixture,
}
_STEPS: Mapping[str, type[Step]] = {"StandardScaler": StandardScaler, "PCA": PCA}
# Attributes that make a step what it is, by their kind. A file decides about values only.
_ARRAYS = (
    *("mean_", "var_", "scale_"),
    *("components_", "explained_variance_", "explained_variance_ratio_", "singular_values_"),
)
_NUMBERS = ("n_features_in_", "n_components_", "n_samples_")


def save_pipeline(
    pipeline: Pipeline,
    url: Url,
    *,
    storage_options: Mapping[str, Any] | None = None,
    with_statistics: bool | None = None,
) -> None:
    """Write a fitted pipeline that ends in a mixture to one model file, as a whole or not at all.

    Parameters
    ----------
    pipeline : sklearn.pipeline.Pipeline
        `StandardScaler` and `PCA` of this package, in any order, then `GaussianMixture`.
    url : str or path
        A local path, or any URL that fsspec can write to. A file that is there is replaced.
    storage_options : mapping, optional
        For the fsspec file system.
    with_statistics : bool, optional
        As in `GaussianMixture.save`.

    Raises
    ------
    TypeError
        Another kind of step, which a file cannot hold.
    NotFittedError
        There is nothing to save yet (a ValueError).
    """
    *steps, last = [step for _, step in pipeline.steps]
    if not isinstance(last, GaussianMixture):
        raise TypeError(
            f"The pipeline ends in a {type(last).__name__}; a model file holds a GaussianMixture."
        )
    check_is_fitted(last)
    header, arrays = state_of(last, with_statistics)
    told = []
    for number, step in enumerate(steps):
        plain, own = _state_of_step(step)
        told.append(plain)
        arrays |= {f"steps.{number}.{name}": array for name, array in own.items()}
    header = {**header, "estimator": PIPELINE, "mixture": header["estimator"], "steps": told}
    write_model(url, storage_options, header, arrays)


def load_pipeline(url: Url, *, storage_options: Mapping[str, Any] | None = None) -> Pipeline:
    """Return the fitted pipeline that `save_pipeline` or ``dask gmm fit --standardize --pca`` wrote.

    The file of a mixture alone gives a pipeline of that one step. Nothing from the file is executed.

    Parameters
    ----------
    url : str or path
        A local path, or any URL that fsspec can read.
    storage_options : mapping, optional
        For the fsspec file system.

    Raises
    ------
    ModelFileError
        Another kind of file, damaged, of another version, or inconsistent (a ValueError).
    """
    return read_model(url, storage_options, _pipeline_of)


def _pipeline_of(header: Mapping[str, Any], arrays: Arrays) -> Pipeline:
    told: Sequence[Mapping[str, Any]] = header.get("steps", ())
    steps = [_step_of(plain, _own(arrays, number)) for number, plain in enumerate(told)]
    if header["estimator"] == PIPELINE:
        header = {**header, "estimator": header.get("mixture", "GaussianMixture")}
    if header["estimator"] not in _MIXTURES:
        raise ValueError(f"it holds a {header['estimator']}")
    model = estimator_of(_MIXTURES[header["estimator"]], header, arrays)
    _check_widths(steps, model)
    return make_pipeline(*steps, model)


def _state_of_step(step: Any) -> tuple[dict[str, Any], Arrays]:
    kind = type(step).__name__
    if _STEPS.get(kind) is not type(step):
        raise TypeError(f"A model file cannot hold a {kind}; it holds {' and '.join(_STEPS)} of dask_gmm.")
    check_is_fitted(step)
    parameters = {
        name: value for name, value in step.get_params(deep=False).items() if name != "random_state"
    }
    attributes: dict[str, Any] = {name: int(getattr(step, name)) for name in _NUMBERS if hasattr(step, name)}
    if hasattr(step, "feature_names_in_"):
        attributes["feature_names_in_"] = [str(name) for name in step.feature_names_in_]
    if hasattr(step, "noise_variance_"):
        attributes["noise_variance_"] = float(step.noise_variance_)
    arrays = {
        name: np.asarray(getattr(step, name)) for name in _ARRAYS if getattr(step, name, None) is not None
    }
    if hasattr(step, "n_samples_seen_"):
        arrays["n_samples_seen_"] = np.asarray(step.n_samples_seen_)
    return {"kind": kind, "parameters": parameters, "attributes": attributes}, arrays


def _step_of(plain: Mapping[str, Any], arrays: Arrays) -> Step:
    step = _STEPS[plain["kind"]](**plain["parameters"])
    step._validate_params()
    attributes = plain["attributes"]
    fitted = {name: int(attributes[name]) for name in _NUMBERS if name in attributes}
    if "noise_variance_" in attributes:
        step.noise_variance_ = float(attributes["noise_variance_"])
    if "feature_names_in_" in attributes:
        step.feature_names_in_ = np.array(list(map(str, attributes["feature_names_in_"])), dtype=object)
    for name, number in fitted.items():
        setattr(step, name, number)
    if isinstance(step, StandardScaler):
        step.mean_ = step.var_ = step.scale_ = None
        step.n_samples_seen_ = arrays["n_samples_seen_"][()]
    elif "components_" not in arrays:
        raise ValueError("a PCA without components")
    for name in _ARRAYS:
        if name in arrays:
            array = arrays[name]
            if not np.isfinite(array).all() or array.shape[-1] not in _lengths(name, step):
                raise ValueError(f"{plain['kind']}.{name} of shape {array.shape} is no part of it")
            setattr(step, name, array)
    return step


def _lengths(name: str, step: Step) -> tuple[int, ...]:
    of_features = name in ("mean_", "var_", "scale_", "components_")
    return (step.n_features_in_,) if of_features else (step.n_components_,)


def _own(arrays: Arrays, number: int) -> Arrays:
    prefix = f"steps.{number}."
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}


def _check_widths(steps: Sequence[Step], model: Mixture) -> None:
    """Refuse steps that do not follow each other."""
    widths = [(step.n_features_in_, getattr(step, "n_components_", step.n_features_in_)) for step in steps]
    for (_, out), (following, _) in pairwise([*widths, (int(model.n_features_in_), 0)]):
        if out != following:
            raise ValueError(f"a step gives {out} features where the next one takes {following}")
