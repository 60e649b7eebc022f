"""Other engines that fit the same mixtures, where they are installed, here or for another interpreter.

bob.learn.em needs NumPy 1: it runs in an environment of its own, where this file is run as a program that
takes fits from standard input.
"""

from __future__ import annotations

import importlib.util
import os
import pickle
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Start = dict[str, Any]
#: Iterations really made, weights, means, covariances in scikit-learn's shapes.
Fitted = tuple[int, Any, Any, Any]
#: Makes that many iterations.
Fit = Callable[[NDArray[Any], Start, int], Fitted]


def one_dal(rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
    """Fit with oneDAL's em_gmm, on all threads."""
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
    made = int(np.ravel(result.nIterations)[0])
    return made, np.ravel(result.weights), result.means, np.stack(result.covariances)


def bob(rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
    """Fit with bob.learn.em on the threads of Dask; variances have no regularization."""
    import dask.array as da
    from bob.learn.em import GMMMachine

    machine = GMMMachine(
        start["n_components"],
        weights=start["weights_init"].copy(),
        convergence_threshold=None,
        max_fitting_steps=iterations,
        update_variances=True,
        update_weights=True,
    )
    machine.means = start["means_init"].copy()
    machine.variances = 1 / start["precisions_init"]
    machine.fit(da.from_array(rows, chunks=(-(-len(rows) // 2), -1)))
    return iterations, machine.weights, machine.means, machine.variances


@cache
def _spark() -> Any:
    from pyspark.sql import SparkSession

    session = SparkSession.builder.master("local[2]").config("spark.driver.memory", "6g")
    return session.config("spark.ui.enabled", "false").getOrCreate()


_IN_SPARK: dict[tuple[int, int], Any] = {}


def _in_spark(rows: NDArray[Any]) -> Any:
    """Return rows as vectors in Spark's memory, put there once."""
    from pyspark.mllib.linalg import Vectors

    if (id(rows), len(rows)) not in _IN_SPARK:
        vectors = _spark().sparkContext.parallelize(rows, 2).map(Vectors.dense).cache()
        vectors.count()
        _IN_SPARK[id(rows), len(rows)] = vectors
    return _IN_SPARK[id(rows), len(rows)]


def spark(rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
    """Fit with Spark's RDD interface, the one that takes a start."""
    from pyspark.mllib.clustering import GaussianMixture
    from pyspark.mllib.linalg import Matrices, Vectors
    from pyspark.mllib.stat.distribution import MultivariateGaussian

    d = rows.shape[1]
    gaussians = [
        MultivariateGaussian(Vectors.dense(mean), Matrices.dense(d, d, np.linalg.inv(precision).ravel("F")))
        for mean, precision in zip(start["means_init"], start["precisions_init"], strict=True)
    ]
    weights = list(map(float, start["weights_init"]))
    model = GaussianMixture.train(
        _in_spark(rows),
        start["n_components"],
        convergenceTol=0.0,
        maxIterations=iterations,
        initialModel=SimpleNamespace(k=len(weights), weights=weights, gaussians=gaussians),
    )
    means = np.stack([g.mu.toArray() for g in model.gaussians])
    covariances = np.stack([g.sigma.toArray() for g in model.gaussians])
    return iterations, np.array(model.weights), means, covariances


@dataclass(frozen=True)
class Rival:
    """An engine and what it can do.

    Attributes
    ----------
    fit : callable
    covariance_types : tuple of str
    slow : bool
        Few rounds are enough.
    allowed : float
        How far its likelihood may be from ours, in nats a row. bob.learn.em and oneDAL add no `reg_covar` to
        variances that need none. Spark adds 2.2e-16 to the density of each component: nothing for eight
        features, too much for 32.
    most_features : int
    """

    fit: Fit
    covariance_types: tuple[str, ...]
    slow: bool
    allowed: float = 1e-5
    most_features: int = 1 << 20

    def can(self, n_features: int, covariance_type: str) -> bool:
        """Return whether it fits such mixtures."""
        return n_features <= self.most_features and covariance_type in self.covariance_types


KNOWN = {
    "oneDAL": Rival(one_dal, ("full",), slow=False),
    "bob.learn.em": Rival(bob, ("diag",), slow=True),
    "Spark": Rival(spark, ("full",), slow=True, allowed=0.01, most_features=16),
}


def installed() -> list[str]:
    """Return the names of the engines that this interpreter has."""
    found = {
        "oneDAL": importlib.util.find_spec("daal4py"),
        "bob.learn.em": importlib.util.find_spec("bob") and importlib.util.find_spec("bob.learn.em"),
        "Spark": importlib.util.find_spec("pyspark") and shutil.which("java"),
    }
    return [name for name, there in found.items() if there]


class Elsewhere:
    """Another interpreter, which fits what it is sent."""

    def __init__(self, python: str) -> None:
        self._folder = tempfile.TemporaryDirectory()
        self._process = subprocess.Popen(
            [python, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=self._folder.name
        )
        self.installed: list[str] = pickle.load(self._process.stdout)

    def fit(self, name: str, rows: NDArray[Any], start: Start, iterations: int) -> Fitted:
        """Fit with the engine `name`; rows go through a file, once."""
        path = Path(self._folder.name, f"{id(rows)}-{len(rows)}.npy")
        if not path.exists():
            np.save(path, rows)
        pickle.dump((name, str(path), start, iterations), self._process.stdin)
        self._process.stdin.flush()
        fitted: Fitted = pickle.load(self._process.stdout)
        return fitted

    def close(self) -> None:
        """End the process."""
        self._process.stdin.close()
        self._process.wait()
        self._folder.cleanup()


def serve() -> None:
    """Fit what comes from standard input until it ends."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # What engines print is no answer.
    load = cache(np.load)
    pickle.dump(installed(), answers)
    answers.flush()
    while True:
        try:
            name, path, start, iterations = pickle.load(sys.stdin.buffer)
        except EOFError:
            return
        pickle.dump(KNOWN[name].fit(load(path), start, iterations), answers)
        answers.flush()


def rivals(elsewhere: Elsewhere | None) -> dict[str, Rival]:
    """Return the engines that can run."""
    found = {name: KNOWN[name] for name in installed()}
    for name in elsewhere.installed if elsewhere else []:
        found.setdefault(name, replace(KNOWN[name], fit=partial(elsewhere.fit, name)))
    return found


if __name__ == "__main__":
    serve()
