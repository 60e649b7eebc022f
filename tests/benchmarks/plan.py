"""The estimates of `dask gmm plan` next to what passes take: ``python tests/benchmarks/plan.py``.

The cases differ in d, K, covariance type, chunk size and store. An estimate should be within 25 %.
"""

from __future__ import annotations

import statistics
import tempfile
import warnings
from collections.abc import Callable
from functools import partial
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from fits import fitted, seconds_of_passes
from processes import cluster
from rows import block_of_rows, generated, stored
from zarr.codecs import BloscCodec
from zarr.storage import LocalStore
from zarr.testing.store import LatencyStore

from dask_gmm import read_parquet
from dask_gmm.cli.plan_job import estimate
from dask_gmm.data.dispatch import lazy_source

warnings.simplefilter("ignore")

ZSTD = BloscCodec(cname="zstd")

#: Name, what makes the rows in a folder, K, covariance type.
CASES: list[tuple[str, Callable[[str], Any], int, str]] = [
    (
        "generated, 5M x 32 float32, 32 MB chunks",
        lambda folder: generated(5_000_000, 32, 250_000),
        10,
        "full",
    ),
    (
        "Zarr, zstd, 2M x 16 float64, 1.3 MB chunks",
        partial(
            stored, n=2_000_000, d=16, rows=10_000, dtype="float64", compressors=BloscCodec(cname="zstd")
        ),
        24,
        "full",
    ),
    ("Zarr, 50 ms a read, 2M x 16 float32, 1.6 MB chunks", lambda folder: slow(folder), 8, "full"),
    ("Parquet, 2M x 8 float64, 6.4 MB row groups", lambda folder: parquet(folder), 12, "full"),
    ("Zarr, 1M x 64 float32, 16 MB chunks", partial(stored, n=1_000_000, d=64, rows=62_500), 4, "full"),
    (
        "Zarr, 4M x 8 float64, 6.4 MB chunks",
        partial(stored, n=4_000_000, d=8, rows=100_000, dtype="float64"),
        32,
        "diag",
    ),
]


def slow(folder: str) -> zarr.Array[Any]:
    """Return a Zarr array in a store that answers after 50 ms."""
    store = LocalStore(stored(folder, 2_000_000, 16, 25_000).store.root, read_only=True)
    return zarr.open_array(LatencyStore(store, get_latency=0.05), mode="r")


def parquet(folder: str) -> Any:
    """Return the rows of a Parquet file."""
    names = [f"x{number}" for number in range(8)]
    columns = dict(zip(names, block_of_rows(2_000_000, 8, "float64").T, strict=True))
    pq.write_table(pa.table(columns), f"{folder}/rows.parquet", row_group_size=100_000)
    return read_parquet(f"{folder}/rows.parquet", columns=names)


def main() -> None:
    """Print a table."""
    print(f"{'':<54} {'K':>3} {'type':<5} {'groups':>6} {'estimate':>9} {'measured':>9} {'ratio':>6}")
    for name, make, K, covariance_type in CASES:
        with tempfile.TemporaryDirectory() as folder:
            X = make(folder)
            _, told = estimate(lazy_source(X), K, covariance_type, 2)
            with cluster(2) as running:
                fitted(X, K, 1, covariance_type)
                passes = seconds_of_passes(fitted(X, K, 5, covariance_type))
                trouble = running.trouble()
        estimated, measured = told["seconds_a_pass"], statistics.median(passes)
        print(
            f"{name:<54} {K:>3} {covariance_type:<5} {told['groups']:>6} {estimated:8.3f}s {measured:8.3f}s "
            f"{estimated / measured:6.2f}",
            *(f"{key}: {value}" for key, value in trouble.items() if value),
            flush=True,
        )


if __name__ == "__main__":
    main()
