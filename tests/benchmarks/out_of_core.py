"""Rows with holes and errors, larger than workers: ``python tests/benchmarks/out_of_core.py [NAME ...]``.

Stores are made, then fitted, labelled and imputed by the commands, on a local cluster of two workers of one
thread and 1 GB each; every answer is looked at. ``--rows`` says how many rows there are.

- holes: Parquet, 8 columns, 15 % nulls in five patterns and scattered ones.
- errors: Parquet, 4 columns with 4 of standard errors.
- grid: a Zarr group of variables, each with NaN in other places.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pyarrow as pa
import pyarrow.parquet as pq
import zarr
from numpy.typing import NDArray

Array = NDArray[np.float64]

ROWS_PER_FILE, ROWS_PER_GROUP = 2_000_000, 200_000
NAMES = list("abcdefgh")
PATTERNS = ([0, 1], [2, 3, 4], [5], [6, 7], [1, 4, 6])
#: Components of the rows that are made.
K = 4


def drawn(rng: np.random.Generator, n: int, d: int) -> Array:
    """Return rows of a mixture that is the same for all seeds."""
    own = np.random.default_rng(7)
    centres = 4.0 * own.normal(size=(K, d))
    roots = np.eye(d) + 0.4 * own.normal(size=(K, d, d))
    labels, noise = rng.integers(K, size=n), rng.normal(size=(n, d))
    rows: Array = centres[labels]
    for k in range(K):
        rows[labels == k] += noise[labels == k] @ roots[k]
    return rows


def holes_of(rng: np.random.Generator, n: int, d: int) -> NDArray[np.bool_]:
    """Return where 15 % of the values are missing: in five patterns, and one in fifty anywhere."""
    holes = rng.random((n, d)) < 0.02
    which = rng.integers(len(PATTERNS), size=n)
    # Patterns take a quarter of a row on average: in half of the rows they make what scattered ones leave.
    some = rng.random(n) < 0.53
    for number, pattern in enumerate(PATTERNS):
        here = np.flatnonzero(some & (which == number))
        holes[np.ix_(here, pattern)] = True
    return holes


def files(folder: Path, n_rows: int, make: Callable[[np.random.Generator, int], pa.Table]) -> Path:
    """Write a folder of Parquet files."""
    folder.mkdir()
    for number, start in enumerate(range(0, n_rows, ROWS_PER_FILE)):
        path = folder / f"part-{number:03}.parquet"
        writer = None
        for begin in range(start, min(n_rows, start + ROWS_PER_FILE), ROWS_PER_GROUP):
            n = min(ROWS_PER_GROUP, n_rows - begin)
            table = make(np.random.default_rng(begin), n)
            writer = writer or pq.ParquetWriter(path, table.schema)
            writer.write_table(table)
        assert writer is not None
        writer.close()
    return folder


def table_with_holes(rng: np.random.Generator, n: int) -> pa.Table:
    """Return rows with nulls."""
    rows, holes = drawn(rng, n, len(NAMES)), holes_of(rng, n, len(NAMES))
    return pa.table({name: pa.array(rows[:, j], mask=holes[:, j]) for j, name in enumerate(NAMES)})


def table_with_errors(rng: np.random.Generator, n: int) -> pa.Table:
    """Return rows with the standard error of each value beside it; one in twenty is missing."""
    errors = rng.uniform(0.2, 1.5, size=(n, 4))
    rows, holes = drawn(rng, n, 4) + errors * rng.normal(size=(n, 4)), rng.random((n, 4)) < 0.05
    columns = {name: pa.array(rows[:, j], mask=holes[:, j]) for j, name in enumerate(NAMES[:4])}
    return pa.table({**columns, **{f"{name}_error": errors[:, j] for j, name in enumerate(NAMES[:4])}})


class Watch:
    """The most memory of each process below this one while a block runs."""

    def __init__(self) -> None:
        self.peaks: dict[int, int] = {}
        self._stop = threading.Event()

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stop.wait(0.1):
            for child in psutil.Process().children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    self.peaks[child.pid] = max(self.peaks.get(child.pid, 0), child.memory_info().rss)

    @property
    def megabytes(self) -> list[int]:
        """Of the three largest: two workers and the command."""
        return sorted((peak // 1_000_000 for peak in self.peaks.values()), reverse=True)[:3]


def run(name: str, *arguments: Any) -> dict[str, Any]:
    """Run a command on two workers of 1 GB; return its seconds and memory."""
    where = ["--n-workers", "2", "--threads", "1", "--memory-limit", "1 GB", "--log", "json"]
    began = time.perf_counter()
    with Watch() as watch:
        done = subprocess.run(
            [sys.executable, "-m", "dask_gmm", name, *map(str, arguments), *where],
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(f"{name} ended with {done.returncode}: {done.stderr[-2000:]}")
    seconds = time.perf_counter() - began
    passes = [json.loads(text)["seconds"] for text in done.stderr.splitlines() if '"event": "pass"' in text]
    found = {"seconds": round(seconds, 1), "MB": watch.megabytes}
    return {**found, "seconds a pass": passes} if passes else found


def pairs(option: str, names: list[str]) -> list[str]:
    """Return an option for each name."""
    return [text for name in names for text in (option, name)]


FIT = ("--n-components", K, "--max-iter", 4, "--random-state", 0)


def holes(folder: Path, n_rows: int) -> dict[str, Any]:
    """Fit, label and impute rows with nulls."""
    store, model = files(folder / "holes", n_rows, table_with_holes), folder / "holes.gmm"
    results = {"fit": run("fit", store, "--missing", "em", *FIT, "--out", model)}
    results["labels"] = run("predict", store, model, folder / "labels.parquet", "--output", "labels")
    results["imputed"] = run("predict", store, model, folder / "filled.parquet", "--output", "imputed")
    n_seen, n_labels = 0, 0
    for given, filled in zip(parts(store), parts(folder / "filled.parquet"), strict=True):
        for name in NAMES:
            values, there = filled[name].to_numpy(), given[name].is_valid().to_numpy()
            assert filled[name].null_count == 0
            assert np.isfinite(values).all()
            assert (values[there] == given[name].drop_null().to_numpy()).all()
        n_seen += len(given)
    for part in parts(folder / "labels.parquet"):
        n_labels += len(part)
        assert set(np.unique(part["labels"].to_numpy())) <= set(range(K))
    assert n_seen == n_labels == n_rows
    return results


def parts(folder: Path) -> Iterator[pa.Table]:
    """Return a store's rows, in pieces of the same size whatever its files are."""
    rest = None
    for path in sorted(folder.rglob("*.parquet")):
        file = pq.ParquetFile(path)
        for number in range(file.num_row_groups):
            table = file.read_row_group(number)
            rest = table if rest is None else pa.concat_tables([rest, table])
            while len(rest) >= ROWS_PER_GROUP:
                yield rest.slice(0, ROWS_PER_GROUP)
                rest = rest.slice(ROWS_PER_GROUP)
    if rest is not None and len(rest):
        yield rest


