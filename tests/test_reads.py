"""How often a chunk is read: once a pass and once for the start, and never for counts or checks."""

from __future__ import annotations

from collections import Counter

import dask
import numpy as np
import pytest
import zarr
from sklearn.exceptions import ConvergenceWarning
from zarr.storage import LocalStore, WrapperStore

from dask_gmm import GaussianMixture, GaussianMixtureIC

N_CHUNKS, ROWS, D, K = 12, 40, 3, 2


class CountingStore(WrapperStore[LocalStore]):
    """Counts the chunks that are read."""

    def __init__(self, store):
        super().__init__(store)
        self.reads = Counter()

    async def get(self, key, prototype, byte_range=None):
        if not key.endswith(".json"):
            self.reads[key] += 1
        return await super().get(key, prototype, byte_range)


@pytest.fixture
def store(tmp_path):
    rng = np.random.default_rng(3)
    array = zarr.create_array(tmp_path / "x.zarr", shape=(N_CHUNKS * ROWS, D), chunks=(ROWS, D), dtype="f8")
    array[...] = rng.normal(size=array.shape)
    return CountingStore(LocalStore(tmp_path / "x.zarr", read_only=True))


@pytest.fixture
def given():
    return {
        "weights_init": [0.5, 0.5],
        "means_init": [[0.0] * D, [1.0] * D],
        "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
    }


def fitted(store, **options):
    X = zarr.open_array(store, mode="r")
    store.reads.clear()
    with pytest.warns(ConvergenceWarning):
        GaussianMixture(K, tol=0, max_iter=5, random_state=0, **options).fit(X)
    return store.reads


def test_one_read_a_pass_and_one_for_the_start(store):
    reads = fitted(store)
    assert len(reads) == N_CHUNKS
    assert set(reads.values()) == {5 + 1}


def test_a_given_start_needs_no_read_of_its_own(store, given):
    assert set(fitted(store, **given).values()) == {5}


def test_restarts_share_the_reads(store):
    assert set(fitted(store, n_init=4, cache=False).values()) == {5 + 1}


def test_rows_that_a_start_may_take_stay_for_all_restarts(store):
    assert set(fitted(store, n_init=4).values()) == {1}


def test_more_rows_than_that_are_read_again(store):
    with dask.config.set({"dask-gmm.start-bytes": N_CHUNKS * ROWS * D * 8 - 1}):
        assert set(fitted(store, n_init=4).values()) == {5 + 1}


def test_candidates_keep_them_too(store):
    X = zarr.open_array(store, mode="r")
    GaussianMixtureIC((1, 2), random_state=0).fit(X)
    assert set(store.reads.values()) == {1}


def test_rows_that_are_kept_are_read_once(store):
    assert set(fitted(store, cache=True).values()) == {1}


def test_score_reads_once_and_predictions_read_what_they_need(store, given):
    X = zarr.open_array(store, mode="r")
    with pytest.warns(ConvergenceWarning):
        model = GaussianMixture(K, max_iter=1, random_state=0, **given).fit(X)
    store.reads.clear()
    model.bic(X)
    assert set(store.reads.values()) == {1}
    store.reads.clear()
    model.predict(X)[3 * ROWS : 3 * ROWS + 5].compute()
    assert list(store.reads.values()) == [1]
