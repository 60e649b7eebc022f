"""What a model file holds, read without the estimator: that would take seconds to import."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from typing import Any

import numpy as np

from dask_gmm.cli.info_table import info_table
from dask_gmm.cli.log import Log
from dask_gmm.errors import ModelFileError
from dask_gmm.model.covariance import asked_type
from dask_gmm.storage.atomic import read_whole
from dask_gmm.storage.container import MAGIC, unpack
from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import public_url
from dask_gmm.storage.retries import patiently


def info(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return what a model file holds.

    Raises
    ------
    ModelFileError
        Another kind of file, or a damaged one.
    """
    location = Location.of(given["model"])
    content = patiently(lambda: read_whole(location, prefix=MAGIC), f"{location} cannot be read")
    header, arrays = unpack(content, str(location))
    try:
        told = {"model": public_url(given["model"]), **_described(header, arrays)}
        if log.human:
            log.has_shown_result = True
            log.event("model", info_table(told, shutil.get_terminal_size().columns))
        return told
    except (LookupError, TypeError, ValueError) as error:
        raise ModelFileError(f"{location} holds no model of dask_gmm: {error!r}") from error


def _described(header: Mapping[str, Any], arrays: Mapping[str, Any]) -> dict[str, Any]:
    parameters, attributes = header["parameters"], header["attributes"]
    means, bound = arrays["means_"], float(arrays["lower_bound_"])
    plain = (bool, int, float, str)
    told = {name: attributes[name] for name in ("threshold_",) if name in attributes}
    return {
        "n_components": len(means),
        "covariance_type": asked_type(parameters),
        "n_features": means.shape[1],
        "feature_names": attributes.get("feature_names_in_"),
        "converged": attributes["converged_"],
        "n_iter": attributes["n_iter_"],
        "lower_bound": bound if np.isfinite(bound) else None,
        **{name.rstrip("_"): value for name, value in told.items()},
        **({"steps": [_step(step) for step in header["steps"]]} if "steps" in header else {}),
        "release": header["release"],
        "dtype": str(means.dtype),
        "weights": np.asarray(arrays["weights_"], dtype=float).tolist(),
        "means": np.asarray(means, dtype=float).tolist(),
        "parameters": {
            name: value for name, value in parameters.items() if value is None or isinstance(value, plain)
        },
    }


def _step(step: Mapping[str, Any]) -> dict[str, Any]:
    attributes = step["attributes"]
    names = ("n_features_in_", "n_components_", "feature_names_in_")
    return {"kind": step["kind"], **{n.rstrip("_"): attributes[n] for n in names if n in attributes}}
