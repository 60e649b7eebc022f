from __future__ import annotations

import pickle

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
from distributed import Client

from dask_gmm.data.aligned import with_weights
from dask_gmm.data.dask_dataframe import DaskFrameSource
from dask_gmm.data.source import Answer
from dask_gmm.errors import DataError
from tests.data.source_contract import SourceContract

N = 100


@pytest.fixture
def table() -> pd.DataFrame:
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {"a": rng.normal(size=N), "b": np.arange(N, dtype="i4"), "w": np.linspace(0, 1, N)},
        index=pd.Index(np.arange(N) * 3 + 1, name="id"),
    )


@pytest.fixture
def frame(table) -> dd.DataFrame:
    return dd.from_pandas(table, npartitions=4)


def read_all(source, results=None):
    """All blocks, through one pickled reader as on a worker."""
    indices = range(len(source.chunks))
    reader = pickle.loads(pickle.dumps(source.reader(indices)))
    if results:
        reader.supply(results)
    return [reader.read(index) for index in indices]


def rows_of(source):
    return np.concatenate([block.rows for block in read_all(source)])


def weights_of(source):
    return np.concatenate([block.weights for block in read_all(source)])


# --- rows ----------------------------------------------------------------------------------------------


def test_partitions_are_chunks_of_unknown_length(frame, table):
    source = DaskFrameSource(frame[["b", "a"]])
    assert (source.n_features, source.dtype, source.feature_names) == (2, np.float64, ("b", "a"))
    assert (source.sample_shape, source.numbered, source.in_memory) == ((None,), False, False)
    assert [chunk.n_rows for chunk in source.chunks] == [None] * 4
    blocks = read_all(source)
    np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks]), table[["b", "a"]])
    assert blocks[2].name == "partition 2 of the dask DataFrame"
    assert len(np.unique(np.concatenate([block.numbers() for block in blocks]))) == N
    assert all(block.weights is None and block.kept is None for block in blocks)


@pytest.mark.parametrize(
    "dtype", ["i1", "u8", "f2", "f4", "f8", "bool", "Int16", "Float32", "boolean", "double[pyarrow]"]
)
def test_every_number_becomes_a_float(dtype):
    table = pd.DataFrame({"x": pd.array([0, 1, 1, 0], dtype="f8")}).astype(dtype)
    source = DaskFrameSource(dd.from_pandas(table, npartitions=2))
    rows = rows_of(source)
    assert source.dtype == rows.dtype == (np.float32 if dtype in ("f4", "Float32") else np.float64)
    assert rows[:, 0].tolist() == [0, 1, 1, 0]


def test_a_frame_of_one_float_type_is_not_copied():
    table = pd.DataFrame(np.arange(8.0, dtype="f4").reshape(4, 2), columns=["x", "y"])
    (block,) = read_all(DaskFrameSource(dd.from_pandas(table, npartitions=1)))
    assert block.rows.dtype == np.float32
    assert not block.rows.flags.owndata


def test_only_string_names_are_feature_names(table):
    assert DaskFrameSource(dd.from_pandas(pd.DataFrame(np.ones((4, 2))), npartitions=1)).feature_names is None


def test_names_of_which_some_are_no_strings_are_refused_as_in_scikit_learn():
    table = pd.DataFrame({"x": [1.0, 2.0], 3: [4.0, 5.0]})
    with pytest.raises(TypeError) as expected:
        sklearn.mixture.GaussianMixture().fit(table)
    with pytest.raises(TypeError) as told:
        DaskFrameSource(dd.from_pandas(table, npartitions=1))
    assert str(told.value) == str(expected.value)


def test_equal_names_are_separate_features():
    table = pd.DataFrame([[1.0, 2], [3, 4]], columns=["x", "x"])
    source = DaskFrameSource(dd.from_map(lambda _: table, [0], meta=table.iloc[:0]))
    np.testing.assert_array_equal(rows_of(source), table)


def test_empty_partitions_are_read(frame):
    source = DaskFrameSource(frame[["a"]][frame["b"] > 60])
    assert [len(block.rows) for block in read_all(source)] == [0, 0, 14, 25]


