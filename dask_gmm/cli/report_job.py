"""The job of ``dask gmm report``."""

from __future__ import annotations

from collections.abc import Mapping
from time import perf_counter
from typing import Any

import click

from dask_gmm.cli.fit_job import check_model_place
from dask_gmm.cli.log import Log
from dask_gmm.cli.steps import Model
from dask_gmm.cli.where import cluster
from dask_gmm.storage.redaction import public_url


def report(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Write a page about a model.

    Raises
    ------
    click.UsageError
        matplotlib is not installed, or the file is there.
    """
    try:
        from dask_gmm.plotting.report import write_report
    except ImportError as error:
        raise click.UsageError("matplotlib is not installed: pip install 'dask-gmm[plot]'.") from error
    check_model_place(given["out"], given["overwrite"])
    model = Model.load(given["model"])
    began = perf_counter()
    if given["source"] is None:
        write_report(model.mixture, given["out"])
    else:
        rows = model.open(given)
        with cluster(given, rows):
            write_report(model.mixture, given["out"], rows)
    return {"report": public_url(given["out"]), "seconds": perf_counter() - began}
