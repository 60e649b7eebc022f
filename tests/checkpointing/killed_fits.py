"""Fits that are killed and resumed, in processes forked from this one; prints what happened as JSON.

Forked, because importing takes longer than a fit. Each fit leads a process group of its own, in which a
bystander sleeps; signals go to the group.
"""

from __future__ import annotations

import json
import os
import random
import signal
import sys
import time
import traceback
import warnings
from hashlib import sha256
from pathlib import Path
from typing import Any

import dask
import numpy as np

from dask_gmm import GaussianMixture
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.source import Block, Chunk

N_CHUNKS, CHUNK_SECONDS, SYNC_SECONDS = 4, 0.006, 0.012


class SlowRows(BaseSource):
    """Rows whose reads take time and are noted in a file, a byte each."""

    numbered = True

    def __init__(self, notes: Path) -> None:
        rng = np.random.default_rng(0)
        self.pieces = [rng.normal(size=(40, 2)) + 2 * (rng.random((40, 1)) < 0.5) for _ in range(N_CHUNKS)]
        self.notes = notes
        self.n_features, self.dtype = 2, np.dtype(np.float64)
        self.sample_shape = (40 * N_CHUNKS,)
        self.chunks = [Chunk(f"piece {index}", 40, None) for index in range(N_CHUNKS)]

    def fingerprint(self):
        return "these rows"

    def reader(self, indices):
        return self

    def supply(self, results):
        """Take nothing: the rows are here."""

    def read(self, index):
        time.sleep(CHUNK_SECONDS)
        with self.notes.open("ab", buffering=0) as notes:
            notes.write(b".")
        return Block(
            rows=self.pieces[index],
            name=f"piece {index}",
            index=index,
            numbers=lambda: np.arange(40) + 40 * index,
        )


def slow_fsync(descriptor, fsync=os.fsync):
    """Make the write of a checkpoint last, so that kills meet it."""
    time.sleep(SYNC_SECONDS)
    fsync(descriptor)


def fit(folder: Path) -> None:
    os.fsync = slow_fsync
    dask.config.set(num_workers=1)
    warnings.simplefilter("ignore")
    # No k-means: OpenMP does not outlive a fork.
    start = {"init_params": "random_from_data", "random_state": 0}
    estimator = GaussianMixture(2, tol=0.0, max_iter=12, checkpoint=folder / "fit", **start)
    estimator.fit(SlowRows(folder.parent / f"{folder.name}.reads"))
    numbers = [estimator.means_, estimator.covariances_, np.array(estimator.lower_bounds_)]
    digest = sha256(b"".join(array.tobytes() for array in numbers)).hexdigest()
    (folder.parent / f"{folder.name}.digest").write_text(digest)


def started(folder: Path) -> int:
    """Fork a fit that leads a process group."""
    process = os.fork()
    if process:
        return process
    os.setpgid(0, 0)
    status = 1
    try:
        if os.fork() == 0:
            time.sleep(100)
            os._exit(0)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        fit(folder)
        status = 0
    except Exception:
        traceback.print_exc()
    finally:
        os._exit(status)


def ended(process: int) -> int:
    """Wait for a fit, end its bystander, and return how it ended."""
    _, status = os.waitpid(process, 0)
    os.killpg(process, signal.SIGKILL)
    return os.waitstatus_to_exitcode(status)


def n_reads(folder: Path) -> int:
    notes = folder.parent / f"{folder.name}.reads"
    return notes.stat().st_size if notes.exists() else 0


def passes(folder: Path) -> float:
    """Return the passes since this was asked last."""
    found = n_reads(folder) / N_CHUNKS
    (folder.parent / f"{folder.name}.reads").unlink(missing_ok=True)
    return found


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def one_fit(folder: Path) -> dict[str, Any]:
    """Fit to the end."""
    folder.mkdir(exist_ok=True)
    code = ended(started(folder))
    digest = (folder.parent / f"{folder.name}.digest").read_text()
    return {"code": code, "digest": digest, "passes": passes(folder), "files": files(folder)}


def killed_fit(folder: Path, number: int, after: int, seconds: float) -> dict[str, Any]:
    """Send a signal to the group of a fit so many seconds after so many reads, and fit again."""
    folder.mkdir()
    process = started(folder)
    give_up = time.monotonic() + 20
    while n_reads(folder) < after and time.monotonic() < give_up:
        time.sleep(0.0005)
    time.sleep(seconds)
    os.killpg(process, number)
    told = {"code": ended(process), "passes": passes(folder), "files": files(folder)}
    return {"killed": told, "resumed": one_fit(folder)}


def main() -> None:
    folder, number, n_kills = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    (folder / "first").mkdir()
    fit(folder / "first")  # so that no fork has to load the kernels
    quiet = one_fit(folder / "quiet")
    rng, total = random.Random(number), N_CHUNKS * quiet["passes"]
    # One moment in each of as many equal parts of the fit.
    kills = []
    for kill in range(n_kills):
        after, seconds = int((kill + rng.random()) / n_kills * total), rng.uniform(0, 2 * SYNC_SECONDS)
        kills.append(killed_fit(folder / str(kill), number, after, seconds))
    print(json.dumps({"quiet": quiet, "kills": kills}))


if __name__ == "__main__":
    main()
