"""Seconds an iteration next to other engines: ``python tests/benchmarks/engines.py``.

Every engine starts from the same parameters on the same overlapping rows and makes the same number of
iterations; the time of an iteration is the difference between two fits of different lengths, divided by
the iterations they really made, so that starting up and final passes do not count. Rounds alternate
between engines, and medians and ratios are printed, then everything as JSON. oneDAL (package
scikit-learn-intelex) and bob.learn.em run where they are installed.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import statistics
import time
import warnings
from collections.abc import Callable
from typing import Any

import dask
import numpy as np
import sklearn.mixture
from numpy.typing import NDArray
from scipy.linalg.blas import dgemm, sgemm
from threadpoolctl import threadpool_limits

from dask_gmm import GaussianMixture

warnings.simplefilter("ignore")

#: rows, features, components, covariance type
PROBLEMS = [
    (500_000, 8, 16, "full"),
    (500_000, 16, 16, "full"),
    (200_000, 32, 32, "full"),
    (100_000, 64, 32, "full"),
    (500_000, 16, 16, "tied"),
    (500_000, 16, 16, "diag"),
    (500_000, 16, 16, "spherical"),
]
SHORT, LONG = 1, 4

Start = dict[str, Any]
#: Makes that many iterations; returns those really made and the last bound, in nats a row.
Engine = Callable[[NDArray[Any], Start, int], tuple[int, float]]


def make_problem(n: int, d: int, K: int, covariance_type: str) -> tuple[NDArray[Any], Start]:
    """Return overlapping rows and a start near the truth."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(K, d)) * 0.7
    rows = centres[rng.integers(K, size=n)] + rng.normal(size=(n, d))
    precisions = {
        "full": np.tile(np.eye(d), (K, 1, 1)),
        "tied": np.eye(d),
        "diag": np.ones((K, d)),
        "spherical": np.ones(K),
    }
    means = centres + 0.1 * rng.normal(size=(K, d))
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": means,
        "precisions_init": precisions[covariance_type],
    }
    return rows, {**start, "n_components": K, "covariance_type": covariance_type, "tol": 0.0}


def ours(n_threads: int) -> Engine:
    """Return our engine on some threads."""

    def fit(rows: NDArray[Any], start: Start, iterations: int) -> tuple[int, float]:
        with dask.config.set(num_workers=n_threads):
            model = GaussianMixture(max_iter=iterations, **start).fit(rows)
        return model.n_iter_, float(model.lower_bound_)

    return fit


def scikit_learn(rows: NDArray[Any], start: Start, iterations: int) -> tuple[int, float]:
    """Fit with scikit-learn, on all BLAS threads."""
    model = sklearn.mixture.GaussianMixture(max_iter=iterations, **start).fit(rows)
    return model.n_iter_, float(model.lower_bound_)


def one_dal(rows: NDArray[Any], start: Start, iterations: int) -> tuple[int, float]:
    """Fit with oneDAL's em_gmm, which may stop earlier by itself; it does not tell the bound a row."""
    import daal4py

    algorithm = daal4py.em_gmm(
        nComponents=start["n_components"],
        fptype="double",
        maxIterations=iterations,
        accuracyThreshold=1e-300,
        regularizationFactor=1e-6,
    )
    covariances = [np.ascontiguousarray(np.linalg.inv(p)) for p in start["precisions_init"]]
    result = algorithm.compute(rows, start["weights_init"][np.newaxis], start["means_init"], covariances)
    return int(np.ravel(result.nIterations)[0]), float(np.ravel(result.goalFunction)[0]) / len(rows)


def seconds_an_iteration(engine: Engine, rows: NDArray[Any], start: Start) -> tuple[float, float]:
    """Return the cost of one more iteration, and the bound after the longer fit."""
    spent, made, bound = [], [], np.nan
    for iterations in (SHORT, LONG):
        began = time.perf_counter()
        n_iter, bound = engine(rows, start, iterations)
        spent.append(time.perf_counter() - began)
        made.append(n_iter)
    return (spent[1] - spent[0]) / (made[1] - made[0]), bound


