"""The job of ``dask gmm select``."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from time import perf_counter
from typing import Any

import click
import numpy as np

from dask_gmm.cli.display import Display
from dask_gmm.cli.fit_job import CACHE, check_model_place, description, given_priors
from dask_gmm.cli.log import Log
from dask_gmm.cli.options import SELECT
from dask_gmm.cli.progress import PassReport
from dask_gmm.cli.sources import open_source, open_weights
from dask_gmm.cli.steps import Model, fit_steps, number_or_share
from dask_gmm.cli.where import cluster
from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC
from dask_gmm.storage.redaction import public_url

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


def select(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Fit all candidates, save the chosen one, and return the table."""
    check_model_place(given["out"], given["overwrite"])
    parameters = {option.name: given[option.name] for option in SELECT}
    parameters |= {
        "n_components": parse_numbers(given["n_components"]),
        "covariance_type": list(given["covariance_type"]) or ["full"],
        "n_factors": parse_numbers(given["n_factors"]),
        "tol": _tolerance(given["tol"]),
        "cache": CACHE[given["cache"]],
        "nan": given["nan"] or "error",
    }
    if given["pca"] is not None:
        number_or_share(given["pca"])
    parameters |= given_priors(given)
    estimator = GaussianMixtureIC(**parameters)
    source = open_source(given["source"], given)
    weights = open_weights(given)
    began = perf_counter()
    with cluster(given, source), Display(log) as display:
        steps, rows = fit_steps(given, source, weights)
        estimator.set_callbacks(PassReport(rows, display.pass_done, display.share_done))
        estimator.fit(rows, sample_weight=weights)
    Model(steps, estimator.best_estimator_).save(given["out"])
    candidates = _lines(estimator.results_)
    edge = _edge(estimator.n_components_, parameters["n_components"])
    if edge is not None:
        log.event("edge", edge, n_components=estimator.n_components_)
    log.event("candidates", _table(candidates, given["criterion"]), candidates=candidates)
    return {
        "model": public_url(given["out"]),
        **description(estimator.best_estimator_),
        "criterion": given["criterion"],
        "candidates": candidates,
        "seconds": perf_counter() - began,
    }


def _edge(chosen: int, tried: Sequence[int]) -> str | None:
    """Return what to say where the best number of components is the smallest or largest that was tried."""
    if len(set(tried)) == 1 or min(tried) < chosen < max(tried):
        return None
    if chosen == max(tried):
        return f"The best of these has the most components that were tried, {chosen}: try more."
    return None if chosen == 1 else f"The best of these has the fewest that were tried, {chosen}: try fewer."


def parse_numbers(text: str) -> list[int]:
    """Return numbers from ranges and single ones.

    Raises
    ------
    click.UsageError

    Examples
    --------
    >>> parse_numbers("1-3,8")
    [1, 2, 3, 8]
    """
    numbers: list[int] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part.strip())
        if found is None:
            raise click.UsageError(f'--n-components {text}: write numbers and ranges, such as "1-10,16,32".')
        first = int(found[1])
        numbers += range(first, int(found[2] or first) + 1)
    return numbers


def _tolerance(text: str) -> float | str:
    try:
        return float(text)
    except ValueError:
        return text


def _lines(results: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the table as a list of lines, for JSON."""
    columns = {name: np.asarray(values).tolist() for name, values in results.items()}
    return [
        {name: _finite(value) for name, value in zip(columns, line, strict=True)}
        for line in zip(*columns.values(), strict=True)
    ]


def _table(candidates: Sequence[Mapping[str, Any]], criterion: str) -> str:
    """Return the candidates for people; a star marks the chosen one.

    Examples
    --------
    >>> lines = [{"n_components": k, "covariance_type": "full", "bic": 9.0 - k, "n_iter": 4} for k in (2, 3)]
    >>> print(_table(lines, "bic"))
      components  covariances             bic  iterations
               2         full             7.0           4
    *          3         full             6.0           4
    """
    scores = [line[criterion] for line in candidates]
    best = min((score for score in scores if score is not None), default=None)
    rows = [f"  components  covariances  {criterion:>14}  iterations"]
    for line, score in zip(candidates, scores, strict=True):
        shown = "failed" if score is None else f"{score:.1f}"
        mark = "*" if score is not None and score == best else " "
        number, kind = line["n_components"], line["covariance_type"]
        rows.append(f"{mark} {number:>10}  {kind:>11}  {shown:>14}  {line['n_iter']!s:>10}")
    return "\n".join(rows)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and not np.isfinite(value) else value
