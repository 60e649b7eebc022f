from __future__ import annotations

import itertools
import pickle
import threading
from collections import Counter

import dask
import dask.array as da
import numpy as np
import pytest
from dask.array import PerformanceWarning
from distributed import Client, LocalCluster
from distributed.protocol.pickle import dumps, loads
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.sparse import csr_matrix

from dask_gmm.data.aligned import with_weights
from dask_gmm.data.dask_array import DaskArraySource, from_array
from dask_gmm.data.source import Answer
from dask_gmm.errors import DataError
from tests.data.source_contract import SourceContract

SUM = Answer(lambda block: block.rows.sum(axis=1), np.dtype(np.float32), None, np.nan)
PAIR = Answer(lambda block: block.rows[:, [0, -1]], np.dtype(np.float64), 2, np.nan)


def table(*shape):
    return np.random.default_rng(0).normal(size=shape)


def blocks(source):
    """Read all chunks, with a reader that has travelled."""
    indices = range(len(source.chunks))
    reader = loads(dumps(source.reader(indices)))
    return [reader.read(index) for index in indices]


def rows_of(source):
    return np.concatenate([block.rows for block in blocks(source)])


def rebuilt(source):
    """Return the rows put where their numbers say."""
    rows = np.full((int(np.prod(source.sample_shape)), source.n_features), np.nan)
    for block, chunk in zip(blocks(source), source.chunks, strict=True):
        assert block.name == chunk.name
        assert chunk.n_bytes == chunk.n_rows * source.n_features * source.dtype.itemsize
        rows[block.numbers()] = block.rows
    return rows


class Counted:
    """Counts how often each row is taken from an array-like."""

    ndim = 2

    def __init__(self, x):
        self.x, self.shape, self.dtype = x, x.shape, x.dtype
        self.reads = Counter()
        self.lock = threading.Lock()

    def __getitem__(self, selection):
        with self.lock:
            self.reads.update(range(*selection[0].indices(len(self.x))))
        return self.x[selection]

    def array(self, chunks):
        return da.from_array(self, chunks=chunks, name=False, asarray=True)


def test_tables_come_in_their_chunks():
    x = table(10, 3)
    source = DaskArraySource(da.from_array(x, chunks=((4, 0, 5, 1), (2, 1))))
    assert source.n_features == 3
    assert source.sample_shape == (10,)
    assert source.numbered
    assert not source.in_memory
    assert [chunk.n_rows for chunk in source.chunks] == [4, 0, 5, 1]
    np.testing.assert_array_equal(rows_of(source), x)
    np.testing.assert_array_equal(rebuilt(source), x)
    assert source.futures([0, 1]) == {}


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    chunks=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    feature_axis=st.integers(-2, 1),
)
@settings(max_examples=30, deadline=None)
def test_any_shape_chunking_and_feature_axis(shape, chunks, feature_axis):
    x = table(*shape)
    source = from_array(da.from_array(x, chunks=tuple(chunks[: len(shape)])), feature_axis=feature_axis)
    moved = np.moveaxis(x, feature_axis, -1)
    assert source.sample_shape == moved.shape[:-1]
    np.testing.assert_array_equal(rebuilt(source), moved.reshape(-1, moved.shape[-1]))
    for answer, expected in ((SUM, moved.sum(axis=-1).astype("f4")), (PAIR, moved[..., [0, -1]])):
        lazy = source.apply(answer)
        assert lazy.shape == expected.shape
        assert lazy.dtype == answer.dtype
        assert lazy.chunks[: len(source.sample_shape)] == source.grid.sizes
        found = lazy.compute(scheduler="sync")
        assert found.dtype == answer.dtype or answer is SUM
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("stored", "read"), [("f4", "f4"), (">f4", "f4"), ("f2", "f8"), ("i8", "f8"), ("?", "f8")]
)
def test_rows_are_float32_or_float64(stored, read):
    x = (10 * table(6, 2)).astype(stored)
    source = DaskArraySource(da.from_array(x, chunks=4))
    assert source.dtype == read
    np.testing.assert_array_equal(rebuilt(source), x)
    assert all(block.rows.dtype == np.dtype(read) for block in blocks(source))