def peak(dtype: Any) -> float:
    """Return the GFLOP/s of a matrix product on one thread."""
    product = dgemm if dtype == np.float64 else sgemm
    a = np.asfortranarray(np.random.default_rng(0).normal(size=(1500, 1500)).astype(dtype))
    with threadpool_limits(1):
        product(1.0, a, a)
        began = time.perf_counter()
        product(1.0, a, a)
        return 2 * 1500**3 / (time.perf_counter() - began) / 1e9


def run(problem: tuple[int, int, int, str], rounds: int) -> dict[str, Any]:
    """Return medians of all engines on one problem."""
    n, d, K, covariance_type = problem
    rows, start = make_problem(*problem)
    single = rows.astype(np.float32)
    engines: dict[str, tuple[Engine, NDArray[Any]]] = {
        "dask_gmm": (ours(2), rows),
        "dask_gmm, one thread": (ours(1), rows),
        "dask_gmm, float32": (ours(2), single),
        "scikit-learn": (scikit_learn, rows),
    }
    if covariance_type == "full" and importlib.util.find_spec("daal4py"):
        engines["oneDAL"] = (one_dal, rows)
    for engine, data in engines.values():
        engine(data[:2000], start, 1)  # Loads and compiles whatever there is.
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    peaks, bounds = [], {}
    for _ in range(rounds):
        peaks.append(peak(np.float64))
        for name, (engine, data) in engines.items():
            if name == "scikit-learn" and len(seconds[name]) >= 2:
                continue  # Slow, and far from any threshold.
            spent, bounds[name] = seconds_an_iteration(engine, data, start)
            seconds[name].append(spent)
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    useful = 4 * n * K * (d + 1) * (d + 2) / 2 / 1e9
    return {
        "problem": problem,
        "seconds an iteration": medians,
        "over scikit-learn": medians["dask_gmm"] / medians["scikit-learn"],
        "over oneDAL": medians["dask_gmm"] / medians["oneDAL"] if "oneDAL" in medians else None,
        "two threads over one": medians["dask_gmm, one thread"] / medians["dask_gmm"],
        "float64 over float32": medians["dask_gmm"] / medians["dask_gmm, float32"],
        "dgemm GFLOP/s": max(peaks),
        "share of dgemm on one thread": useful / medians["dask_gmm, one thread"] / max(peaks)
        if covariance_type == "full"
        else None,
        "bounds": bounds,
        "predict over scikit-learn": predict_ratio(rows, start),
    }


def predict_ratio(rows: NDArray[Any], start: Start) -> float:
    """Return the time of `predict` over scikit-learn's, for the same model."""
    model = GaussianMixture(max_iter=1, **start).fit(rows[:20_000])
    theirs = model.to_sklearn()
    spent: dict[Any, list[float]] = {model: [], theirs: []}
    for _ in range(3):
        for each, values in spent.items():
            began = time.perf_counter()
            each.predict(rows)
            values.append(time.perf_counter() - began)
    return statistics.median(spent[model]) / statistics.median(spent[theirs])


def main() -> None:
    """Run all problems, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of problems")
    options = parser.parse_args()
    chosen = PROBLEMS if options.only is None else [PROBLEMS[number] for number in options.only]
    results = []
    print(
        f"{'problem':>28} {'s/iteration':>12} {'/ oneDAL':>9} {'/ sklearn':>9} {'2 threads':>9}"
        f" {'float32':>8} {'of dgemm':>8} {'predict':>8}"
    )
    for problem in chosen:
        result = run(problem, options.rounds)
        results.append(result)
        share, dal = result["share of dgemm on one thread"], result["over oneDAL"]
        print(
            f"{problem!s:>28} {result['seconds an iteration']['dask_gmm']:12.4f} {dal or np.nan:9.3f} "
            f"{result['over scikit-learn']:9.3f} {result['two threads over one']:9.2f} "
            f"{result['float64 over float32']:8.2f} {share or np.nan:8.2f} "
            f"{result['predict over scikit-learn']:8.3f}",
            flush=True,
        )
    print(json.dumps(results, indent=1))


if __name__ == "__main__":
    main()
