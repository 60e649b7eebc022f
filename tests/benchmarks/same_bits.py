"""Whether two versions of the package fit the same bits: digests of the parameters of some ninety fits.

    python tests/benchmarks/same_bits.py store digests.json [--files FOLDER]
    python tests/benchmarks/same_bits.py compare digests.json [--files FOLDER]

Bits depend on the processor, so both runs belong on one machine. With ``--files``, models and checkpoints are
written there by the first run and must load in the second.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import json
import shutil
import sys
import tempfile
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import zarr
from distributed import Client

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_xarray, from_zarr, read_parquet

TYPES = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data", "sample")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_cholesky_", "precisions_", "lower_bounds_")
Make = Callable[[], Any]


def rows(dtype: str = "f8", n: int = 3000) -> np.ndarray:
    """Return overlapping clusters of 3000 rows of 4 features, away from the origin."""
    rng = np.random.default_rng(7)
    centres = rng.normal(size=(5, 4)) * 2
    spread = rng.uniform(0.4, 1.2, size=(5, 4))
    which = rng.integers(0, 5, size=n)
    return (100 + centres[which] + spread[which] * rng.normal(size=(n, 4))).astype(dtype)


def kinds(folder: Path) -> dict[str, Make]:
    """Return the same rows as every kind of data."""
    import xarray as xr

    x, x32, names = rows(), rows("f4"), list("abcd")
    zarr.create_array(f"{folder}/x.zarr", data=x, chunks=(400, 4))
    zarr.create_array(f"{folder}/x32.zarr", data=x32, chunks=(400, 2))
    frame = pd.DataFrame(x, columns=names)
    frame.to_parquet(f"{folder}/x.parquet", row_group_size=700)
    return {
        "numpy": lambda: x,
        "numpy32": lambda: x32,
        "frame": lambda: frame,
        "dask": lambda: da.from_array(x, chunks=(450, 4)),
        "dask32": lambda: da.from_array(x32, chunks=(450, 2)),
        "dd": lambda: dd.from_pandas(frame, npartitions=5),
        "zarr": lambda: from_zarr(f"{folder}/x.zarr"),
        "zarr32": lambda: from_zarr(f"{folder}/x32.zarr"),
        "parquet": lambda: read_parquet(f"{folder}/x.parquet"),
        "xarray": lambda: from_xarray(
            xr.DataArray(x.reshape(60, 50, 4), dims=("y", "x", "f")).chunk({"y": 11}), feature_dim="f"
        ),
    }


def fits(data: dict[str, Make], folder: Path) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield the name of each fit and what runs it."""
    weights = np.random.default_rng(1).uniform(0.0, 2.0, size=3000)

    def mixture(kind: str, **parameters: Any) -> Callable[[], Any]:
        weighted = parameters.pop("weighted", False)
        model = GaussianMixture(5, random_state=3, tol=1e-4, max_iter=40, **parameters)
        return lambda: model.fit(data[kind](), sample_weight=weights if weighted else None)

    def resumed(kind: str, **parameters: Any) -> Any:
        where = f"{folder}/{kind}-{parameters['covariance_type']}.checkpoint"
        options = {"random_state": 3, "tol": 1e-4, "checkpoint": where, **parameters}
        GaussianMixture(5, max_iter=40, **options).fit(data[kind]())
        return GaussianMixture(5, max_iter=40, **options).fit(data[kind]())

    for kind, covariance in itertools.product(data, TYPES):
        yield f"{kind} {covariance}", mixture(kind, covariance_type=covariance)
    for kind, covariance in itertools.product(("numpy", "zarr32", "parquet"), TYPES):
        yield f"{kind} {covariance} weights", mixture(kind, covariance_type=covariance, weighted=True)
    for kind, start in itertools.product(("numpy", "zarr"), STARTS):
        yield f"{kind} {start} restarts", mixture(kind, init_params=start, n_init=3)
    for kind, covariance in itertools.product(("dask", "numpy32"), TYPES):
        yield f"{kind} {covariance} accelerate", mixture(kind, covariance_type=covariance, accelerate=True)
    for kind, covariance in itertools.product(("zarr", "dd"), TYPES):
        yield f"{kind} {covariance} resumed", lambda k=kind, c=covariance: resumed(k, covariance_type=c)
    for kind in ("numpy", "parquet", "zarr32"):
        sweep = GaussianMixtureIC(range(1, 4), covariance_type=TYPES, random_state=0, max_iter=60)
        yield f"{kind} sweep", lambda k=kind, s=sweep: s.fit(data[k]())