def test_nan_passes_and_null_is_refused_with_partition_and_column():
    table = pd.DataFrame({"x": [1.0, np.nan, 2.0, 3.0], "k": pd.array([1, 2, 3, None], dtype="Int64")})
    frame = dd.from_pandas(table, npartitions=2)
    np.testing.assert_array_equal(rows_of(DaskFrameSource(frame[["x"]])), table[["x"]])
    reader = DaskFrameSource(frame).reader([0, 1])
    reader.read(0)
    with pytest.raises(DataError, match=r"partition 1 of the dask DataFrame, column 'k': there are null"):
        reader.read(1)


def test_other_columns_are_refused_before_anything_is_read():
    def fail(_):
        raise AssertionError("a partition was read")

    meta = pd.DataFrame({"x": [1.0], "city": ["a"], "z": [1j], "c": pd.Categorical([1])}).iloc[:0]
    with pytest.raises(TypeError, match=r"'city' \(str\w*\), 'z' \(complex128\), 'c' \(category\)"):
        DaskFrameSource(dd.from_map(fail, [0], meta=meta))


def test_a_reader_carries_only_its_partitions(table):
    frame = dd.from_map(lambda i: table + i, range(200))[["a"]]
    source = DaskFrameSource(frame)
    assert len(pickle.dumps(source.reader([3]))) * 5 < len(pickle.dumps(source.reader(range(200))))
    np.testing.assert_array_equal(source.reader([3]).read(3).rows, table[["a"]] + 3)


# --- persisted frames ----------------------------------------------------------------------------------


def test_locally_persisted_frames_are_read(frame, table):
    with dask.config.set(scheduler="sync"):
        source = DaskFrameSource((frame.persist() * 2)[["a", "b"]])
    assert source.futures(range(4)) == {}
    np.testing.assert_array_equal(rows_of(source), table[["a", "b"]] * 2)


@pytest.mark.filterwarnings("ignore")
def test_futures_of_persisted_frames_travel_apart(frame, table):
    with Client(processes=False, n_workers=1, threads_per_worker=1, dashboard_address=None) as client:
        persisted = frame.persist()
        source = with_weights(DaskFrameSource((persisted * 2)[["a", "b"]]), persisted["w"])
        assert len(source.futures([1])) == 1
        futures = source.futures(range(4))
        assert len(futures) == 4
        pickled = pickle.dumps(source.reader(range(4)))
        assert b"Future" not in pickled
        blocks = read_all(source, client.gather(dict(futures)))
    np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks]), table[["a", "b"]] * 2)
    np.testing.assert_array_equal(np.concatenate([block.weights for block in blocks]), table["w"])


# --- predictions ---------------------------------------------------------------------------------------


def first_column(block):
    return block.rows[:, 0]


def doubled(block):
    return block.rows * 2


FIRST = Answer(first_column, np.dtype("f8"), None, np.nan)
DOUBLED = Answer(doubled, np.dtype("f8"), 2, np.nan)


def test_answers_are_lazy_and_keep_the_index(frame, table):
    source = DaskFrameSource(frame[["a", "b"]])
    series, columns = source.apply(FIRST), source.apply(DOUBLED)
    assert isinstance(series, dd.Series)
    assert isinstance(columns, dd.DataFrame)
    assert (series.dtype, series.divisions, list(columns.columns)) == (np.float64, frame.divisions, [0, 1])
    pd.testing.assert_series_equal(series.compute(), table["a"], check_names=False)
    np.testing.assert_array_equal(columns.compute(), table[["a", "b"]] * 2)
    dd.utils.assert_eq(series, table["a"].rename(None))


def test_answers_of_empty_partitions_have_the_right_type(frame):
    filtered = frame[["a", "b"]][frame["b"] > 60]
    labels = Answer(lambda block: np.zeros(len(block.rows), "i8"), np.dtype("i8"), None, -1)
    answer = DaskFrameSource(filtered).apply(labels)
    assert [part.compute().dtype for part in answer.partitions] == [np.dtype("i8")] * 4
    assert len(answer.compute()) == 39


