"""Commands run in this process, and small stored data for them."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from click.testing import CliRunner

from dask_gmm.cli import gmm


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, its result, its events, and its whole standard error."""

    code: int
    result: Any
    events: list[dict[str, Any]]
    stderr: str


def _run(*arguments: object) -> Ended:
    ended = CliRunner().invoke(gmm, [str(argument) for argument in arguments])
    events = [json.loads(line) for line in ended.stderr.splitlines() if line.startswith("{")]
    lines = ended.stdout.splitlines()
    # One JSON object on standard output and nothing else; help and errors print none.
    result = json.loads(lines[0]) if len(lines) == 1 else None
    return Ended(ended.exit_code, result, events, ended.stderr)


@pytest.fixture
def run() -> Callable[..., Ended]:
    """Run a command: ``run("fit", source, ...)``."""
    return _run


@pytest.fixture
def stored(tmp_path: Path, make_rows: Any) -> Path:
    """A Zarr array of 600 rows and 3 features in four chunks."""
    rows = make_rows()
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=rows.shape, chunks=(150, 3), dtype="f8")[:] = rows
    return path


@pytest.fixture
def with_nan(stored: Path) -> Path:
    """The same with a NaN in row 200."""
    array = zarr.open_array(stored)
    array[200, 1] = np.nan
    return stored
