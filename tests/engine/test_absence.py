"""Fits inside tasks of the cluster that they run on: nobody waits for a thread that the waiting one has."""

from __future__ import annotations

import sys
import threading
from contextlib import suppress

import cloudpickle
import joblib
import numpy as np
import pytest
import zarr
from distributed import Client, LocalCluster, get_worker, wait, worker_client

from dask_gmm import GaussianMixture, GaussianMixtureIC, write_predictions

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

SECONDS = 60  # none of these hangs
PLACES = [False, pytest.param(True, marks=pytest.mark.long)]


@pytest.fixture(scope="module", params=PLACES, ids=lambda apart: "processes" if apart else "in process")
def client(request):
    """A cluster of one thread."""
    options = {"n_workers": 1, "threads_per_worker": 1, "dashboard_address": None}
    # Another process cannot import this module.
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    with LocalCluster(processes=request.param, **options) as cluster, Client(cluster) as client:
        yield client


@pytest.fixture(scope="module")
def path(tmp_path_factory, make_rows):
    path = str(tmp_path_factory.mktemp("rows") / "x.zarr")
    zarr.create_array(path, data=make_rows(600), chunks=(100, 3))
    return path


@pytest.fixture(scope="module")
def fitted(path):
    return fit(2, path)


def fit(n_components, path):
    return GaussianMixture(n_components, max_iter=5, random_state=0).fit(path)


def bound(n_components, path):
    return fit(n_components, path).lower_bound_


def bound_of_a_collection(n_components, path):
    import dask.array as da

    return GaussianMixture(n_components, max_iter=5, random_state=0).fit(da.from_zarr(path) + 0).lower_bound_


def bound_having_left(n_components, path):
    with worker_client():
        return bound(n_components, path)


def chosen(model, path):
    return GaussianMixtureIC((1, 2), max_iter=5, random_state=0).fit(path).n_components_


def written(model, path):
    done = write_predictions(model, path, f"{path}.labels.zarr")
    return done.n_chunks + done.n_skipped


QUESTIONS = {
    "score": lambda model, path: model.score(path),
    "bic": lambda model, path: model.bic(path),
    "predict": lambda model, path: model.predict(path).compute().tolist(),
    "choose": chosen,
    "write": written,
}


@pytest.mark.parametrize("job", [bound, bound_of_a_collection, bound_having_left])
def test_fits_in_tasks(client, path, job):
    futures = client.map(job, range(1, 5), path=path, pure=False)
    wait(futures, timeout=SECONDS)
    assert client.gather(futures) == [bound(n_components, path) for n_components in range(1, 5)]


@pytest.mark.parametrize("question", QUESTIONS)
def test_questions_in_tasks(client, path, fitted, question):
    ask = QUESTIONS[question]
    assert client.submit(ask, fitted, path, pure=False).result(timeout=SECONDS) == ask(fitted, path)


def had_its_thread(n_components, path):
    def in_the_pool():
        return threading.current_thread() in get_worker().executors["default"]._threads

    before = in_the_pool()
    with suppress(ValueError):
        fit(n_components, path)
    return before, in_the_pool()


@pytest.mark.parametrize("n_components", [2, 601], ids=["done", "failed"])
def test_the_thread_comes_back(client, path, n_components):
    asked = client.submit(had_its_thread, n_components, path, pure=False)
    assert asked.result(timeout=SECONDS) == (True, True)


def test_joblib(client, path):
    with joblib.parallel_backend("dask", client=client):
        found = joblib.Parallel()(joblib.delayed(bound)(n_components, path) for n_components in (1, 2, 3))
    assert found == [bound(n_components, path) for n_components in (1, 2, 3)]


class Stored(GaussianMixture):
    """Takes numbers of chunks where a search cuts rows."""

    def __init__(self, n_components=1, *, path=None, random_state=0, max_iter=5):
        super().__init__(n_components, random_state=random_state, max_iter=max_iter)
        self.path = path

    def rows(self, chunks):
        import dask.array as da

        return da.concatenate([da.from_zarr(self.path).blocks[int(number)] for number in chunks])

    def fit(self, X, y=None):
        return super().fit(self.rows(X))

    def score(self, X, y=None):
        return super().score(self.rows(X))


def test_a_search_over_stored_data(client, path):
    from sklearn.model_selection import GridSearchCV

    search = GridSearchCV(Stored(path=path), {"n_components": [1, 2, 3]}, cv=2)
    here = search.fit(np.arange(6)).cv_results_["mean_test_score"]
    with joblib.parallel_backend("dask", client=client):
        there = search.fit(np.arange(6)).cv_results_["mean_test_score"]
    assert there.tolist() == here.tolist()
