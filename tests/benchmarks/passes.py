"""What a pass buys: ``python tests/benchmarks/passes.py NAME``, for each table of README.md's section on it.

Counts, not timings: they are the same on any machine, busy or quiet, up to rounding.
"""

from __future__ import annotations

import argparse
import warnings
from collections import Counter
from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
from numpy.typing import NDArray
from problems import BIG, FAST, SLOW, Problem
from sharing import choose, restarts, sweep
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning
from tables import chosen, heading, line, spread, stored

from dask_gmm import GaussianMixture
from dask_gmm.fitting.accelerate import surrogate

TYPES = ("full", "tied", "diag", "spherical")
# Relative to the bound: who comes as near to plain EM's end has arrived.
NEAR = 1e-6
# Nats a row: ends that differ by more are other optima, not the same one reached less or more exactly.
SAME = 1e-4


def first_pass(model: GaussianMixture, bound: float) -> float:
    """Return the number of the first pass that reached `bound`, infinity if none did."""
    reached = np.flatnonzero(np.array(model.lower_bounds_) >= bound)
    return float(reached[0] + 1) if len(reached) else np.inf


def accelerate(options: argparse.Namespace) -> None:
    """Passes to within 1e-6 of plain EM's end at tol=1e-8, of EM itself and with ``accelerate=True``."""
    n_falls = n_more = 0
    heading("rows", "covariances", "EM's passes", "accelerated", "ratio", "undone", "same", "better", "worse")
    for problem in chosen((*SLOW, FAST), options):
        creeping = []
        for covariance_type in TYPES:
            pairs = [both(problem, covariance_type, seed, options.rows) for seed in options.seeds]
            passes = [passes_to_the_end(*pair) for pair in pairs]
            creeping += [fast / plain for plain, fast in passes if plain > 100]
            n_falls += sum(np.diff(fast.lower_bounds_).min() < 0.0 for _, fast in pairs)
            n_more += sum(fast.n_iter_ > plain.n_iter_ for plain, fast in pairs)
            ends = Counter(other_optimum(*pair) for pair in pairs)
            n_rejected = sum(fast.history_.n_rejected for _, fast in pairs)
            line(
                problem.name,
                covariance_type,
                spread([plain for plain, _ in passes]),
                spread([fast for _, fast in passes]),
                spread([fast / plain for plain, fast in passes], 2),
                f"{n_rejected} of {sum(fast.n_iter_ for _, fast in pairs)}",
                *(ends[end] for end in ("same", "better", "worse")),
            )
        if creeping:
            ratio = spread(creeping, 2)
            line(f"{problem.name}, the {len(creeping)} above 100", "all", "", "", ratio, "", "", "", "")
    print(f"\nbounds that fell: {n_falls}; fits that took more passes than EM: {n_more}")


def passes_to_the_end(plain: GaussianMixture, fast: GaussianMixture) -> tuple[float, float]:
    """Return after how many passes each came near EM's end."""
    near = plain.lower_bound_ - NEAR * abs(plain.lower_bound_)
    return first_pass(plain, near), first_pass(fast, near)


def both(
    problem: Problem, covariance_type: str, seed: int, n_rows: int
) -> tuple[GaussianMixture, GaussianMixture]:
    """Return EM's fit and the accelerated one, from the same start."""
    rows = problem.make(seed, n_rows)
    plain, fast = (
        GaussianMixture(
            problem.n_components,
            covariance_type=covariance_type,
            tol=1e-8,
            max_iter=20_000,
            accelerate=accelerated,
            random_state=seed,
        ).fit(rows)
        for accelerated in (False, True)
    )
    return plain, fast


def other_optimum(plain: GaussianMixture, fast: GaussianMixture) -> str:
    """Return whether the accelerated fit's end is EM's, or another."""
    difference = fast.lower_bound_ - plain.lower_bound_
    return "same" if abs(difference) <= SAME else "better" if difference > 0 else "worse"


def start(options: argparse.Namespace) -> None:
    """A start on a sample against k-means on all rows: passes over all rows, and bounds after the fit."""
    heading(
        "rows",
        "passes to start: sample's",
        "k-means'",
        "passes in all, tol=1e-3: sample's",
        "k-means'",
        "bound over k-means', tol=1e-3",
        "tol=1e-5",
    )
    for problem in chosen(BIG, options):
        counts = [both_starts(problem, seed, options.many) for seed in options.seeds]
        line(
            f"{problem.name}, n = {options.many:,}",
            *(spread([count[name] for count in counts]) for name in ("sample", "k-means")),
            *(spread([count[name] for count in counts]) for name in ("after sample", "after k-means")),
            *(spread([count[name] for count in counts], 6) for name in ("gain", "deep gain")),
        )