def test_chunks_of_unknown_length():
    x = table(20, 2)
    array = da.from_array(x, chunks=(5, 1))
    source = DaskArraySource(array[array[:, 0] > 0])
    assert source.sample_shape == (None,)
    assert not source.numbered
    assert [(chunk.n_rows, chunk.n_bytes) for chunk in source.chunks] == [(None, None)] * 4
    np.testing.assert_array_equal(rows_of(source), x[x[:, 0] > 0])
    numbers = np.concatenate([block.numbers() for block in blocks(source)])
    assert len(np.unique(numbers)) == len(numbers) == (x[:, 0] > 0).sum()
    lazy = source.apply(PAIR)
    assert np.isnan(lazy.chunks[0]).all()
    assert lazy.shape[1] == 2
    np.testing.assert_array_equal(lazy.compute(), x[x[:, 0] > 0])
    np.testing.assert_allclose(source.apply(SUM).compute(), x[x[:, 0] > 0].sum(axis=1), rtol=1e-5)


def test_dropped_rows_count_for_nothing_and_get_what_stands_for_missing():
    x = table(4, 6, 3)
    x[1:3, 2:, 1] = np.nan
    source = from_array(da.from_array(x, chunks=(2, 3, 2)), nan="drop")
    missing = np.isnan(x).any(axis=-1)
    assert [len(block.rows) for block in blocks(source)] == [5, 3, 5, 3]
    np.testing.assert_array_equal(rebuilt(source).reshape(x.shape), np.where(missing[..., None], np.nan, x))
    np.testing.assert_array_equal(
        source.apply(PAIR).compute(), np.where(missing[..., None], np.nan, x[..., [0, 2]])
    )
    labels = Answer(lambda block: np.ones(len(block.rows), np.int64), np.dtype(np.int64), None, -1)
    np.testing.assert_array_equal(source.apply(labels).compute(), np.where(missing, -1, 1))
    assert np.isnan(rows_of(from_array(source.x))).sum() == missing.sum()


def test_a_part_of_a_prediction_reads_only_its_chunks():
    counted = Counted(table(20, 2))
    lazy = DaskArraySource(counted.array((5, 2))).apply(SUM)
    lazy[6:8].compute()
    assert set(counted.reads) == set(range(5, 10))


def test_a_mean_of_all_rows_is_computed_once_and_not_for_each_chunk():
    counted = Counted(table(100, 2))
    array = counted.array((10, 2))
    source = DaskArraySource((array - array.mean(axis=0)) / array.std(axis=0))
    readers = [source.reader([index]) for index in range(10)]
    assert set(counted.reads.values()) <= {1, 2}  # for the mean and the standard deviation
    counted.reads.clear()
    rows = np.concatenate([reader.read(index).rows for index, reader in enumerate(readers)])
    np.testing.assert_allclose(rows, (counted.x - counted.x.mean(axis=0)) / counted.x.std(axis=0))
    assert set(counted.reads.values()) == {1}


def test_chunks_cut_from_one_read_read_it_once_in_each_pass():
    counted = Counted(table(40, 2))
    source = DaskArraySource(counted.array((20, 2)).rechunk((5, 2)))
    reader = source.reader(range(8))
    for n_passes in (1, 2):
        rows = np.concatenate([reader.read(index).rows for index in range(8)])
        np.testing.assert_array_equal(rows, counted.x)
        assert set(counted.reads.values()) == {n_passes}
    assert reader.graphs._held == {}


def test_the_order_of_reading_does_not_matter():
    x = table(40, 2)
    source = DaskArraySource(da.from_array(x, chunks=(20, 2)).rechunk((5, 2)) + 1)
    reader = source.reader(range(8))
    for index in (7, 0, 3, 3, 6, 1):
        np.testing.assert_array_equal(reader.read(index).rows, x[5 * index : 5 * index + 5] + 1)


