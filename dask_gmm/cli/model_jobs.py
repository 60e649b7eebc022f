"""The jobs that use a fitted model: predict, score, summarize, convert."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from time import perf_counter
from typing import Any

import click
import numpy as np

from dask_gmm.cli.display import Display
from dask_gmm.cli.fit_job import check_folder
from dask_gmm.cli.log import Log
from dask_gmm.cli.sources import open_weights, parse_storage_options
from dask_gmm.cli.steps import Model
from dask_gmm.cli.where import cluster
from dask_gmm.data.aligned import with_weights
from dask_gmm.data.source import Source
from dask_gmm.mixture.fitted import fitted_density, observation_of
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.summarize import checked_shares, log_density_quantiles
from dask_gmm.storage.atomic import write_atomically
from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import public_url
from dask_gmm.writing import write_predictions


def predict(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Write predictions and return what was written."""
    loaded = Model.load(given["model"])
    model, source = loaded.mixture, loaded.open(given)
    outputs = list(given["output"]) or (["labels"] if given["top"] is None else ["top"])
    if given["top"] is not None and "top" not in outputs:
        outputs.append("top")
    if given["threshold"] is not None and "anomaly" not in outputs:
        outputs.append("anomaly")
    began = perf_counter()
    with cluster(given, source), Display(log) as display:
        written = write_predictions(
            model,
            source,
            given["out"],
            outputs,
            keep=given["keep"],
            top=3 if given["top"] is None else given["top"],
            only_anomalies=given["only_anomalies"],
            threshold=given["threshold"],
            format=given["out_format"],
            overwrite=given["overwrite"],
            storage_options=parse_storage_options(given["out_storage_option"]),
            share_done=display.share_done,
        )
    return {**asdict(written), "seconds": perf_counter() - began}


def score(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return the mean log density, in nats per row."""
    loaded = Model.load(given["model"])
    model, source = loaded.mixture, loaded.open(given)
    shares = parse_shares(given["quantiles"])
    began = perf_counter()
    with cluster(given, source):
        weights = open_weights(given)
        mean = model.score(source, sample_weight=weights)
        told = _log_densities(model, with_weights(source, weights), shares) if shares else {}
    return {"score": mean, **told, "seconds": perf_counter() - began}


def _log_densities(model: GaussianMixture, source: Source, shares: Sequence[float]) -> dict[str, Any]:
    found = log_density_quantiles(fitted_density(model), observation_of(model, source), source, shares)
    return {"quantiles": dict(zip(map(str, shares), found.tolist(), strict=True))}


def summarize(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return what the rows of each component are like."""
    loaded = Model.load(given["model"])
    model, source = loaded.mixture, loaded.open(given)
    began = perf_counter()
    with cluster(given, source):
        shares = parse_shares(given["quantiles"]) or (0.05, 0.5, 0.95)
        found = model.summarize(source, shares, sample_weight=open_weights(given))
    table = found.to_frame().reset_index()
    return {
        "log_density": dict(zip(map(str, found.shares), found.log_density.tolist(), strict=True)),
        "components": json.loads(table.to_json(orient="records")),
        "seconds": perf_counter() - began,
    }


def parse_shares(text: str | None) -> tuple[float, ...]:
    """Return the shares of an option such as "0.01,0.5"; none without it.

    Raises
    ------
    click.UsageError
    """
    try:
        return checked_shares([float(part) for part in (text or "").split(",") if part.strip()])
    except ValueError as error:
        raise click.UsageError(f"--quantiles {text}: {error}") from error


def convert(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Write the model for scikit-learn (skops) or as ONNX."""
    check_folder(given["out"])
    kind = given["to"] or {".skops": "skops", ".onnx": "onnx"}.get(os.path.splitext(given["out"])[1])
    if kind is None:
        raise click.UsageError(f"{given['out']} ends neither in .skops nor in .onnx: give --to.")
    model = Model.load(given["model"])
    content = _CONVERTERS[kind](model)
    write_atomically(Location(given["out"]), content)
    return {"model": public_url(given["out"]), "format": kind, "bytes": len(content)}


def _to_skops(model: Model) -> bytes:
    try:
        import skops.io
    except ImportError as error:
        raise click.UsageError("skops is not installed: pip install 'dask-gmm[convert]'.") from error
    content: bytes = skops.io.dumps(model.to_sklearn())
    return content


def _to_onnx(model: Model) -> bytes:
    try:
        from skl2onnx import to_onnx
        from skl2onnx.common.data_types import DoubleTensorType, FloatTensorType
    except ImportError as error:
        raise click.UsageError("skl2onnx is not installed: pip install 'dask-gmm[convert]'.") from error
    tensor = FloatTensorType if model.mixture.means_.dtype == np.float32 else DoubleTensorType
    rows = tensor([None, model.n_features])
    content: bytes = to_onnx(model.to_sklearn(), initial_types=[("X", rows)]).SerializeToString()
    return content


_CONVERTERS: Mapping[str, Callable[[Model], bytes]] = {"skops": _to_skops, "onnx": _to_onnx}
