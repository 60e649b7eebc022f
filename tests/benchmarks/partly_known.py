"""What rows with holes and errors cost beside complete ones: ``python tests/benchmarks/partly_known.py``.

Statistics of one chunk in memory, by one thread: CPU time, the least of several rounds that take turns, so
that other work on the machine hardly shows. Correlations are moderate, so that normal equations fill holes;
``--ill-conditioned`` takes mixtures that need least squares.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping

import numpy as np
from numpy.typing import NDArray
from tables import heading, line

from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.density import Density
from dask_gmm.model.kernels.errors_in_range import Errors
from dask_gmm.model.kernels.noisy import NoisyKernel
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.holes import HOLES
from dask_gmm.model.observation.observation import Observation, Part
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]
DOUBLE = np.dtype(np.float64)
ROUNDS = 7
SIZES = ((60_000, 8, 16), (40_000, 16, 16), (12_000, 32, 32))


def mixture(covariance_type: str, d: int, K: int, spread: float = 0.5) -> tuple[Parameters, Array]:
    """Return a mixture, and covariance matrices of its kind."""
    rng = np.random.default_rng(1)
    roots = np.eye(d) + spread / np.sqrt(d) * rng.normal(size=(K, d, d))
    matrices = roots @ roots.transpose(0, 2, 1)
    variances = np.diagonal(matrices, axis1=1, axis2=2)
    given = {"full": matrices, "tied": matrices[0], "diag": variances, "spherical": variances.mean(axis=1)}
    means = 1.5 * rng.normal(size=(K, d))
    own = given[covariance_type]
    assert own.shape == covariance_structure(covariance_type).shape(K, d)
    return Parameters.from_covariances(covariance_type, np.full(K, 1 / K), means, own), matrices


def rows_of(parameters: Parameters, n: int) -> Array:
    """Return rows around the means."""
    rng = np.random.default_rng(2)
    rows: Array = parameters.means[rng.integers(parameters.n_components, size=n)]
    return rows + rng.normal(size=rows.shape)


def holed(rows: Array) -> Mapping[str, Array]:
    """Return rows with several kinds of holes."""
    rng, d = np.random.default_rng(3), rows.shape[1]
    found = {"none": rows}
    for share in (0.05, 0.3):
        holes = rng.random(rows.shape) < share
        holes[holes.all(axis=1), 0] = False
        found[f"{share:.0%} scattered"] = np.where(holes, np.nan, rows)
    patterns = np.zeros((4, d), dtype=bool)
    for pattern in patterns:
        pattern[rng.choice(d, d // 3, replace=False)] = True
    some = rng.random(len(rows)) < 0.5
    found["four patterns"] = np.where(
        patterns[rng.integers(4, size=len(rows))] & some[:, np.newaxis], np.nan, rows
    )
    return found


def seconds(calls: Mapping[str, Callable[[], object]]) -> dict[str, float]:
    """Return the CPU seconds of each call, the least of some rounds."""
    best = dict.fromkeys(calls, np.inf)
    for call in calls.values():
        call()
    for _ in range(ROUNDS):
        for name, call in calls.items():
            began = time.thread_time()
            call()
            best[name] = min(best[name], time.thread_time() - began)
    return best


def statistics(observation: Observation, parameters: Parameters, rows: Array) -> Callable[[], object]:
    """Return what takes the statistics of rows."""
    density = Density.of(parameters)
    kernel, part = observation.kernel(density, DOUBLE), Part(rows, None, {})
    shape = observation.more_shape(density)

    def run() -> None:
        K, d = parameters.means.shape
        kernel.accumulate(Statistics.zero(parameters.covariance_type, K, d, shape), part)

    return run


def main() -> None:
    """Print the tables of the README."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--ill-conditioned", action="store_true")
    spread = 1.5 if parser.parse_args().ill_conditioned else 0.5
    names = ["none", "5% scattered", "30% scattered", "four patterns"]
    heading("type", "features, components", "complete, µs a row", *names)
    for covariance_type in ("full", "tied", "diag", "spherical"):
        for n, d, K in SIZES:
            parameters, _ = mixture(covariance_type, d, K, spread)
            rows = rows_of(parameters, n)
            calls = {"complete": statistics(COMPLETE, parameters, rows)}
            calls |= {name: statistics(HOLES, parameters, each) for name, each in holed(rows).items()}
            found = seconds(calls)
            plain = found["complete"]
            ratios = [f"{found[name] / plain:.2f}" for name in names]
            line(covariance_type, f"{d}, {K}", f"{1e6 * plain / n:.3f}", *ratios)
    heading("features", "errors, ns a row and component", "and 20 % missing")
    for d in (3, 6, 8):
        n, K = 6_000, 64
        parameters, matrices = mixture("full", d, K)
        rng, rows = np.random.default_rng(4), rows_of(parameters, n)
        errors = Errors(rng.uniform(0.2, 1.0, rows.shape), np.empty((n, 0)), np.empty((0, 2), np.intp))
        kernel = NoisyKernel(parameters.means, matrices, np.log(parameters.weights))
        holes = np.where(rng.random(rows.shape) < 0.2, np.nan, rows)
        found = seconds(
            {
                "errors": lambda k=kernel, x=rows, e=errors: k.statistics(x, e, None),
                "both": lambda k=kernel, x=holes, e=errors: k.statistics(x, e, None),
            }
        )
        line(d, *(f"{1e9 * each / n / K:.1f}" for each in found.values()))


if __name__ == "__main__":
    main()
