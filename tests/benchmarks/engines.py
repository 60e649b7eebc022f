"""Seconds an iteration next to other engines: ``python tests/benchmarks/engines.py``.

Every engine starts from the same parameters on the same overlapping rows. The time of an iteration is the
difference between two fits of different lengths, divided by the iterations, so that starting up and final
passes do not count. An engine that made another number of iterations, or ended elsewhere, stops the program.
Rounds alternate between engines; medians and their ratios are printed, then everything as JSON.

oneDAL (package scikit-learn-intelex), bob.learn.em and Spark (see `rivals.py`) run where they are installed,
here or for the interpreter of ``--elsewhere PYTHON``.
GFLOP/s are of the two matrix products that a full covariance needs, 4 n K P with P = (d + 1)(d + 2) / 2,
next to those of the machine's BLAS in the same run.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
import warnings
from typing import Any

import dask
import numpy as np
import sklearn.mixture
from numpy.typing import NDArray
from rivals import KNOWN, Elsewhere, Fit, Fitted, Rival, Start, rivals
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
#: Timed iterations are those after SHORT, up to LONG; the likelihood is that after SAME_END.
SHORT, LONG, SAME_END = 1, 16, 4
#: Rounds of engines that take seconds an iteration, and their iterations.
FEW, LONG_IF_SLOW = 2, 4
#: Of the likelihood, in nats a row; float32 rows are rounded otherwise.
SAME, NEARLY_SAME = 1e-8, 1e-5
OURS, ONE_THREAD = "dask_gmm", "dask_gmm, one thread"
SINGLE, SINGLE_ONE_THREAD = "dask_gmm, float32", "dask_gmm, float32, one thread"


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


def ours(n_threads: int) -> Fit:
    """Return our engine on some threads."""

    def fit(rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
        with dask.config.set(num_workers=n_threads):
            model = GaussianMixture(max_iter=iterations, **start).fit(rows)
        return model.n_iter_, model.weights_, model.means_, model.covariances_

    return fit


def scikit_learn(rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
    """Fit with scikit-learn, on all BLAS threads."""
    model = sklearn.mixture.GaussianMixture(max_iter=iterations, **start).fit(rows)
    return model.n_iter_, model.weights_, model.means_, model.covariances_


def likelihood(rows: NDArray[Any], start: Start, fitted: Fitted) -> float:
    """Return the mean log-likelihood of rows by scikit-learn, in nats."""
    covariance_type = start["covariance_type"]
    model = sklearn.mixture.GaussianMixture(start["n_components"], covariance_type=covariance_type)
    _, model.weights_, model.means_, covariances = (np.asarray(value, np.float64) for value in fitted)
    if covariance_type in ("full", "tied"):
        model.precisions_cholesky_ = np.linalg.inv(np.linalg.cholesky(covariances)).swapaxes(-1, -2)
    else:
        model.precisions_cholesky_ = 1 / np.sqrt(covariances)
    return float(model.score(rows))


def made(name: str, engine: Fit, rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
    """Fit, and stop the program where an engine makes another number of iterations."""
    fitted = engine(rows, start, iterations)
    if fitted[0] != iterations:
        raise SystemExit(f"{name} made {fitted[0]} iterations instead of {iterations}.")
    return fitted


def seconds_an_iteration(
    engine: Fit, rows: NDArray[Any], start: Start, name: str = OURS, longer: int = LONG
) -> float:
    """Return the cost of one more iteration."""
    spent = []
    for iterations in (SHORT, longer):
        began = time.perf_counter()
        made(name, engine, rows, start, iterations)
        spent.append(time.perf_counter() - began)
    return (spent[1] - spent[0]) / (longer - SHORT)


def peak(dtype: Any) -> float:
    """Return the GFLOP/s of a matrix product on one thread."""
    product = dgemm if dtype == np.float64 else sgemm
    a = np.asfortranarray(np.random.default_rng(0).normal(size=(1500, 1500)).astype(dtype))
    with threadpool_limits(1):
        product(1.0, a, a)
        began = time.perf_counter()
        product(1.0, a, a)
        return 2 * 1500**3 / (time.perf_counter() - began) / 1e9


def check_same(likelihoods: dict[str, float]) -> None:
    """Stop the program where an engine ended elsewhere."""
    ours = likelihoods[OURS]
    for name, value in likelihoods.items():
        allowed = KNOWN[name].allowed if name in KNOWN else NEARLY_SAME if "float32" in name else SAME
        if not abs(value - ours) < allowed:
            raise SystemExit(f"{name} reached the likelihood {value!r}, {OURS} {ours!r}.")


def run(problem: tuple[int, int, int, str], rounds: int, others: dict[str, Rival]) -> dict[str, Any]:
    """Return medians of all engines on one problem."""
    n, d, K, covariance_type = problem
    rows, start = make_problem(*problem)
    single = rows.astype(np.float32)
    engines: dict[str, tuple[Fit, NDArray[Any]]] = {
        OURS: (ours(2), rows),
        ONE_THREAD: (ours(1), rows),
        SINGLE: (ours(2), single),
        SINGLE_ONE_THREAD: (ours(1), single),
        "scikit-learn": (scikit_learn, rows),
        **{name: (other.fit, rows) for name, other in others.items() if other.can(d, covariance_type)},
    }
    likelihoods = {  # Before anything is timed: this loads and compiles whatever there is.
        name: likelihood(rows[:20_000], start, made(name, engine, data, start, SAME_END))
        for name, (engine, data) in engines.items()
    }
    check_same(likelihoods)
    seconds: dict[str, list[float]] = {name: [] for name in engines}
    dgemms, sgemms = [], []
    for _ in range(rounds):
        dgemms.append(peak(np.float64))
        sgemms.append(peak(np.float32))
        for name, (engine, data) in engines.items():
            slow = name == "scikit-learn" or (name in others and others[name].slow)
            if not slow or len(seconds[name]) < FEW:
                longer = LONG_IF_SLOW if slow else LONG
                seconds[name].append(seconds_an_iteration(engine, data, start, name, longer))
    medians = {name: statistics.median(values) for name, values in seconds.items()}
    useful = 4 * n * K * (d + 1) * (d + 2) / 2 / 1e9 if covariance_type == "full" else np.nan
    return {
        "problem": problem,
        "seconds an iteration": medians,
        "over": {name: medians[OURS] / medians[name] for name in medians if "dask_gmm" not in name},
        "two threads over one": medians[ONE_THREAD] / medians[OURS],
        "float64 over float32": medians[OURS] / medians[SINGLE],
        "GFLOP/s": {name: useful / medians[name] for name in medians if "dask_gmm" in name},
        "dgemm, sgemm": (max(dgemms), max(sgemms)),
        "of dgemm": useful / medians[ONE_THREAD] / max(dgemms),
        "of sgemm": useful / medians[SINGLE_ONE_THREAD] / max(sgemms),
        "likelihoods": likelihoods,
        "predict over scikit-learn": predict_ratio(rows, start),
    }


def predict_ratio(rows: NDArray[Any], start: Start) -> float:
    """Return the time of `predict` over scikit-learn's, for the same model."""
    model = GaussianMixture(max_iter=1, **start).fit(rows[:20_000])
    theirs = model.to_sklearn()
    spent: dict[Any, list[float]] = {model: [], theirs: []}
    for _ in range(5):
        for each, values in spent.items():
            began = time.perf_counter()
            each.predict(rows)
            values.append(time.perf_counter() - began)
    return statistics.median(spent[model]) / statistics.median(spent[theirs])


