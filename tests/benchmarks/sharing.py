"""What restarts and sweeps read in passes that they share, over what separate fits read: for `passes.py`."""

from __future__ import annotations

import argparse
from typing import Any

import dask
import numpy as np
from problems import KNOWN, SLOW, Problem
from tables import chosen, heading, line, spread, stored

from dask_gmm import GaussianMixture, GaussianMixtureIC


def restarts(options: argparse.Namespace) -> None:
    """Eight restarts on a store: bytes over those of one restart, bounds over those of eight fits."""
    heading(
        "rows",
        "start",
        "tol",
        "reads of a chunk over passes",
        "bytes over one restart's",
        "best bound over eight fits'",
    )
    for problem in chosen(SLOW, options):
        for share, name in ((1.0, "on all rows"), (0.5, "on a sample")):
            for fit in ({"tol": 1e-3}, {"tol": 1e-6, "accelerate": True}):
                counts = [eight(problem, seed, options.rows, share, fit) for seed in options.seeds]
                line(
                    problem.name,
                    name,
                    fit["tol"],
                    *(spread([count[key] for count in counts], 2) for key in ("reads a pass", "bytes")),
                    spread([count["gain"] for count in counts], 6),
                )


def eight(problem: Problem, seed: int, n_rows: int, share: float, fit: dict[str, Any]) -> dict[str, float]:
    """Return what eight restarts read and reach, over what eight fits do; a share of the rows may start."""
    rows = problem.make(seed, n_rows)

    def fitted(X: Any, **parameters: Any) -> GaussianMixture:
        with dask.config.set({"dask-gmm.start-bytes": int(share * rows.nbytes)}):
            return GaussianMixture(problem.n_components, max_iter=1000, **fit, **parameters).fit(X)

    with stored(rows, 5) as opened:
        X, store = opened()
        together = fitted(X, n_init=8, random_state=seed)
        alone, n_bytes = [], []
        for number in range(8):
            X, own = opened()
            alone.append(fitted(X, random_state=1000 * (seed + 1) + number))
            n_bytes.append(own.n_bytes)
    return {
        "reads a pass": max(store.reads.values()) / len(together.history_.passes),
        "bytes": store.n_bytes / np.mean(n_bytes),
        "gain": together.lower_bound_ - max(model.lower_bound_ for model in alone),
    }


def sweep(options: argparse.Namespace) -> None:
    """Ten K and two covariance types on a store: bytes over those of twenty fits, and their bounds."""
    heading("rows", "accelerate", "passes", "bytes over separate fits'", "largest difference of bounds")
    for problem in chosen(SLOW[:3], options):
        for accelerated in (False, True):
            counts = [twenty(problem, seed, options.rows, accelerated) for seed in options.seeds]
            line(
                problem.name,
                accelerated,
                spread([count["passes"] for count in counts]),
                spread([count["bytes"] for count in counts], 3),
                max(count["difference"] for count in counts),
            )


def twenty(problem: Problem, seed: int, n_rows: int, accelerated: bool) -> dict[str, float]:
    """Return what a sweep reads, over what its candidates do one by one, and how far their bounds differ."""
    # Kept in memory, the rows would be read once, however many candidates there are.
    parameters = {"accelerate": accelerated, "random_state": seed, "max_iter": 5000, "cache": False}
    n_bytes, differences = 0, []
    with stored(problem.make(seed, n_rows), 20) as opened:
        X, store = opened()
        swept = GaussianMixtureIC(range(1, 11), covariance_type=("full", "diag"), **parameters).fit(X)
        results = swept.results_
        for n_components, covariance_type, bound in zip(
            results["n_components"], results["covariance_type"], results["lower_bound"], strict=True
        ):
            X, own = opened()
            one = GaussianMixtureIC(
                int(n_components), covariance_type=str(covariance_type), **parameters
            ).fit(X)
            n_bytes += own.n_bytes
            differences.append(abs(one.results_["lower_bound"][0] - bound))
    return {
        "passes": len(swept.history_.passes),
        "bytes": store.n_bytes / n_bytes,
        "difference": max(differences),
    }


def choose(options: argparse.Namespace) -> None:
    """The known K at n = 1e6, with scikit-learn's default tolerance and with tol='auto'."""
    heading("rows", "true K", "K at tol=1e-3", "K at tol='auto'", "passes at tol='auto'")
    for problem in chosen(KNOWN, options):
        stopped, done = (
            [known(problem, seed, tol, options.choices) for seed in options.seeds] for tol in (1e-3, "auto")
        )
        line(
            problem.name,
            problem.n_components,
            *(" ".join(str(one.n_components_) for one in models) for models in (stopped, done)),
            spread([len(one.history_.passes) for one in done]),
        )


def known(problem: Problem, seed: int, tol: Any, n_rows: int) -> GaussianMixtureIC:
    """Return the choice among numbers of components about the true one."""
    numbers = range(max(1, problem.n_components - 2), problem.n_components + 3)
    return GaussianMixtureIC(numbers, tol=tol, accelerate=True, random_state=seed).fit(
        problem.make(seed, n_rows)
    )
