"""Under an asynchronous client: data in memory are fitted, others need a client that waits."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture, GaussianMixtureIC, write_predictions
from dask_gmm.data.scheduler import current_scheduler
from dask_gmm.errors import AsynchronousClientError

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(300, 2, 2)


@pytest.fixture
def fitted(rows):
    return model().fit(rows)


def model():
    return GaussianMixture(2, max_iter=5, random_state=0)


def frame(rows):
    return dd.from_pandas(pd.DataFrame(rows, columns=["a", "b"]), npartitions=3)


def under_an_asynchronous_client(call):
    async def main():
        options = {"n_workers": 1, "threads_per_worker": 1, "processes": False, "dashboard_address": None}
        async with (
            LocalCluster(**options, asynchronous=True) as cluster,
            Client(cluster, asynchronous=True) as client,
        ):
            answer = call(client)
            return await answer if isinstance(answer, Awaitable) else answer

    return asyncio.run(main())


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, rows: model.fit(rows).lower_bound_,
        lambda model, rows: model.fit(pd.DataFrame(rows), sample_weight=np.arange(300)).lower_bound_,
        lambda model, rows: model.score(rows),
        lambda model, rows: model.bic(rows.tolist()),
        lambda model, rows: model.predict(rows).tolist(),
        lambda model, rows: GaussianMixtureIC((1, 2), random_state=0).fit(rows).n_components_,
        lambda model, rows: write_predictions(model, rows, "memory://p.zarr", overwrite=True).n_rows >= 0,
    ],
    ids=["fit", "frame", "score", "bic", "predict", "choose", "write"],
)
def test_rows_in_memory(rows, fitted, ask):
    assert under_an_asynchronous_client(lambda client: ask(fitted, rows)) == ask(fitted, rows)


@pytest.mark.parametrize(
    "ask",
    [
        lambda model, rows: model.fit(da.from_array(rows, chunks=100)),
        lambda model, rows: model.fit(frame(rows)),
        lambda model, rows: model.fit(rows, sample_weight=da.ones(300, chunks=100)),
        lambda model, rows: model.fit(da.ones((30, 2), chunks=1) - da.ones((30, 2), chunks=1).mean(axis=0)),
        lambda model, rows: model.score(da.from_array(rows, chunks=100)),
        lambda model, rows: write_predictions(model, frame(rows), "memory://q.zarr"),
    ],
    ids=["array", "frame", "weights", "common tasks", "score", "write"],
)
def test_lazy_rows(rows, fitted, ask):
    with pytest.raises(AsynchronousClientError, match=r"asyncio\.to_thread"):
        under_an_asynchronous_client(lambda client: ask(fitted, rows))


def test_what_the_error_says_to_do(rows, fitted):
    lazy = da.from_array(rows, chunks=100)

    def in_a_thread(client):
        def run():
            with (
                Client(client.scheduler.address, set_as_default=False) as waiting,
                waiting.as_current(),
            ):
                return model().fit(lazy).lower_bound_

        return asyncio.to_thread(run)

    def without_the_cluster(client):
        with dask.config.set(scheduler="threads"):
            return model().fit(lazy).lower_bound_

    here = model().fit(lazy).lower_bound_
    assert under_an_asynchronous_client(in_a_thread) == here
    assert under_an_asynchronous_client(without_the_cluster) == here


def test_lazy_predictions_compute_nothing(rows, fitted):
    lazy = da.from_array(rows, chunks=100)
    labels = under_an_asynchronous_client(lambda client: client.compute(fitted.predict(lazy)).result())
    assert (labels == fitted.predict(rows)).all()


def test_other_errors_are_dasks():
    with dask.config.set(scheduler="distributed"), pytest.raises(RuntimeError, match="no Client active"):
        current_scheduler()
