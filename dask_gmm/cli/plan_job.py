"""The job of ``dask gmm plan``: what a fit will need, before it is started."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np
from dask.system import CPU_COUNT
from dask.utils import format_bytes, parse_bytes

from dask_gmm.cli.display import clock, short
from dask_gmm.cli.log import Log
from dask_gmm.cli.sources import open_source
from dask_gmm.data.checks import check_rows
from dask_gmm.data.source import Source, byte_counts
from dask_gmm.engine.memory_estimate import TaskMemory
from dask_gmm.engine.pass_cost import Cost, measure, read_largest
from dask_gmm.engine.plan import Plan
from dask_gmm.errors import DataError
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.reductions import EStep
from dask_gmm.mixture.fit import FitSpec
from dask_gmm.mixture.fitted import fitted_density
from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.specification import fit_spec
from dask_gmm.mixture.validation import known_rows

# Rows that a mixture of the right size is made from, for the clock only.
_CALIBRATION_ROWS = 16_384


def plan(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Return what a fit will need, as the command prints it.

    Raises
    ------
    DataError
        There are no rows, or fewer in the largest chunk than components.
    ChunkTooLargeError
        ``--memory-limit`` is below what a worker needs.
    """
    source = open_source(given["source"], given)
    threads = given["threads"] or 1
    n_workers = given["n_workers"] or max(1, CPU_COUNT // threads)
    memory = TaskMemory.of(source, _spec(given, source).pass_bytes(source.n_features))
    if given["memory_limit"] is not None:
        memory.check(parse_bytes(given["memory_limit"]), threads)
    covariance = {name: given[name] for name in ("covariance_type", "n_factors", "noise")}
    cost, told = estimate(source, given["n_components"], covariance, n_workers * threads)
    needed = memory.worker(threads)
    slower = "reading" if cost.reading > cost.arithmetic else "arithmetic"
    seconds = told["seconds_a_pass"]
    lasting = f"{seconds:.1f} s" if seconds < 10 else clock(seconds)
    text = (
        f"{short(told['rows'] or 0)} rows, {format_bytes(told['bytes'])} in memory, {told['chunks']} "
        f"chunks, {told['groups']} groups\n"
        f"{n_workers} worker(s) with {threads} thread(s): {format_bytes(needed)} each, a pass in about "
        f"{lasting}, most of it {slower}"
    )
    log.event("plan", text)
    return {
        **told,
        "largest_chunk_bytes": memory.chunk,
        "n_workers": n_workers,
        "threads": threads,
        "task_bytes": memory.task,
        "worker_bytes": needed,
    }


def estimate(
    source: Source, n_components: int, covariance: Mapping[str, Any], n_threads: int
) -> tuple[Cost, dict[str, Any]]:
    """Measure what a pass costs, and estimate how long it will take on `n_threads` threads.

    Raises
    ------
    DataError
        There are no rows, or fewer in the largest chunk than components.
    """
    if not source.chunks:
        raise DataError(f"{source!r} has no rows.")
    groups = Plan.of(source).groups
    cost = measure(source, groups, _e_step(source, n_components, covariance), n_threads)
    n_bytes = int(byte_counts(source.chunks, unknown=0).sum())
    return cost, {
        "rows": known_rows(source),
        "n_features": source.n_features,
        "dtype": str(source.dtype),
        "bytes": n_bytes,
        "chunks": len(source.chunks),
        "groups": len(groups),
        "read_bytes_per_second": round(1 / cost.reading),
        "work_bytes_per_second": round(1 / cost.arithmetic),
        "seconds_a_pass": cost.seconds_per_pass(n_bytes, len(groups), n_threads),
    }


def _spec(given: Mapping[str, Any], source: Source) -> FitSpec:
    """Return what the fit would be asked for."""
    estimator = GaussianMixture(
        given["n_components"],
        covariance_type=given["covariance_type"],
        n_factors=given["n_factors"],
        noise=given["noise"],
        n_init=given["n_init"],
    )
    return fit_spec(estimator, source, {})


def _e_step(source: Source, n_components: int, covariance: Mapping[str, Any]) -> EStep:
    """Return the E-step of a mixture of that size, fitted to a few of the rows."""
    block = read_largest(source)
    check_rows(block)
    rows = block.rows[:_CALIBRATION_ROWS]
    spread = max(1.0, float(np.var(rows))) if len(rows) else 1.0
    estimator = GaussianMixture(
        n_components,
        **covariance,
        # How far apart the components are decides on the kernel. With this on the diagonal none collapses.
        reg_covar=1e-3 * spread,
        max_iter=20,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        estimator.fit(rows)
    return EStep(fitted_density(estimator), arithmetic(source.dtype))
