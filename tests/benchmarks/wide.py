"""Wide rows: ``python tests/benchmarks/wide.py NAME ...``; without a name, all.

- ``kernels``: microseconds a row and thread of an E-step, next to what BLAS makes of the same products;
- ``heldout``: which model describes real rows that it has not seen, with free parameters and seconds. The
  data are in packages: digits and photographs in scikit-learn, token vectors in wordllama where it is there;
- ``many``: 20 million rows of 384 numbers, generated as they are read, on two workers of 1.5 GB.
"""

from __future__ import annotations

import argparse
import json
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from processes import PeakMemory, cluster
from rows import generated
from sklearn.datasets import load_digits, load_sample_images
from sklearn.decomposition import PCA
from sklearn.feature_extraction.image import extract_patches_2d
from sklearn.pipeline import make_pipeline
from threadpoolctl import threadpool_limits

from dask_gmm import GaussianMixture
from dask_gmm.mixture.fitted import fitted_density
from dask_gmm.model.covariance import unspelled

warnings.simplefilter("ignore")

Array = NDArray[Any]
_ROUNDS = 5


def kernels() -> list[dict[str, Any]]:
    """Seconds of E-steps of one thread, and the share of BLAS's rate that their products reach."""
    found = []
    for d, n_components, kind, dtype in (
        (128, 64, "factor(8)", np.float32),
        (384, 64, "factor(16)", np.float32),
        (768, 64, "factor(16)", np.float32),
        (768, 64, "factor(16)", np.float64),
        (768, 64, "diag", np.float32),
        (768, 8, "full", np.float32),
    ):
        model, rows = _mixture(d, n_components, kind, dtype)
        prepared = model.structure.kernel(model.components, np.dtype(dtype)).kernel
        prepared.statistics(rows[:200], None)
        ours, gemm = [], []
        left, right = rows[:2048], np.asarray(rows[:1024].T, order="C")
        with threadpool_limits(1):
            for _ in range(_ROUNDS):
                ours.append(_seconds(lambda k=prepared, x=rows: k.statistics(x, None)))
                gemm.append(_seconds(lambda a=left, b=right: a @ b))
        rate = 2.0 * left.shape[0] * d * right.shape[1] / statistics.median(gemm)
        seconds = statistics.median(ours) / len(rows)
        line = {"d": d, "K": n_components, "type": kind, "dtype": np.dtype(dtype).name}
        line |= {"us a row": 1e6 * seconds, "BLAS GFLOP/s": rate / 1e9}
        if kind.startswith("factor"):
            products = 2.0 * d * n_components * int(unspelled(kind)["n_factors"])
            line["share of BLAS"] = products / seconds / rate
        found.append(line)
        print(json.dumps(line), file=sys.stderr)
    return found


def _mixture(d: int, n_components: int, kind: str, dtype: Any) -> tuple[Any, Array]:
    """Return a mixture of wide rows that belong to one component each, and rows of it."""
    rng = np.random.default_rng(0)
    options = unspelled(kind)
    q = int(options.get("n_factors", 4))
    means, loadings = rng.normal(size=(n_components, d)), rng.normal(size=(n_components, d, q))
    labels = rng.integers(n_components, size=4096)
    rows = means[labels] + np.einsum("nij,nj->ni", loadings[labels], rng.normal(size=(4096, q)))
    rows = (rows + rng.normal(size=rows.shape)).astype(dtype)
    estimator = GaussianMixture(
        n_components, **options, means_init=means, max_iter=1, reg_covar=1e-2, init_params="random"
    )
    return fitted_density(estimator.fit(rows)), rows