def test_shuffled_rows_warn_that_their_reads_repeat():
    x = table(2000, 2)
    order = np.random.default_rng(0).permutation(2000)
    source = DaskArraySource(da.from_array(x, chunks=(100, 2)).map_blocks(lambda block: block + 1)[order])
    with pytest.warns(PerformanceWarning, match="most depend on the same 20 tasks"):
        np.testing.assert_array_equal(rows_of(source), x[order] + 1)


def test_readers_are_small_and_travel_with_any_function():
    array = da.ones((50_000, 4), chunks=(10, 4)).map_blocks(lambda block: block * 2)
    reader = DaskArraySource(array).reader(range(100, 1100))
    payload = pickle.dumps(reader)
    assert len(payload) < 200 * 1000
    assert (pickle.loads(payload).read(500).rows == 2).all()


def test_blocks_that_are_not_what_was_announced_are_refused():
    array = da.ones((10, 3), chunks=(5, 3)).map_blocks(lambda block: block[:, :2], chunks=((5, 5), (3,)))
    with pytest.raises(DataError, match=r"chunk 1 of the dask array has shape \(5, 2\), but \(5, 3\)"):
        DaskArraySource(array).reader([1]).read(1)


def test_objects_are_converted_when_they_are_read():
    objects = np.array([[1, 2.5], [3, 4]], dtype=object)
    source = DaskArraySource(da.from_array(objects, chunks=1))
    assert source.dtype == np.float64
    np.testing.assert_array_equal(source.reader([0]).read(0).rows, [[1.0, 2.5]])
    objects[0, 0] = {"not": "a number"}
    with pytest.raises(TypeError, match="must be a string or a real number"):
        DaskArraySource(da.from_array(objects, chunks=1)).reader([0]).read(0)


def test_what_cannot_be_used_is_refused_at_once():
    with pytest.raises(ValueError, match=r"^Expected 2D array, got 1D array instead"):
        DaskArraySource(da.ones(5))
    with pytest.raises(ValueError, match="Complex data not supported"):
        DaskArraySource(da.ones((5, 2), dtype=complex))
    with pytest.raises(TypeError, match="dtype <U3"):
        DaskArraySource(da.ones((5, 2), chunks=5).astype("U3"))
    with pytest.raises(TypeError, match="csr_matrix"):
        DaskArraySource(da.ones((5, 2)).map_blocks(csr_matrix))
    with pytest.raises(ValueError, match="number of features is not known"):
        DaskArraySource(da.ones((2, 5))[:, da.arange(5) > 2])
    with pytest.raises(ValueError, match="nan must be"):
        from_array(da.ones((5, 2)), nan="skip")
    with pytest.raises(TypeError, match="takes a dask array or one of NumPy, got list"):
        from_array([[1.0, 2.0]])


@pytest.mark.parametrize(
    "given_weights",
    [
        lambda w: w,
        lambda w: w.astype("f4").tolist(),
        lambda w: da.from_array(w, chunks=3),
        lambda w: DaskArraySource(da.from_array(w, chunks=3)[:, None]),
    ],
    ids=["numpy", "list", "dask", "source"],
)
def test_weights_follow_their_rows(given_weights):
    x, w = table(10, 2), np.arange(10.0)
    source = with_weights(DaskArraySource(da.from_array(x, chunks=(4, 2))), given_weights(w))
    for block in blocks(source):
        assert block.weights.dtype == np.float64
        np.testing.assert_array_equal(block.weights, w[block.numbers()])


def test_weights_have_the_samples_shape_and_lose_dropped_rows():
    x, w = table(4, 6, 3), np.arange(24.0).reshape(4, 6)
    x[0, 0, 0] = np.nan
    source = from_array(da.from_array(x, chunks=(3, 4, 3)), nan="drop")
    for weights in (w, w.reshape(-1), da.from_array(w, chunks=2), da.from_array(w.reshape(-1), chunks=5)):
        for block in blocks(with_weights(source, weights)):
            np.testing.assert_array_equal(block.weights, block.numbers())


