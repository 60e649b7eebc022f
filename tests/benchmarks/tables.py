"""Tables in Markdown, and stores that count what is read."""

from __future__ import annotations

import argparse
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from problems import Problem
from zarr.storage import LocalStore, WrapperStore

from dask_gmm import from_zarr


class CountingStore(WrapperStore[LocalStore]):
    """Counts the reads of each chunk, and their bytes."""

    def __init__(self, store: LocalStore) -> None:
        super().__init__(store)
        self.reads: Counter[str] = Counter()
        self.n_bytes = 0

    async def get(self, key: str, prototype: Any, byte_range: Any = None) -> Any:
        """Read, and count it."""
        value = await super().get(key, prototype, byte_range)
        if not key.endswith(".json") and value is not None:
            self.reads[key] += 1
            self.n_bytes += len(value)
        return value


@contextmanager
def stored(rows: NDArray[Any], n_chunks: int) -> Iterator[Callable[[], tuple[Any, CountingStore]]]:
    """Write rows to a Zarr array; yield what opens it with a count of its own."""
    with tempfile.TemporaryDirectory() as folder:
        path, chunk = Path(folder) / "rows.zarr", -(-len(rows) // n_chunks)
        zarr.create_array(path, data=rows, chunks=(chunk, rows.shape[1]))

        def opened() -> tuple[Any, CountingStore]:
            store = CountingStore(LocalStore(path, read_only=True))
            return from_zarr(zarr.open_array(store, mode="r")), store

        yield opened


def line(*cells: Any) -> None:
    """Print a line of a Markdown table."""
    print("| " + " | ".join(str(cell) for cell in cells) + " |", flush=True)


def heading(*cells: str) -> None:
    """Print the head of a Markdown table."""
    line(*cells)
    line(*("---" for _ in cells))


def chosen(problems: Sequence[Problem], options: argparse.Namespace) -> Sequence[Problem]:
    """Return the problems that were asked for."""
    return [problems[number] for number in options.only] if options.only else problems


def spread(values: Sequence[float], digits: int = 0) -> str:
    """Return the median, and the range."""
    median, low, high = np.median(values), min(values), max(values)
    return f"{median:.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