def heldout() -> list[dict[str, Any]]:
    """Held-out nats a row; `reg_covar` means the same for all types."""
    found = []
    for name, n_components, q, rows in _data():
        rng = np.random.default_rng(0)
        order = rng.permutation(len(rows))
        train, test = rows[order[len(rows) // 5 :]], rows[order[: len(rows) // 5]]
        reg_covar = 1e-3 * float(train.var(axis=0).mean())
        for kind in (
            "diag",
            "diag in principal axes",
            f"factor({q})",
            f"factor({q}) in principal axes",
            "full",
        ):
            estimator = GaussianMixture(
                n_components,
                **unspelled(kind.split()[0]),
                reg_covar=reg_covar,
                random_state=0,
                max_iter=200,
            )
            # A rotation changes no density.
            model = make_pipeline(PCA(), estimator) if "principal" in kind else estimator
            began = time.perf_counter()
            model.fit(train)
            seconds = time.perf_counter() - began
            line = {"data": name, "rows": len(train), "d": rows.shape[1], "K": n_components, "type": kind}
            line |= {"held-out nats a row": float(model.score(test)), "trained": float(model.score(train))}
            line |= {"parameters": fitted_parameters_of(estimator), "iterations": estimator.n_iter_}
            line["seconds"] = seconds
            found.append(line)
            print(json.dumps(line), file=sys.stderr)
    return found


def fitted_parameters_of(estimator: GaussianMixture) -> int:
    """Return the number of free parameters."""
    density = fitted_density(estimator)
    n_components, n_features = density.means.shape
    own = density.structure.n_free(n_components, n_features)
    return own + n_components * n_features + n_components - 1


def _data() -> Iterator[tuple[str, int, int, Array]]:
    """Name, components, factors and rows."""
    yield "digits", 16, 8, load_digits().data.astype(np.float64)
    patches = [
        extract_patches_2d(image, (8, 8), max_patches=30_000, random_state=0).reshape(-1, 192)
        for image in load_sample_images().images
    ]
    yield "colour patches", 4, 8, np.concatenate(patches).astype(np.float32)
    vectors = _token_vectors()
    if vectors is not None:
        yield "token vectors", 8, 16, vectors


def _token_vectors() -> Array | None:
    """Return mean vectors of a few random tokens each, as short texts have them."""
    package = find_spec("wordllama")
    if package is None or package.origin is None or find_spec("safetensors") is None:
        return None
    from safetensors.numpy import load_file

    # Its own code, which needs more packages, is not run.
    place = Path(package.origin).parent / "weights" / "l2_supercat_256.safetensors"
    vectors = next(iter(load_file(place).values())).astype(np.float32)
    rng = np.random.default_rng(0)
    # Neighbours in the vocabulary are often of a kind.
    first = rng.integers(len(vectors) - 40, size=30_000)
    return np.stack([vectors[at + rng.integers(40, size=6)].mean(axis=0) for at in first])


def many(n: int = 20_000_000, passes: int = 3) -> dict[str, Any]:
    """Seconds of passes and the workers' memory; K = 64, q = 16."""
    d, n_components, chunk = 384, 64, 20_000
    X = generated(n, d, chunk)
    with cluster(2, "1.5GB") as running, PeakMemory(running) as peak:
        model = GaussianMixture(
            n_components,
            covariance_type="factor",
            n_factors=16,
            max_iter=passes,
            tol=0.0,
            cache=False,
            random_state=0,
            init_params="random_from_data",
        ).fit(X)
        seconds = [one.seconds for one in model.history_.passes]
    return {"rows": n, "seconds of passes": seconds, "bounds": model.lower_bounds_, "peak MB": peak.megabytes}


def _seconds(call: Callable[[], Any]) -> float:
    began = time.thread_time()
    call()
    return time.thread_time() - began


BENCHMARKS: dict[str, Callable[[], Any]] = {
    function.__name__: function for function in (kernels, heldout, many)
}


def main() -> None:
    """Run the benchmarks named on the command line and print their results as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[[], *BENCHMARKS], default=[])
    for name in parser.parse_args().names or BENCHMARKS:
        print(json.dumps({name: BENCHMARKS[name]()}, indent=2, default=float))
        sys.stdout.flush()


if __name__ == "__main__":
    main()