def test_one_partition_of_the_answer_computes_one_partition(table):
    computed = []

    def make(number):
        computed.append(number)
        return table[["a"]]

    answer = DaskFrameSource(dd.from_map(make, range(5), meta=table[["a"]].iloc[:0])).apply(FIRST)
    answer.partitions[3].compute(scheduler="sync")
    assert computed == [3]


# --- weights -------------------------------------------------------------------------------------------


WEIGHTS = {
    "column": lambda frame, w: frame["w"],
    "source": lambda frame, w: DaskFrameSource(frame[["w"]]),
    "numpy": lambda frame, w: w,
    "pandas": lambda frame, w: pd.Series(w),
    "dask array": lambda frame, w: da.from_array(w, chunks=25),
    "dask array of unknown chunks": lambda frame, w: frame["w"].to_dask_array(),
}


@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_aligned(frame, table, make):
    source = with_weights(DaskFrameSource(frame[["a", "b"]]), make(frame, table["w"].to_numpy()))
    np.testing.assert_array_equal(weights_of(source), table["w"])
    assert weights_of(source).dtype == np.float64
    np.testing.assert_array_equal(rows_of(source), table[["a", "b"]])


def test_later_weights_replace_earlier_ones(frame, table):
    source = with_weights(with_weights(DaskFrameSource(frame[["a"]]), frame["b"]), table["w"])
    np.testing.assert_array_equal(weights_of(source), table["w"])
    source = with_weights(with_weights(DaskFrameSource(frame[["a"]]), table["w"]), frame["b"])
    np.testing.assert_array_equal(weights_of(source), table["b"])


def test_counted_partitions_number_their_rows(frame, table):
    source = with_weights(DaskFrameSource(frame[["a"]]), table["w"].to_numpy())
    assert source.sample_shape == (N,)
    assert source.numbered
    numbers = np.concatenate([block.numbers() for block in read_all(source)])
    np.testing.assert_array_equal(numbers, np.arange(N))


def test_rows_and_weights_are_computed_from_one_read(table):
    computed = []

    def make(number):
        computed.append(number)
        return table

    frame = dd.from_map(make, range(3), meta=table.iloc[:0])
    source = with_weights(DaskFrameSource(frame[["a", "b"]]), frame["w"])
    reader = source.reader([0, 1, 2])
    for index in range(3):
        assert len(reader.read(index).weights) == N
    assert computed == [0, 1, 2]


def test_wrong_lengths_are_refused(frame, table):
    source = DaskFrameSource(frame[["a"]])
    with pytest.raises(DataError, match="sample_weight has 90 values, X has 100 rows"):
        with_weights(source, np.ones(90))
    with pytest.raises(DataError, match="sample_weight has 75 values, X has 100 rows"):
        with_weights(source, frame["w"].partitions[:3])
    with pytest.raises(
        DataError, match="partition 3 of the dask DataFrame: sample_weight has 24 values here"
    ):
        weights_of(with_weights(source, frame["w"][frame["b"] < 99]))
    with pytest.raises(
        DataError, match="partition 0 of the dask DataFrame: sample_weight has 20 values here"
    ):
        weights_of(with_weights(source, da.ones(80, chunks=20)))


def test_weights_must_be_one_dimensional(frame):
    with pytest.raises(ValueError, match="one-dimensional"):
        with_weights(DaskFrameSource(frame[["a"]]), np.ones((N, 1)))
    with pytest.raises(ValueError, match="one-dimensional"):
        with_weights(DaskFrameSource(frame[["a"]]), da.ones((N, 1)))


def test_weights_that_are_no_numbers_are_refused(frame):
    with pytest.raises(TypeError, match="'sample_weight'"):
        with_weights(DaskFrameSource(frame[["a"]]), frame["w"].astype(str))


# --- the contract of all sources --------------------------------------------------------------------------


class TestFrames(SourceContract):
    answers = (dd.Series, dd.DataFrame)

    def source(self, rows, folder):
        return DaskFrameSource(dd.from_pandas(pd.DataFrame(rows, columns=["a", "b", "c"]), npartitions=4))