def beyond_the_budget(data: dict[str, Make]) -> Iterator[tuple[str, Callable[[], Any]]]:
    """Yield fits whose start is found on a sample, with races and leaps."""
    for kind, covariance in itertools.product(("zarr", "parquet"), TYPES):
        model = GaussianMixture(5, covariance_type=covariance, random_state=3, n_init=3)
        yield f"{kind} {covariance} sampled", lambda k=kind, m=model: m.fit(data[k]())


def digest(model: Any) -> str:
    """Return a digest of all that was fitted."""
    hashed = hashlib.sha256()
    for name in PARAMETERS:
        array = np.asarray(getattr(model, name))
        hashed.update(f"{name} {array.dtype} {array.shape}".encode() + array.tobytes())
    return hashed.hexdigest()[:16]


def digests() -> dict[str, str]:
    """Run all fits."""
    found = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        data = kinds(folder)
        for label, run in fits(data, folder):
            found[label] = digest(run())
        with dask.config.set({"dask-gmm.start-bytes": "48 kB"}):
            for label, run in beyond_the_budget(data):
                found[label] = digest(run())
        with Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None):
            for kind, covariance in itertools.product(("dask", "dd", "zarr", "parquet"), TYPES):
                model = GaussianMixture(5, covariance_type=covariance, random_state=3, tol=1e-4, max_iter=40)
                found[f"{kind} {covariance} cluster"] = digest(model.fit(data[kind]()))
    return found


def write_files(folder: Path) -> None:
    """Write a model of each type and a checkpoint that a later version must be able to continue."""
    folder.mkdir(parents=True, exist_ok=True)
    for covariance in TYPES:
        model = GaussianMixture(3, covariance_type=covariance, random_state=0).fit(rows())
        model.save(f"{folder}/{covariance}.gmm")
        np.save(f"{folder}/{covariance}.npy", model.score_samples(rows()))
        zarr.create_array(f"{folder}/{covariance}.zarr", data=rows(), chunks=(400, 4), overwrite=True)
        _resumable(folder, covariance, 6)


def _resumable(folder: Path, covariance: str, n: int) -> Any:
    checkpoint = Path(f"{folder}/{covariance}.checkpoint")
    if not n:
        # The one that was written first goes on serving later comparisons.
        checkpoint = Path(shutil.copy(checkpoint, f"{folder}/{covariance}.continued"))
    model = GaussianMixture(
        4, covariance_type=covariance, random_state=0, tol=0.0, max_iter=12, checkpoint=checkpoint
    )
    try:
        _interrupt_at(n)
        return model.fit(from_zarr(f"{folder}/{covariance}.zarr"))
    except KeyboardInterrupt:
        return None


def _interrupt_at(n: int) -> None:
    """Arrange for the n-th pass to be interrupted; nothing where n is 0."""
    from dask_gmm.engine.threads import ThreadsEngine

    original, left = ThreadsEngine.run, [n]

    def run(self: Any, *args: Any, **kwargs: Any) -> Any:
        left[0] -= 1
        if left[0] == 0:
            ThreadsEngine.run = original
            raise KeyboardInterrupt
        return original(self, *args, **kwargs)

    if n:
        ThreadsEngine.run = run


def check_files(folder: Path) -> list[str]:
    """Return what does not load or does not go on."""
    wrong = []
    for covariance in TYPES:
        model = GaussianMixture.load(f"{folder}/{covariance}.gmm")
        if not np.array_equal(model.score_samples(rows()), np.load(f"{folder}/{covariance}.npy")):
            wrong.append(f"model {covariance}")
        plain = GaussianMixture(4, covariance_type=covariance, random_state=0, tol=0.0, max_iter=12)
        plain.fit(from_zarr(f"{folder}/{covariance}.zarr"))
        if digest(plain) != digest(_resumable(folder, covariance, 0)):
            wrong.append(f"checkpoint {covariance}")
    return wrong


def main() -> int:
    """Store or compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("what", choices=["store", "compare"])
    parser.add_argument("file", type=Path)
    parser.add_argument("--files", type=Path)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    found = digests()
    if arguments.what == "store":
        arguments.file.write_text(json.dumps(found, indent=1))
        if arguments.files:
            write_files(arguments.files)
        print(f"{len(found)} fits stored")
        return 0
    before = json.loads(arguments.file.read_text())
    wrong = [name for name in before if found.get(name) != before[name]]
    wrong += check_files(arguments.files) if arguments.files else []
    print(f"{len(before)} fits, {len(wrong)} differ", *wrong, sep="\n")
    return bool(wrong)


if __name__ == "__main__":
    sys.exit(main())
