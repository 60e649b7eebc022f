"""Fit a mixture to a Zarr array larger than the memory of the workers, save it, and label every row.

``python examples/quickstart.py [FOLDER]`` writes 2 GB to FOLDER, or to a temporary one that it removes.
"""

from __future__ import annotations

import sys
import tempfile
import time
from pathlib import Path

import dask
import dask.array as da
import numpy as np
import zarr
from distributed import Client, LocalCluster
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.spatial.distance import cdist
from sklearn.callback import ProgressBar
from sklearn.mixture import GaussianMixture as Truth

from dask_gmm import GaussianMixture, from_zarr

N_WORKERS, MEMORY_LIMIT = 2, "800 MiB"
N_ROWS, N_FEATURES, N_COMPONENTS = 45_000_000, 10, 4
CHUNK_ROWS = 100_000
N_BYTES = N_ROWS * N_FEATURES * 4


def make_truth() -> Truth:
    """Return a mixture with known parameters: stretched and turned components of different weights."""
    rng = np.random.default_rng(1)
    truth = Truth(N_COMPONENTS)
    truth.weights_ = np.array([0.4, 0.3, 0.2, 0.1])
    truth.means_ = rng.normal(size=(N_COMPONENTS, N_FEATURES))
    roots = rng.normal(size=(N_COMPONENTS, N_FEATURES, 2 * N_FEATURES)) / np.sqrt(2 * N_FEATURES)
    truth.covariances_ = roots @ roots.transpose(0, 2, 1)
    return truth


def write_rows(client: Client, truth: Truth, rows_path: Path, labels_path: Path) -> None:
    """Draw rows from the mixture into one Zarr array, and the components they come from into another."""
    chunks = (CHUNK_ROWS, N_FEATURES)
    zarr.create_array(rows_path, shape=(N_ROWS, N_FEATURES), chunks=chunks, dtype="f4", compressors=None)
    zarr.create_array(labels_path, shape=(N_ROWS,), chunks=(CHUNK_ROWS,), dtype="i1")
    numbers = range(N_ROWS // CHUNK_ROWS)
    written = client.map(write_chunk, numbers, truth=truth, rows_path=rows_path, labels_path=labels_path)
    client.gather(written)


def write_chunk(number: int, truth: Truth, rows_path: Path, labels_path: Path) -> None:
    """Draw and write chunk `number`; a task."""
    rng = np.random.default_rng([1, number])
    counts = rng.multinomial(CHUNK_ROWS, truth.weights_)
    rows = rng.standard_normal((CHUNK_ROWS, N_FEATURES), dtype="f4")
    for k, of_component in enumerate(np.split(rows, counts.cumsum()[:-1])):
        root = np.linalg.cholesky(truth.covariances_[k]).astype("f4")
        of_component[:] = of_component @ root.T + truth.means_[k].astype("f4")
    part = slice(number * CHUNK_ROWS, (number + 1) * CHUNK_ROWS)
    zarr.open_array(rows_path)[part] = rows
    zarr.open_array(labels_path)[part] = np.repeat(np.arange(N_COMPONENTS), counts)


def match(gm: GaussianMixture, truth: Truth) -> NDArray[np.intp]:
    """Return the fitted component for each true one, the nearest: the order of components is free."""
    _, fitted = linear_sum_assignment(cdist(truth.means_, gm.means_))
    return np.asarray(fitted)


def print_comparison(gm: GaussianMixture, truth: Truth) -> None:
    """Print fitted against true parameters."""
    print("\ncomponent  weight: true  fitted    largest error: mean  covariance")
    for k, fitted in enumerate(match(gm, truth)):
        mean_error = abs(gm.means_[fitted] - truth.means_[k]).max()
        covariance_error = abs(gm.covariances_[fitted] - truth.covariances_[k]).max()
        print(
            f"{k:9d}  {truth.weights_[k]:12.4f}  {gm.weights_[fitted]:6.4f}"
            f"{mean_error:21.5f}  {covariance_error:10.5f}"
        )


def main(folder: Path) -> None:
    """Make the data, fit, save, load, predict."""
    with (
        # The rows to start from come together on one worker: few beside its memory.
        dask.config.set({"dask-gmm.start-bytes": "16 MiB"}),
        LocalCluster(
            n_workers=N_WORKERS, threads_per_worker=1, memory_limit=MEMORY_LIMIT, dashboard_address=":0"
        ) as cluster,
        Client(cluster) as client,
    ):
        run(client, folder)


def run(client: Client, folder: Path) -> None:
    """Do the job on a cluster."""
    rows, labels, model, predicted = (folder / name for name in ("rows", "labels", "model.gmm", "predicted"))
    truth = make_truth()
    began = time.perf_counter()
    write_rows(client, truth, rows, labels)
    print(f"Wrote {N_BYTES / 2**20:.0f} MiB of rows to {rows} in {seconds(began)}")
    print(f"Workers: {N_WORKERS}, which may use {MEMORY_LIMIT} each")

    began = time.perf_counter()
    gm = GaussianMixture(N_COMPONENTS, random_state=0).set_callbacks(ProgressBar())
    gm.fit(from_zarr(rows))
    print(f"Fitted in {seconds(began)}, {gm.n_iter_} iterations")
    print_comparison(gm, truth)

    gm.save(model)
    gm = GaussianMixture.load(model)
    print(f"\nSaved and loaded {model}, {model.stat().st_size} bytes")

    began = time.perf_counter()
    gm.predict(from_zarr(rows)).to_zarr(predicted)
    print(f"Labelled {N_ROWS:,} rows in {seconds(began)}")
    true_to_fitted = match(gm, truth)
    # Lazy again: every chunk is compared where it is read.
    right = da.from_zarr(predicted) == da.from_zarr(labels).map_blocks(lambda true: true_to_fitted[true])
    print(f"{right.mean().compute():.2%} of them got the component that they were drawn from")


def seconds(began: float) -> str:
    """Return the time since `began`."""
    return f"{time.perf_counter() - began:.0f} s"


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory(prefix="dask-gmm-") as temporary:
            main(Path(temporary))
