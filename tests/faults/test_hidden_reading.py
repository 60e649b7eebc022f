"""Workers that are killed or retired while one task works and the next has begun to read: the same bits."""

from __future__ import annotations

import threading

import numpy as np
import pytest
import zarr
from distributed import wait
from zarr.storage import LocalStore
from zarr.testing.store import LatencyStore

from dask_gmm.engine import plan

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

N_CHUNKS = 24


@pytest.fixture
def late_rows(tmp_path, monkeypatch, make_rows):
    """Rows in a store that answers late, each chunk a group."""
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)
    zarr.create_array(tmp_path / "rows.zarr", data=make_rows(50 * N_CHUNKS), chunks=(50, 3))
    store = LatencyStore(LocalStore(tmp_path / "rows.zarr", read_only=True), get_latency=0.2)
    return zarr.open_array(store, mode="r")


def test_kills(make_client, make_killer, make_estimator, late_rows, assert_same_bits):
    client = make_client()
    quiet = make_estimator(max_iter=5).fit(late_rows)
    with make_killer(client, 1.0, 0) as killer:
        fitted = make_estimator(max_iter=5).fit(late_rows)
    assert len(killer.killed) >= 3
    assert_same_bits(fitted, quiet)


def test_workers_that_are_retired(make_client, make_estimator, late_rows, assert_same_bits):
    client = make_client()
    quiet = make_estimator(max_iter=5).fit(late_rows)
    leaving = sorted(client.scheduler_info(n_workers=-1)["workers"])[:2]
    retiring = threading.Timer(2.0, client.retire_workers, (leaving,))
    retiring.start()
    fitted = make_estimator(max_iter=5).fit(late_rows)
    retiring.join()
    assert_same_bits(fitted, quiet)
    # Those that are left still take turns: nothing was left behind that holds one.
    wait(client.map(np.square, range(8), pure=False), timeout=30)
    assert len(client.scheduler_info(n_workers=-1)["workers"]) == 2