def errors(folder: Path, n_rows: int) -> dict[str, Any]:
    """Fit and label rows with errors, some of whose values are missing."""
    store, model = files(folder / "errors", n_rows, table_with_errors), folder / "errors.gmm"
    columns = pairs("--column", NAMES[:4])
    columns += pairs("--error-column", [f"{name}_error" for name in NAMES[:4]])
    results = {"fit": run("fit", store, *columns, "--missing", "em", *FIT, "--out", model)}
    results["labels"] = run("predict", store, model, folder / "e_labels.parquet", *columns)
    assert sum(map(len, parts(folder / "e_labels.parquet"))) == n_rows
    return results


def grid(folder: Path, n_rows: int) -> dict[str, Any]:
    """Impute variables of a Zarr group on their grid."""
    store, model, target = folder / "grid.zarr", folder / "grid.gmm", folder / "grid_filled.zarr"
    height = max(1, n_rows // 2000)
    root = zarr.open_group(store, mode="w")
    arrays = [
        root.create_array(name, shape=(height, 2000), chunks=(100, 1000), dtype="f8", fill_value=np.nan)
        for name in NAMES[:4]
    ]
    for begin in range(0, height, 100):
        n, rng = min(100, height - begin), np.random.default_rng(begin)
        rows = drawn(rng, n * 2000, 4)
        # Clouds of one variable, a swath of another, and single ones.
        rows[:, 1][rng.random(len(rows)) < 0.1] = np.nan
        rows[:, 2][rows[:, 0] > 3.0] = np.nan
        rows[(np.arange(len(rows)) % 2000) < 150, 3] = np.nan
        for j, array in enumerate(arrays):
            array[begin : begin + n] = rows[:, j].reshape(n, 2000)
    columns = pairs("--component", NAMES[:4])
    results = {"fit": run("fit", store, *columns, "--missing", "em", *FIT, "--out", model)}
    results["imputed"] = run("predict", store, model, target, *columns, "--output", "imputed")
    filled = zarr.open_group(target, mode="r")
    for name in NAMES[:4]:
        for begin in range(0, height, 100):
            given, found = root[name][begin : begin + 100], filled[name][begin : begin + 100]
            there = ~np.isnan(given)
            assert found.shape == given.shape
            assert np.isfinite(found).all()
            assert (found[there] == given[there]).all()
    return results


TASKS = {"holes": holes, "errors": errors, "grid": grid}


def main() -> None:
    """Run them and print JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", choices=[*TASKS, []], metavar="NAME")
    parser.add_argument("--rows", type=int, default=20_000_000)
    parser.add_argument("--folder", help="on the disk to use")
    given = parser.parse_args()
    for name in given.names or TASKS:
        with tempfile.TemporaryDirectory(dir=given.folder) as temporary:
            began = time.perf_counter()
            found = TASKS[name](Path(temporary), given.rows)
            seconds = time.perf_counter() - began
            print(
                json.dumps({"name": name, "rows": given.rows, **found, "in all": round(seconds)}), flush=True
            )


if __name__ == "__main__":
    main()
