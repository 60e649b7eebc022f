"""Writing predictions against reading alone: ``python tests/benchmarks/writing.py``.

Rows of 16 features lie in a Zarr array larger than the workers' memory; 16 components label them. Before each
round the files leave the page cache, so that all bytes come from the disk.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from processes import cluster

from dask_gmm import GaussianMixture, from_zarr, write_predictions
from dask_gmm.engine.choose import choose_engine

N_FEATURES, N_COMPONENTS, CHUNK_ROWS = 16, 16, 65_536


class Count:
    """A reduction that does nothing with the rows but count them."""

    def zero(self) -> int:
        return 0

    def update(self, value: int, block: Any) -> int:
        return value + len(block.rows)

    def combine(self, values: Sequence[int]) -> int:
        return sum(values)


def make(path: Path, gigabytes: float, dtype: str) -> GaussianMixture:
    """Write rows, and return a mixture of their kind."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(N_COMPONENTS, N_FEATURES)) * 1.5
    labels = rng.integers(N_COMPONENTS, size=CHUNK_ROWS)
    rows = (centres[labels] + rng.normal(size=(CHUNK_ROWS, N_FEATURES))).astype(dtype)
    n_chunks = round(gigabytes * 1e9 / rows.nbytes)
    shape = (n_chunks * CHUNK_ROWS, N_FEATURES)
    stored = zarr.create_array(path, shape=shape, chunks=rows.shape, dtype=dtype)
    for number in range(n_chunks):
        stored[number * CHUNK_ROWS : (number + 1) * CHUNK_ROWS] = rows + np.asarray(1e-3 * number, dtype)
    return GaussianMixture(N_COMPONENTS, random_state=0, max_iter=20, tol=1e-2).fit(rows)


def forget(path: Path) -> None:
    """Drop what the page cache has of the files."""
    os.sync()
    for name in path.rglob("*"):
        if name.is_file():
            descriptor = os.open(name, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def read(path: Path) -> None:
    """Read all rows as a pass does."""
    with closing(choose_engine(from_zarr(path), cache=False)) as engine:
        engine.run([Count()])


def seconds(path: Path, function: Callable[[], Any]) -> float:
    """Time `function` with cold files."""
    forget(path)
    began = time.perf_counter()
    function()
    return time.perf_counter() - began


def peak_bytes() -> int:
    """Return the most memory that this process has had; costs nothing while it is measured."""
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def main() -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gigabytes", type=float, default=10)
    parser.add_argument("--dtype", choices=["f4", "f8"], default="f8")
    parser.add_argument("--output", action="append", help="labels without it")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--folder", help="on the disk to measure")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
        path = Path(temporary) / "rows.zarr"
        gm = make(path, given.gigabytes, given.dtype)
        measured: dict[str, list[float]] = {"reading": [], "predicting": []}
        with cluster(2, "1GB") as running:
            for number in range(given.rounds):
                out = Path(temporary) / f"predictions-{number}.zarr"
                predict = partial(write_predictions, gm, path, out, given.output or ["labels"])
                measured["reading"].append(seconds(path, partial(read, path)))
                measured["predicting"].append(seconds(path, predict))
            peaks = running.client.run(peak_bytes)
        best = {name: min(values) for name, values in measured.items()}
        result = {
            **{f"{name} seconds": values for name, values in measured.items()},
            "reading MB/s": given.gigabytes * 1e3 / best["reading"],
            "share of reading": best["reading"] / best["predicting"],
            "peak worker MB": max(peaks.values()) / 1e6,
        }
        print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
