"""Rows for benchmarks: generated as they are read, so that no size is limited by the disk."""

from __future__ import annotations

from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import zarr
from numpy.typing import NDArray


@lru_cache(maxsize=4)
def block_of_rows(n: int, d: int, dtype: str) -> NDArray[Any]:
    """Return n rows of ten overlapping clusters, always the same."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, d)) * 1.5
    return (centres[rng.integers(10, size=n)] + rng.normal(size=(n, d))).astype(dtype)


def generated(n: int, d: int, rows: int, dtype: str = "float32") -> da.Array:
    """Return a lazy array of n rows in chunks of `rows`; making a chunk costs one pass over its memory."""
    return da.map_blocks(
        partial(_make_chunk, rows, d, dtype),
        chunks=((rows,) * (n // rows), (d,)),
        dtype=dtype,
        meta=np.empty((0, 0), dtype),
    )


def _make_chunk(rows: int, d: int, dtype: str, block_info: Any = None) -> NDArray[Any]:
    number = block_info[None]["chunk-location"][0]
    return block_of_rows(rows, d, dtype) + np.asarray(0.001 * (number % 7), dtype)


def stored(
    folder: str, n: int, d: int, rows: int, dtype: str = "float32", compressors: Any = None
) -> zarr.Array[Any]:
    """Return a Zarr array of n rows in chunks of `rows`, written into `folder`."""
    path = Path(folder) / f"{n}-{d}-{rows}-{dtype}.zarr"
    array = zarr.create_array(path, shape=(n, d), chunks=(rows, d), dtype=dtype, compressors=compressors)
    # Many chunks at a time are much faster to write than one.
    step = max(rows, 1_000_000 // rows * rows)
    block = block_of_rows(step, d, dtype)
    for first in range(0, n, step):
        array[first : first + step] = block[: n - first]
    return array


def many_files(folder: str, n_chunks: int, d: int, rows: int) -> zarr.Array[Any]:
    """Return a float32 Zarr array of very many chunks, whose files are written past Zarr for speed."""
    array = zarr.create_array(
        Path(folder) / "many.zarr", shape=(n_chunks * rows, d), chunks=(rows, d), dtype="f4", compressors=None
    )
    block = block_of_rows(97 * rows, d, "float32")
    for number in range(n_chunks):
        path = Path(folder) / "many.zarr" / "c" / str(number)
        path.mkdir(parents=True)
        first = number % 97 * rows
        (path / "0").write_bytes(block[first : first + rows].tobytes())
    return array