COLUMNS = [
    "s/iteration", "2 threads", "float32", "GFLOP/s", "of dgemm", "of sgemm", "predict", "/ scikit-learn"
]  # fmt: skip


def line(result: dict[str, Any]) -> str:
    """Return a line of the table."""
    numbers = [
        result["seconds an iteration"][OURS],
        result["two threads over one"],
        result["float64 over float32"],
        result["GFLOP/s"][OURS],
        result["of dgemm"],
        result["of sgemm"],
        result["predict over scikit-learn"],
        result["over"]["scikit-learn"],
        *(result["over"].get(name, np.nan) for name in KNOWN),
    ]
    return f"{result['problem']!s:>32}" + "".join(f" {number:>14.4g}" for number in numbers)


def main() -> None:
    """Run all problems, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", type=int, nargs="*", help="numbers of problems")
    parser.add_argument("--elsewhere", metavar="PYTHON", help="interpreter with other engines")
    options = parser.parse_args()
    elsewhere = Elsewhere(options.elsewhere) if options.elsewhere else None
    others = rivals(elsewhere)
    chosen = PROBLEMS if options.only is None else [PROBLEMS[number] for number in options.only]
    print(" " * 32 + "".join(f" {name:>14}" for name in [*COLUMNS, *(f"/ {name}" for name in KNOWN)]))
    results = []
    for problem in chosen:
        results.append(run(problem, options.rounds, others))
        print(line(results[-1]), flush=True)
    print(json.dumps(results, indent=1))
    if elsewhere:
        elsewhere.close()


if __name__ == "__main__":
    main()
