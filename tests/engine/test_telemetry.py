"""A cluster's instruments see passes."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture

N_ROWS, N_PASSES = 1200, 3


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def _fit() -> None:
    rows = np.random.default_rng(0).normal(size=(N_ROWS, 2))
    X = da.from_array(rows, chunks=(300, 2))
    start = {"weights_init": [0.5, 0.5], "means_init": [[0, 0], [1, 1]], "precisions_init": [np.eye(2)] * 2}
    # With a whole start given, each iteration is a pass and there is no other.
    gm = GaussianMixture(2, max_iter=N_PASSES, tol=0, **start)
    with pytest.warns(UserWarning, match="did not converge"):
        gm.fit(X)


def test_events(client: Client) -> None:
    _fit()
    everything = [event for _, event in client.get_events("dask-gmm")]
    passes = [event for event in everything if event["action"] == "pass"]
    assert [event["number"] for event in passes] == list(range(1, N_PASSES + 1))
    events = [event for event in everything if event["action"] == "group"]
    assert sum(event["groups"] for event in passes) == len(events)
    assert sum(event["rows"] for event in events) == N_PASSES * N_ROWS
    assert sum(event["bytes"] for event in events) == N_PASSES * N_ROWS * 16
    assert sum(event["chunks"] for event in events) == N_PASSES * 4
    assert all(event["seconds"] > 0 for event in events)
    assert {event["worker"] for event in events} == set(client.scheduler_info()["workers"])


def test_one_span_for_a_fit(client: Client) -> None:
    _fit()
    spans = client.cluster.scheduler.extensions["spans"].spans_search_by_name[("dask-gmm",)]
    assert len(spans) == 1
    # No pass is left for the span that collects what has none.
    assert "gmm-pass" in {group.prefix.name for group in spans[0].groups}
    others = client.cluster.scheduler.extensions["spans"].spans_search_by_name.get(("default",), [])
    assert "gmm-pass" not in {group.prefix.name for span in others for group in span.groups}


def test_counters(client: Client) -> None:
    pytest.importorskip("prometheus_client")
    (worker,) = client.cluster.workers.values()

    def counted() -> float:
        url = f"http://127.0.0.1:{worker.http_server.port}/metrics"
        with urllib.request.urlopen(url, timeout=10) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[1]) for line in lines if line.startswith("dask_gmm_rows_total "))

    before = counted()
    _fit()
    assert counted() - before == N_PASSES * N_ROWS
