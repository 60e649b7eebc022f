"""Compile beforehand what fits and predictions need."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np

from dask_gmm.cli.log import Log
from dask_gmm.data.parquet import thrift
from dask_gmm.model.kernels import (
    centred,
    checksum,
    conditional_pass,
    patterns,
    quadratic,
    row_moments,
    settled,
)

_SINGLE, _DOUBLE = np.dtype(np.float32), np.dtype(np.float64)


def warm(given: Mapping[str, Any], log: Log) -> dict[str, Any]:
    """Compile everything that is not in the cache, and return where it is kept and how long it took."""
    began, n_compiled, folders = perf_counter(), 0, set()
    for name, entry_point in _entry_points():
        before = perf_counter()
        function = entry_point()
        is_new = not sum(function.stats.cache_hits.values())
        n_compiled += is_new
        folders.add(function.stats.cache_path)
        seconds = round(perf_counter() - before, 2)
        how = "compiled" if is_new else "was in the cache"
        log.event("compiled", f"{name}: {how} ({seconds:.1f} s)", name=name, new=is_new, seconds=seconds)
    return {"cache": sorted(map(str, folders)), "compiled": n_compiled, "seconds": perf_counter() - began}


#: Dtypes of rows and of products that fits and predictions meet.
_KERNELS = (
    (quadratic, _DOUBLE, _DOUBLE),
    (quadratic, _SINGLE, _SINGLE),
    (quadratic, _SINGLE, _DOUBLE),
    (centred, _DOUBLE, _DOUBLE),
    (centred, _SINGLE, _DOUBLE),
    (centred, _SINGLE, _SINGLE),
    (settled, _DOUBLE, _SINGLE),
    (settled, _SINGLE, _SINGLE),
)


def _entry_points() -> Iterator[tuple[str, Callable[[], Any]]]:
    for module, rows, products in _KERNELS:
        name = module.__name__.rpartition(".")[2]
        yield f"{name} kernel, {rows} rows, {products} products", partial(module.entry_point, rows, products)
    for dtype in (_DOUBLE, _SINGLE):
        yield f"moments, {dtype} rows", partial(row_moments.entry_point, dtype)
        yield f"checksum, {dtype} rows", partial(checksum.entry_point, np.dtype(f"u{dtype.itemsize}"))
        yield f"patterns of holes, {dtype} rows", partial(patterns.entry_point, dtype)
        yield f"rows with holes, {dtype}", partial(conditional_pass.entry_point, dtype)
    yield "footers of Parquet files", thrift.entry_point