def both_starts(problem: Problem, seed: int, n_rows: int) -> dict[str, float]:
    """Return the passes of both starts, and the differences of the bounds that fits from them reach."""
    rows = problem.make(seed, n_rows).astype(np.float32)
    given, n_passes = clustered(rows, problem.n_components, seed)
    deep = {"tol": 1e-5, "max_iter": 1000, "accelerate": True}
    sampling = {"init_params": "sample", "random_state": seed}
    with stored(rows, 50) as opened:
        X, store = opened()
        sampled = GaussianMixture(problem.n_components, **sampling).fit(X)
        n_read = max(store.reads.values())
        deep_sampled = GaussianMixture(problem.n_components, **sampling, **deep).fit(X)
    full = GaussianMixture(problem.n_components, **given).fit(rows)
    deep_full = GaussianMixture(problem.n_components, **given, **deep).fit(rows)
    return {
        "sample": n_read - sampled.n_iter_,
        "k-means": n_passes,
        "after sample": n_read,
        "after k-means": n_passes + full.n_iter_,
        "gain": sampled.lower_bound_ - full.lower_bound_,
        "deep gain": deep_sampled.lower_bound_ - deep_full.lower_bound_,
    }


def leap(options: argparse.Namespace) -> None:
    """Fits from a start on a sample, with and without surrogate steps: what is left to gain, and passes."""
    heading(
        "rows",
        "left at tol=1e-3: leaping",
        "not",
        "passes: leaping",
        "not",
        "accelerated passes, tol=1e-8: leaping",
        "not",
        "bound over that without",
    )
    for problem in chosen(SLOW, options):
        counts = [both_ways(problem, seed, options.leaps) for seed in options.seeds]
        line(
            problem.name,
            *(f"{np.median([one[name] for one in counts]):.0e}" for name in ("left", "left without")),
            *(spread([one[name] for one in counts]) for name in ("passes", "passes without")),
            *(spread([one[name] for one in counts]) for name in ("deep", "deep without")),
            spread([one["gain"] for one in counts], 6),
        )


def both_ways(problem: Problem, seed: int, n_rows: int) -> dict[str, float]:
    """Return passes and ends of fits from the same start, those without leaps too."""
    rows = problem.make(seed, n_rows)
    found: dict[str, float] = {}
    ends = []
    for name, step in (("", surrogate.surrogate_step), (" without", lambda *_: None)):
        with patch.object(surrogate, "surrogate_step", step):
            given = {"init_params": "sample", "random_state": seed}
            fitted = GaussianMixture(problem.n_components, **given).fit(rows)
            deep = GaussianMixture(
                problem.n_components, tol=1e-8, max_iter=5000, accelerate=True, **given
            ).fit(rows)
        found |= {f"passes{name}": fitted.n_iter_, f"deep{name}": deep.n_iter_}
        found[f"left{name}"] = deep.lower_bound_ - fitted.lower_bound_
        ends.append(deep.lower_bound_)
    return {**found, "gain": ends[0] - ends[1]}


def clustered(rows: NDArray[Any], n_components: int, seed: int) -> tuple[dict[str, Any], int]:
    """Return the start that k-means on all rows gives, and its passes: one a seed, one an iteration."""
    kmeans = KMeans(n_components, n_init=1, random_state=seed).fit(rows)
    members = [rows[kmeans.labels_ == k].astype(np.float64) for k in range(n_components)]
    given = {
        "weights_init": np.array([len(some) for some in members]) / len(rows),
        "means_init": np.array([some.mean(axis=0) for some in members]),
        "precisions_init": np.array([np.linalg.inv(np.cov(some.T)) for some in members]),
    }
    return given, n_components + int(kmeans.n_iter_)


TABLES: dict[str, Callable[[argparse.Namespace], None]] = {
    table.__name__: table for table in (accelerate, start, leap, restarts, sweep, choose)
}


def main() -> None:
    """Print one table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("table", choices=TABLES)
    parser.add_argument("--seeds", type=int, nargs="*", default=range(5))
    parser.add_argument("--only", type=int, nargs="*", help="numbers of problems")
    parser.add_argument("--rows", type=int, default=10_000)
    parser.add_argument("--many", type=int, default=5_000_000, help="rows of `start`")
    parser.add_argument("--leaps", type=int, default=200_000, help="rows of `leap`")
    parser.add_argument("--choices", type=int, default=1_000_000, help="rows of `choose`")
    options = parser.parse_args()
    warnings.simplefilter("ignore", ConvergenceWarning)
    print(TABLES[options.table].__doc__, end="\n\n")
    TABLES[options.table](options)


if __name__ == "__main__":
    main()