def test_weights_of_unknown_chunks_are_matched_chunk_by_chunk():
    x = table(20, 2)
    array = da.from_array(x, chunks=(5, 2))
    chosen = array[array[:, 0] > 0]
    source = with_weights(DaskArraySource(chosen), chosen[:, 1])
    np.testing.assert_array_equal(
        np.concatenate([block.weights for block in blocks(source)]), rows_of(source)[:, 1]
    )
    wrong = with_weights(DaskArraySource(chosen), array[:, 0])
    with pytest.raises(
        DataError, match=r"chunk 0 of the dask array: sample_weight has 5 values here, X has \d rows"
    ):
        blocks(wrong)


def test_weights_of_another_length_are_refused():
    source = DaskArraySource(da.ones((100, 2), chunks=30))
    for wrong in (np.ones(90), da.ones(90, chunks=30)):
        with pytest.raises(DataError, match="sample_weight has 90 values, X has 100 rows"):
            with_weights(source, wrong)


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(n_workers=1, threads_per_worker=2, processes=False, dashboard_address=":0") as cluster,
        Client(cluster) as client,
    ):
        yield client


def test_persisted_chunks_arrive_as_the_results_of_their_futures(client):
    x = table(12, 2)
    persisted = da.from_array(x, chunks=(4, 2)).map_blocks(np.copy).persist()
    weights = da.arange(12, chunks=6).persist()
    for array, expected in (
        (persisted, x),
        (persisted * 2, x * 2),
        (persisted - persisted.mean(axis=0), x - x.mean(0)),
    ):
        source = with_weights(DaskArraySource(array), weights)
        futures = source.futures([1])
        assert {key[0] for key in futures} == {persisted.name, weights.name}
        payload = dumps(source.reader([1]))
        assert b"Future" not in payload
        reader = loads(payload)
        reader.supply(client.gather(dict(futures)))
        block = reader.read(1)
        np.testing.assert_allclose(block.rows, expected[4:8])
        np.testing.assert_array_equal(block.weights, [4, 5, 6, 7])
        np.testing.assert_allclose(source.apply(PAIR).compute(), expected)


def test_persisted_chunks_without_their_cluster_say_so(client):
    source = DaskArraySource(da.ones((12, 2), chunks=(4, 2)).persist() + 1)
    with pytest.raises(RuntimeError, match="X is persisted on a cluster"):
        source.reader([1]).read(1)


def test_the_same_blocks_here_and_on_a_worker(client):
    x = da.random.default_rng(0).normal(size=(40, 3), chunks=(7, 2))
    source = DaskArraySource(x @ da.ones((3, 2), chunks=1))
    here = blocks(source)
    for index, block in itertools.islice(enumerate(here), 2):
        there = client.submit(
            lambda payload, i: loads(payload).read(i).rows, dumps(source.reader([index])), index
        )
        np.testing.assert_array_equal(there.result(), block.rows)
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(rows_of(source), np.concatenate([block.rows for block in here]))


# --- the contract of all sources --------------------------------------------------------------------------


class TestTables(SourceContract):
    answers = da.Array

    def source(self, rows, folder):
        return DaskArraySource(da.from_array(rows, chunks=(16, 2)))


class TestTablesOfUnknownLength(SourceContract):
    answers = da.Array

    def source(self, rows, folder):
        x = da.from_array(rows, chunks=(16, 3))
        return DaskArraySource(x[x[:, 0] > -99])


class TestImages(SourceContract):
    answers = da.Array
    drops_missing = True

    def source(self, rows, folder):
        images = rows.reshape(6, 10, 3).transpose(0, 2, 1)
        return DaskArraySource(da.from_array(images, chunks=(4, 3, 3)), feature_axis=1, nan="drop")
