"""The job of ``dask gmm update``."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import click

from dask_gmm.cli.fit_job import check_model_place, description
from dask_gmm.cli.log import Log
from dask_gmm.cli.sources import open_weights
from dask_gmm.cli.steps import Model
from dask_gmm.cli.where import cluster
from dask_gmm.mixture.validation import known_rows
from dask_gmm.storage.redaction import public_url


def update(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Add rows to a model, save it, and return what the command prints."""
    # Who names the model's own file as the place means to replace it.
    check_model_place(given["out"], given["overwrite"] or given["out"] == given["model"])
    model = Model.load(given["model"])
    mixture = model.mixture
    if not hasattr(mixture, "statistics_"):
        raise click.UsageError(
            f"{public_url(given['model'])} does not hold the sums over the rows that it was fitted to, which "
            "new rows are added to: fit again, and save with with_statistics=True."
        )
    source = model.open(given)
    log.event(
        "source", f"{source!r}", source=repr(source), rows=known_rows(source), chunks=len(source.chunks)
    )
    began = perf_counter()
    with cluster(given, source):
        mixture.update(source, sample_weight=open_weights(given), passes=given["passes"])
    # Another update needs the sums, as large as they were in the file before.
    model.save(given["out"], with_statistics=True)
    found = mixture.update_
    return {
        "model": public_url(given["out"]),
        **description(mixture),
        "n_rows": mixture.statistics_.statistics.totals.n_rows,
        "n_new_rows": found.n_rows,
        "log_likelihood": found.log_likelihood,
        "log_likelihood_before": found.log_likelihood_before,
        "drift": found.drift,
        "seconds": perf_counter() - began,
    }
