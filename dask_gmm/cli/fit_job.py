"""The job of ``dask gmm fit``."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from time import perf_counter
from typing import Any

import click
import numpy as np
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.cli.display import Display
from dask_gmm.cli.log import Log
from dask_gmm.cli.options import ESTIMATOR
from dask_gmm.cli.progress import PassReport
from dask_gmm.cli.sources import load_array, open_source, open_weights
from dask_gmm.cli.steps import Model, fit_steps, number_or_share
from dask_gmm.cli.where import cluster
from dask_gmm.mixture.bayesian_gaussian_mixture import BayesianGaussianMixture
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.validation import known_rows
from dask_gmm.model.covariance import asked_type
from dask_gmm.storage.redaction import public_url

#: What the option `cache` stands for.
CACHE: Mapping[str, Any] = {"auto": "auto", "all": True, "none": False}
_PRIORS = ("mean_prior", "mean_precision_prior", "covariance_prior", "degrees_of_freedom_prior")
_ARRAYS = ("weights_init", "means_init", "precisions_init")


def fit(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Fit, save, and return what the command prints."""
    check_model_place(given["out"], given["overwrite"])
    if given["pca"] is not None:
        number_or_share(given["pca"])
    estimator = make_estimator(given)
    source = open_source(given["source"], given)
    weights = open_weights(given)
    log.event(
        "source", f"{source!r}", source=repr(source), rows=known_rows(source), chunks=len(source.chunks)
    )
    began = perf_counter()
    with cluster(given, source) as client:
        if client is not None:
            log.event("cluster", f"{client!r}", scheduler=client.scheduler.address)
        with Display(log) as display:
            steps, rows = fit_steps(given, source, weights)
            estimator.set_callbacks(PassReport(rows, display.pass_done, display.share_done))
            estimator.fit(rows, sample_weight=weights)
    Model(steps, estimator).save(given["out"])
    told = {"model": public_url(given["out"]), **description(estimator)}
    if steps:
        told["steps"] = [type(step).__name__ for step in steps]
    return {**told, "seconds": perf_counter() - began}


def make_estimator(given: Mapping[str, Any]) -> GaussianMixture | BayesianGaussianMixture:
    """Return the estimator with the parameters of the options.

    Raises
    ------
    click.UsageError
        ``--warm-start`` names a model of another number of components or covariance type.
    """
    parameters = {option.name: given[option.name] for option in ESTIMATOR}
    parameters |= {"n_components": given["n_components"], "cache": CACHE[given["cache"]]}
    parameters |= {"nan": given["nan"] or "error"}
    parameters |= {name: load_array(given[name]) for name in _ARRAYS if given[name] is not None}
    parameters |= given_priors(given)
    if given["bayesian"]:
        return _bayesian(parameters)
    if given["warm_start"] is None:
        return GaussianMixture(**{**parameters, "warm_start": False})
    estimator: GaussianMixture = Model.load(given["warm_start"]).mixture
    for name, there in (
        ("n_components", len(estimator.weights_)),
        ("covariance_type", asked_type(vars(estimator))),
    ):
        if there != given[name]:
            raise click.UsageError(
                f"--warm-start: that model has {name}={there!r}, and {given[name]!r} is asked for."
            )
    estimator.set_params(**{**parameters, "warm_start": True})
    return estimator


def given_priors(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the parameters of the options of priors: 'auto', numbers, or the arrays of files.

    Raises
    ------
    click.UsageError
        Another text.
    """
    return {name: _prior(name, given[name]) for name in _PRIORS if given[name] is not None}


def _prior(name: str, text: str) -> Any:
    if text == "auto":
        return text
    if text.endswith(".npy"):
        return load_array(text)
    try:
        return float(text)
    except ValueError:
        option = "--" + name.replace("_", "-")
        raise click.UsageError(f"{option} {text}: give auto, a number, or a .npy file.") from None


def _bayesian(parameters: Mapping[str, Any]) -> BayesianGaussianMixture:
    """Return a Bayesian mixture with those of the parameters that it has.

    Raises
    ------
    click.UsageError
        Others were given.
    """
    known = BayesianGaussianMixture().get_params(deep=False)
    defaults = GaussianMixture().get_params(deep=False)
    for name, value in parameters.items():
        if name not in known and value is not None and value != defaults[name]:
            raise click.UsageError(f"--{name.replace('_', '-')} is no option of a Bayesian mixture.")
    if parameters["warm_start"] is not None:
        raise click.UsageError("--warm-start is for mixtures without --bayesian.")
    return BayesianGaussianMixture(
        **{name: value for name, value in parameters.items() if name in known and name != "warm_start"}
    )


def check_folder(url: str) -> None:
    """Refuse a path that cannot be written before a fit of hours, not after it.

    Raises
    ------
    click.UsageError
    """
    filesystem, path = url_to_fs(url)
    if isinstance(filesystem, LocalFileSystem) and not Path(path).parent.is_dir():
        raise click.UsageError(f"There is no folder {Path(path).parent} to write {Path(path).name} to.")
    if isinstance(filesystem, LocalFileSystem) and Path(path).is_dir():
        raise click.UsageError(f"{path} is a folder; name the file to write.")


def check_model_place(url: str, overwrite: bool) -> None:
    """Refuse a place that cannot be written, or where something is, before a fit of hours.

    Raises
    ------
    click.UsageError
    """
    check_folder(url)
    filesystem, path = url_to_fs(url)
    if not overwrite and filesystem.exists(path):
        raise click.UsageError(f"There is a file at {public_url(url)}: give --overwrite to replace it.")


def description(estimator: GaussianMixture | BayesianGaussianMixture) -> dict[str, Any]:
    """Return a description of a fitted estimator, for JSON."""
    names = getattr(estimator, "feature_names_in_", None)
    bound = float(estimator.lower_bound_)
    return {
        "n_components": len(estimator.weights_),
        "covariance_type": asked_type(vars(estimator)),
        "n_features": int(estimator.n_features_in_),
        "feature_names": None if names is None else [str(name) for name in names],
        "converged": bool(estimator.converged_),
        "n_iter": int(estimator.n_iter_),
        "lower_bound": bound if np.isfinite(bound) else None,
        **({"threshold": estimator.threshold_} if hasattr(estimator, "threshold_") else {}),
    }
