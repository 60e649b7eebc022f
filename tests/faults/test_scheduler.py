"""A scheduler that is killed ends the fit with a typed error; a new cluster goes on from the checkpoint."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import dask
import pytest
from distributed import Client

from dask_gmm.errors import SchedulerLostError

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

DASK = Path(sys.executable).with_name("dask")
N_CHUNKS = 24


@contextmanager
def cluster_of_commands(folder):
    """Start a scheduler and two workers with Dask's commands; give the scheduler's process and its file."""
    file, processes = folder / "scheduler.json", []
    commands = [
        ["scheduler", "--port", "0", "--host", "127.0.0.1", "--no-dashboard", "--scheduler-file", file],
        *[["worker", "--scheduler-file", file, "--nthreads", "1", "--no-dashboard"]] * 2,
    ]
    try:
        quiet = {"start_new_session": True, "stderr": subprocess.DEVNULL}
        processes += [subprocess.Popen([DASK, *command], **quiet) for command in commands]
        yield processes[0], file
    finally:
        for process in processes:
            try:
                os.killpg(process.pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        for process in processes:
            process.wait(20)


def test_a_scheduler_that_is_killed(tmp_path, make_client, slow_rows, make_estimator, assert_same_bits):
    checkpoint = tmp_path / "fit"
    rows = slow_rows(0.05)
    with dask.config.set(scheduler="threads", num_workers=8):
        quiet = make_estimator().fit(rows.x)
    n_passes = 1 + quiet.n_iter_
    assert rows.n_reads == n_passes * N_CHUNKS

    killed = []

    def kill(scheduler, reads):
        while rows.n_reads < reads:
            time.sleep(0.01)
        killed.append(time.monotonic())
        os.kill(scheduler.pid, signal.SIGKILL)

    before = rows.n_reads
    with cluster_of_commands(tmp_path) as (scheduler, file), Client(scheduler_file=str(file)) as client:
        client.wait_for_workers(2, timeout=60)
        killer = threading.Thread(target=kill, args=(scheduler, before + 5 * N_CHUNKS))
        killer.start()
        estimator = make_estimator(checkpoint=checkpoint)
        with pytest.raises(SchedulerLostError, match="The scheduler does not answer any more"):
            estimator.fit(rows.x)
        assert time.monotonic() - killed[0] < 60
        killer.join()
        assert not hasattr(estimator, "means_")
    done = (rows.n_reads - before) // N_CHUNKS
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(("fit", ".fit"))) == [
        "fit"
    ]

    make_client(2)
    before = rows.n_reads
    assert_same_bits(make_estimator(checkpoint=checkpoint).fit(rows.x), quiet)
    # No pass is made again but the one that was cut off.
    assert rows.n_reads - before <= (n_passes - done + 1) * N_CHUNKS
