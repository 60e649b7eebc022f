"""The job of ``dask gmm plan``: what a fit will need, before it is started."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.utils import format_bytes, parse_bytes

from dask_gmm.cli.display import clock, short
from dask_gmm.cli.log import Log
from dask_gmm.cli.sources import open_source
from dask_gmm.data.checks import check_rows
from dask_gmm.data.source import Block, DataError, Source
from dask_gmm.engine.cost import Cost, measure, read_largest
from dask_gmm.engine.memory import BASE_BYTES, TaskMemory
from dask_gmm.engine.plan import Plan
from dask_gmm.fitted import fitted_density
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.start import StartSettings
from dask_gmm.fitting.works import EStep
from dask_gmm.mixture import GaussianMixture
from dask_gmm.precision import arithmetic
from dask_gmm.validation import known_rows

# Rows that a mixture of the right size is made from, for the clock only.
_CALIBRATION_ROWS = 4096


def plan(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return what a fit will need.

    Raises
    ------
    DataError
        There are no rows, or fewer in the largest chunk than components.
    ChunkTooLargeError
        ``--memory-limit`` is below what a worker needs.
    """
    source = open_source(given["source"], given)
    threads = given["threads"] or 1
    n_workers = given["n_workers"] or max(1, len(os.sched_getaffinity(0)) // threads)
    groups = Plan.of(source).groups
    memory = TaskMemory.of(source, _settings(given).value_bytes(source.n_features))
    if given["memory_limit"] is not None:
        memory.check(parse_bytes(given["memory_limit"]), threads)
    block, cost = _cost(source, given)
    n_bytes = sum(chunk.n_bytes or 0 for chunk in source.chunks)
    seconds = cost.of_pass(n_bytes, len(groups), n_workers * threads)
    needed = BASE_BYTES + threads * memory.total
    slower = "reading" if cost.read_seconds > cost.work_seconds else "arithmetic"
    lasting = f"{seconds:.1f} s" if seconds < 10 else clock(seconds)
    text = (
        f"{short(known_rows(source) or 0)} rows, {format_bytes(n_bytes)} in memory, {len(source.chunks)} "
        f"chunks, {len(groups)} groups\n"
        f"{n_workers} worker(s) with {threads} thread(s): {format_bytes(needed)} each, a pass in about "
        f"{lasting}, most of it {slower}"
    )
    log.event("plan", text)
    return {
        "rows": known_rows(source),
        "n_features": source.n_features,
        "dtype": str(source.dtype),
        "bytes": n_bytes,
        "chunks": len(source.chunks),
        "largest_chunk_bytes": memory.chunk,
        "groups": len(groups),
        "n_workers": n_workers,
        "threads": threads,
        "task_bytes": memory.total,
        "worker_bytes": needed,
        "read_bytes_per_second": round(1 / cost.read_seconds),
        "work_bytes_per_second": round(1 / cost.work_seconds),
        "measured_rows": len(block.rows),
        "seconds_a_pass": seconds,
    }


def _settings(given: Mapping[str, Any]) -> FitSettings:
    start = StartSettings(
        n_components=given["n_components"],
        covariance_type=given["covariance_type"],
        init_params="random",
        reg_covar=0.0,
        weights=None,
        means=None,
        precisions=None,
    )
    return FitSettings(start, 0.0, 1, given["n_init"], 0, shared_passes=True)


def _cost(source: Source, given: Mapping[str, Any]) -> tuple[Block, Cost]:
    if not source.chunks:
        raise DataError(f"{source!r} has no rows.")
    block, read_seconds = read_largest(source)
    check_rows(block)
    rows = block.rows[:_CALIBRATION_ROWS]
    spread = max(1.0, float(np.var(rows))) if len(rows) else 1.0
    estimator = GaussianMixture(
        given["n_components"],
        covariance_type=given["covariance_type"],
        # Any mixture will do; with this much on the diagonal none collapses.
        reg_covar=1e-3 * spread,
        max_iter=1,
        init_params="random_from_data",
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(rows)
    return block, measure(block, read_seconds, EStep(fitted_density(estimator), arithmetic(source.dtype)))
