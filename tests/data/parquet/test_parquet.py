from __future__ import annotations

import decimal
import pickle
import threading
from typing import ClassVar

import dask
import dask.array as da
import dask.dataframe as dd
import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq
import pytest

from dask_gmm.data.aligned import with_column, with_weights
from dask_gmm.data.parquet import chunks as planning
from dask_gmm.data.parquet import opening, read_parquet
from dask_gmm.data.parquet import remote as fetching
from dask_gmm.data.parquet.reader import ParquetReader
from dask_gmm.data.source import Answer
from dask_gmm.errors import DataError
from tests.data import source_contract
from tests.data.source_contract import SECRET, SourceContract, column_in_row_order

N = 100


@pytest.fixture
def table() -> pa.Table:
    rng = np.random.default_rng(0)
    return pa.table({"a": rng.normal(size=N), "b": np.arange(N, dtype="i4"), "c": rng.random(N) > 0.5})


@pytest.fixture
def one_group_a_chunk(monkeypatch):
    monkeypatch.setattr(planning, "_RUN_BYTES", 0)


def read_all(source):
    """All rows, through one pickled reader as on a worker."""
    indices = range(len(source.chunks))
    reader = pickle.loads(pickle.dumps(source.reader(indices)))
    return [reader.read(index) for index in indices]


def rows_of(source):
    return np.concatenate([block.rows for block in read_all(source)])


# --- rows as pandas reads them -----------------------------------------------------------------------


def test_a_file_is_read_as_pandas_reads_it(tmp_path, table, one_group_a_chunk):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=30)
    source = read_parquet(path)
    assert [chunk.n_rows for chunk in source.chunks] == [30, 30, 30, 10]
    assert source.chunks[1].name == f"{path}, row group 1"
    assert source.chunks[1].n_bytes == 30 * 3 * 8
    assert (source.n_features, source.dtype, source.sample_shape) == (3, np.float64, (N,))
    assert source.feature_names == ("a", "b", "c")
    assert source.numbered
    assert not source.in_memory
    blocks = read_all(source)
    np.testing.assert_array_equal(
        np.concatenate([b.rows for b in blocks]), pd.read_parquet(path).astype("f8")
    )
    np.testing.assert_array_equal(np.concatenate([b.numbers() for b in blocks]), np.arange(N))
    assert all(b.rows.flags.f_contiguous and b.weights is None and b.kept is None for b in blocks)


def test_columns_are_taken_in_the_order_asked_for(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    np.testing.assert_array_equal(
        rows_of(read_parquet(tmp_path / "x.parquet", columns=["b", "a"])),
        table.select(["b", "a"]).to_pandas(),
    )
    assert rows_of(read_parquet(tmp_path / "x.parquet", columns="b")).shape == (N, 1)


def test_a_dotted_name_is_a_name(tmp_path):
    pq.write_table(pa.table({"x.y": [1.0, 2.0], "x.z": [3.0, 4.0]}), tmp_path / "x.parquet")
    assert rows_of(read_parquet(tmp_path / "x.parquet", columns=["x.z"])).tolist() == [[3.0], [4.0]]


NUMBERS = ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8", "bool"]


@pytest.mark.parametrize("dtype", NUMBERS)
def test_every_number_becomes_a_float(tmp_path, dtype):
    values = np.array([0, 1, 1, 0]).astype(dtype)
    pq.write_table(pa.table({"x": values}), tmp_path / "x.parquet")
    source = read_parquet(tmp_path / "x.parquet")
    assert source.dtype == (np.float32 if dtype == "f4" else np.float64)
    assert rows_of(source).dtype == source.dtype
    np.testing.assert_array_equal(rows_of(source)[:, 0], values.astype("f8"))


def test_float32_stays_only_if_every_feature_has_it(tmp_path):
    pq.write_table(pa.table({"x": np.ones(3, "f4"), "y": np.ones(3, "f8")}), tmp_path / "x.parquet")
    assert read_parquet(tmp_path / "x.parquet").dtype == np.float64
    assert read_parquet(tmp_path / "x.parquet", columns=["x"]).dtype == np.float32


def test_decimals_become_floats_and_nan_passes(tmp_path):
    table = pa.table({"x": [decimal.Decimal("1.25"), decimal.Decimal("-3")], "y": [np.nan, 1.0]})
    pq.write_table(table, tmp_path / "x.parquet")
    np.testing.assert_array_equal(rows_of(read_parquet(tmp_path / "x.parquet")), [[1.25, np.nan], [-3, 1]])


@pytest.mark.parametrize("dictionary", [True, False])
@pytest.mark.parametrize("compression", ["none", "zstd"])
def test_encodings_do_not_matter(tmp_path, table, dictionary, compression):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, use_dictionary=dictionary, compression=compression, data_page_size=64)
    np.testing.assert_array_equal(rows_of(read_parquet(path)), table.to_pandas().astype("f8"))


# --- files, folders, globs, partitions -----------------------------------------------------------------


def write_numbered(folder, count=12, suffix=".parquet"):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        pq.write_table(pa.table({"x": [float(number)]}), folder / f"part.{number}{suffix}")


def test_files_follow_natural_order(tmp_path):
    write_numbered(tmp_path / "d")
    assert rows_of(read_parquet(tmp_path / "d"))[:, 0].tolist() == list(range(12))
    assert rows_of(read_parquet(str(tmp_path / "d" / "*.parquet")))[:, 0].tolist() == list(range(12))
    np.testing.assert_array_equal(
        rows_of(read_parquet(tmp_path / "d")), dd.read_parquet(tmp_path / "d").compute()
    )


def test_a_list_of_files_keeps_its_order(tmp_path):
    write_numbered(tmp_path, 3)
    urls = [tmp_path / f"part.{number}.parquet" for number in (2, 0)]
    assert rows_of(read_parquet(urls))[:, 0].tolist() == [2, 0]


def test_what_is_not_data_in_a_folder_is_left_out(tmp_path):
    write_numbered(tmp_path, 2)
    write_numbered(tmp_path / "_temporary", 2)
    write_numbered(tmp_path / ".hidden", 2)
    (tmp_path / "_SUCCESS").touch()
    (tmp_path / "README.txt").write_text("hello")
    assert len(read_parquet(tmp_path).files) == 2


def test_a_glob_takes_files_of_any_name_and_folders(tmp_path):
    write_numbered(tmp_path / "y=1", 2, suffix="")
    write_numbered(tmp_path / "y=2", 1)
    assert len(read_parquet(str(tmp_path / "y=1" / "part*")).files) == 2
    assert len(read_parquet(str(tmp_path / "y=[2]")).files) == 1


@pytest.mark.parametrize("name", ["none.parquet", "empty", "*.parquet"])
def test_nothing_there_is_an_error_that_says_where(tmp_path, name):
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="no Parquet file at"):
        read_parquet(str(tmp_path / name))


def test_dask_and_pandas_indexes_are_no_features(tmp_path):
    frame = pd.DataFrame({"x": [1.0, 2.0]}, index=pd.Index([5, 7], name="id"))
    frame.to_parquet(tmp_path / "pandas.parquet")
    dd.from_pandas(frame, npartitions=1).to_parquet(tmp_path / "dask")
    assert read_parquet(tmp_path / "pandas.parquet").feature_names == ("x",)
    assert read_parquet(tmp_path / "dask").feature_names == ("x",)
    assert rows_of(read_parquet(tmp_path / "pandas.parquet", columns=["id"]))[:, 0].tolist() == [5, 7]


@pytest.fixture
def hive(tmp_path):
    for year in (2019, 2020, 2021):
        for half in ("0.5", "1"):
            folder = tmp_path / f"year={year}" / f"half={half}" / "city=a%20b"
            folder.mkdir(parents=True)
            pq.write_table(pa.table({"x": [year + float(half), 0.0]}), folder / "p.parquet")
    return tmp_path


def test_partition_columns_are_features_only_if_named(hive):
    assert read_parquet(hive).feature_names == ("x",)
    rows = rows_of(read_parquet(hive, columns=["half", "x", "year"]))
    assert rows[0].tolist() == [0.5, 2019.5, 2019]
    assert rows[-2].tolist() == [1, 2022, 2021]
    with pytest.raises(TypeError, match=r"'city' \(string\)"):
        read_parquet(hive, columns=["x", "city"])


def test_a_null_partition_is_refused_as_a_feature(hive):
    folder = hive / "year=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    pq.write_table(pa.table({"x": [1.0]}), folder / "p.parquet")
    assert len(rows_of(read_parquet(hive))) == 13
    with pytest.raises(DataError, match=r"DEFAULT_PARTITION__/p\.parquet.*'year'"):
        read_parquet(hive, columns=["year"])


# --- filters -------------------------------------------------------------------------------------------


FILTERS = {
    "tuples": [("b", ">=", 45), ("a", "<", 0.5)],
    "alternatives": [[("b", "<", 10)], [("b", ">=", 90)]],
    "expression": (pads.field("b") >= 45) & (pads.field("a") < 0.5),
    "set": [("b", "in", {3, 55})],
}


@pytest.mark.parametrize("filters", FILTERS.values(), ids=FILTERS)
def test_filters_keep_the_rows_that_pandas_keeps(tmp_path, table, filters, one_group_a_chunk):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=10)
    expected = pd.read_parquet(path, filters=filters)[["c", "a"]].astype("f8")
    source = read_parquet(path, columns=["c", "a"], filters=filters)
    np.testing.assert_array_equal(rows_of(source), expected)
    assert source.sample_shape == (None,)
    assert not source.numbered
    numbers = np.concatenate([block.numbers() for block in read_all(source)])
    assert len(set(numbers)) == len(expected)


def test_row_groups_that_statistics_exclude_are_no_chunks(tmp_path, table, one_group_a_chunk):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path, row_group_size=10)
    names = [chunk.name for chunk in read_parquet(path, filters=FILTERS["alternatives"]).chunks]
    assert names == [f"{path}, row group 0", f"{path}, row group 9"]


def test_a_filter_on_the_partition_leaves_row_counts_known(hive):
    source = read_parquet(hive, filters=[("year", ">", 2019), ("city", "=", "a b")])
    assert source.sample_shape == (8,)
    assert source.numbered
    assert len(rows_of(source)) == 8
    mixed = read_parquet(hive, filters=[("year", ">", 2019), ("x", ">", 0)])
    assert mixed.sample_shape == (None,)
    assert len(rows_of(mixed)) == 4


def test_a_filter_on_the_partition_leaves_out_its_nulls(hive):
    folder = hive / "year=__HIVE_DEFAULT_PARTITION__"
    folder.mkdir()
    pq.write_table(pa.table({"x": [1.0]}), folder / "p.parquet")
    source = read_parquet(hive, filters=[("year", ">", 2019)])
    assert (len(rows_of(source)), source.sample_shape) == (8, (8,))


def test_nan_in_a_filtered_column_does_not_upset_the_counts(tmp_path):
    pq.write_table(pa.table({"x": [1.0, np.nan, 3.0]}), tmp_path / "x.parquet")
    assert rows_of(read_parquet(tmp_path / "x.parquet", filters=[("x", ">", 0)]))[:, 0].tolist() == [1, 3]


def test_a_filter_that_excludes_everything_leaves_no_chunk(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    source = read_parquet(tmp_path / "x.parquet", filters=[("b", ">", 1000)])
    assert len(source.chunks) == 0
    assert source.apply(SUMS).compute().shape == (0,)


def test_a_filter_on_a_missing_column_names_it(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"filters=.*do not fit.*nope"):
        read_parquet(tmp_path / "x.parquet", filters=[("nope", ">", 0)])


def test_filters_may_take_nulls_away(tmp_path):
    pq.write_table(pa.table({"x": [1.0, None, 3.0], "k": [0, 1, 0]}), tmp_path / "x.parquet")
    source = read_parquet(tmp_path / "x.parquet", columns=["x"], filters=[("k", "=", 0)])
    assert rows_of(source)[:, 0].tolist() == [1, 3]


# --- chunks --------------------------------------------------------------------------------------------


def test_small_row_groups_run_together_up_to_8_mib(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"x": np.arange(3 << 20, dtype="f4")}), path, row_group_size=1 << 19)
    source = read_parquet(path)
    assert [chunk.n_rows for chunk in source.chunks] == [1 << 21, 1 << 20]
    assert source.chunks[0].name == f"{path}, row groups 0 to 3"
    np.testing.assert_array_equal(rows_of(source)[:, 0], np.arange(3 << 20, dtype="f4"))


def test_runs_do_not_cross_files_and_large_row_groups_stay_whole(tmp_path, monkeypatch):
    monkeypatch.setattr(planning, "_RUN_BYTES", 8 * 10)
    for name, sizes in (("1.parquet", [4, 4, 4, 50, 2]), ("2.parquet", [3, 7, 1])):
        with pq.ParquetWriter(tmp_path / name, pa.schema({"x": pa.float64()})) as writer:
            for size in sizes:
                writer.write_table(pa.table({"x": np.ones(size)}), row_group_size=100)
    assert [chunk.n_rows for chunk in read_parquet(tmp_path).chunks] == [8, 4, 50, 2, 10, 1]


def test_empty_row_groups_and_files_are_passed_over(tmp_path, one_group_a_chunk):
    schema = pa.schema({"x": pa.float64()})
    with pq.ParquetWriter(tmp_path / "1.parquet", schema) as writer:
        for values in ([], [1.0], [], [2.0, 3.0]):
            writer.write_table(pa.table({"x": values}, schema=schema))
    pq.write_table(pa.table({"x": []}, schema=schema), tmp_path / "0.parquet")
    source = read_parquet(tmp_path)
    assert [chunk.n_rows for chunk in source.chunks] == [1, 2]
    assert rows_of(source)[:, 0].tolist() == [1, 2, 3]


def test_a_reader_of_many_chunks_is_small_when_pickled(tmp_path, table, one_group_a_chunk):
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=2)
    source = read_parquet(tmp_path / "x.parquet", filters=[("b", ">", -1)])
    assert len(source.chunks) == 50
    assert len(pickle.dumps(source.reader(range(50)))) < 5000


# --- embeddings ----------------------------------------------------------------------------------------


def lists(size, kind, rows=N):
    values = np.arange(rows * size, dtype="f4")
    if kind == "fixed":
        return pa.FixedSizeListArray.from_arrays(values, size)
    cls, offsets = (pa.ListArray, pa.int32()) if kind == "list" else (pa.LargeListArray, pa.int64())
    return cls.from_arrays(pa.array(np.arange(rows + 1) * size, offsets), values)


@pytest.mark.parametrize("kind", ["fixed", "list", "large"])
@pytest.mark.parametrize("filters", [None, [("id", ">=", 33)]])
def test_a_list_column_is_an_embedding(tmp_path, kind, filters, one_group_a_chunk):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"id": np.arange(N), "e": lists(5, kind)}), path, row_group_size=30)
    source = read_parquet(path, columns="e", filters=filters)
    assert (source.n_features, source.dtype, source.feature_names) == (5, np.float32, None)
    expected = np.arange(N * 5, dtype="f4").reshape(N, 5)[0 if filters is None else 33 :]
    np.testing.assert_array_equal(rows_of(source), expected)


def test_the_only_column_may_be_a_list_without_being_named(tmp_path):
    pq.write_table(pa.table({"e": lists(3, "list")}), tmp_path / "x.parquet")
    assert read_parquet(tmp_path / "x.parquet").n_features == 3


def test_an_embedding_is_read_without_a_copy(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"e": lists(4, "fixed", rows=200_000)}), path)
    (block,) = read_all(read_parquet(path))
    assert not block.rows.flags.owndata
    assert not block.rows.flags.writeable  # it is Arrow's memory


def test_embeddings_of_several_small_row_groups_are_joined(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"e": lists(4, "list")}), path, row_group_size=7)
    source = read_parquet(path)
    assert len(source.chunks) == 1
    np.testing.assert_array_equal(rows_of(source), np.arange(4 * N).reshape(N, 4))


@pytest.mark.parametrize(
    "column", [[[1.0, 2.0], [3.0, 4.0], [5.0], [6.0]], [[1.0, 2.0], [3.0, 4.0], [5.0, 6, 7], [8.0]]]
)
def test_ragged_lists_are_refused_with_file_and_row_group(tmp_path, column, one_group_a_chunk):
    pq.write_table(pa.table({"e": column}), tmp_path / "x.parquet", row_group_size=2)
    # the second has the right number of values in each row group: only reading tells
    with pytest.raises(DataError, match=r"x\.parquet, row group 1, column 'e': not every list has 2 values"):
        rows_of(read_parquet(tmp_path / "x.parquet"))


@pytest.mark.parametrize(
    "values", [[[1.0, 2.0], None], [[1.0, None], [2.0, 3.0]]], ids=["a null list", "a null in a list"]
)
@pytest.mark.parametrize("kind", [pa.list_(pa.float64()), pa.list_(pa.float64(), 2)])
def test_nulls_in_embeddings_are_refused(tmp_path, values, kind):
    pq.write_table(pa.table({"e": pa.array(values, kind)}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"x\.parquet, row group 0, column 'e'"):
        rows_of(read_parquet(tmp_path / "x.parquet"))


# --- what is refused -----------------------------------------------------------------------------------


def test_columns_that_are_no_numbers_are_named(tmp_path):
    table = pa.table({"x": [1.0], "city": ["a"], "when": pa.array([0], pa.timestamp("us")), "e": [[1.0]]})
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(TypeError, match=r"'city' \(string\), 'when' \(timestamp\[us\]\), 'e' .*columns="):
        read_parquet(tmp_path / "x.parquet")


def test_unknown_repeated_and_no_columns_are_refused(tmp_path, table):
    pq.write_table(table, tmp_path / "x.parquet")
    with pytest.raises(DataError, match=r"no column.*'z'.*it has 'a', 'b', 'c'"):
        read_parquet(tmp_path / "x.parquet", columns=["a", "z"])
    with pytest.raises(ValueError, match="none twice"):
        read_parquet(tmp_path / "x.parquet", columns=["a", "a"])
    with pytest.raises(ValueError, match="at least one"):
        read_parquet(tmp_path / "x.parquet", columns=[])


DRIFT = {
    "another type": (
        {"x": [1.0], "y": ["1"]},
        r"2\.parquet: column 'y' has type string, in the first file double",
    ),
    "a missing column": ({"x": [1.0]}, r"2\.parquet has no column 'y'"),
    "a further column": ({"x": [1.0], "y": [1.0], "z": [1.0]}, r"2\.parquet has columns.*'z'"),
}


@pytest.mark.parametrize(("columns", "message"), DRIFT.values(), ids=DRIFT)
def test_schema_drift_is_found_while_planning(tmp_path, columns, message):
    pq.write_table(pa.table({"x": [1.0], "y": [1.0]}), tmp_path / "1.parquet")
    pq.write_table(pa.table(columns), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=message):
        read_parquet(tmp_path)
    assert len(read_parquet(tmp_path, columns=["x"]).chunks) == 2  # drift elsewhere does not matter


@pytest.mark.parametrize("statistics", [True, False])
def test_nulls_are_refused_with_file_row_group_and_column(tmp_path, statistics, one_group_a_chunk):
    pq.write_table(
        pa.table({"x": [1.0, 2.0, 3.0, 4.0], "k": [1, 2, 3, None]}),
        tmp_path / "x.parquet",
        row_group_size=2,
        write_statistics=statistics,
    )
    message = r"x\.parquet, row group 1, column 'k': there are null values"
    if statistics:
        with pytest.raises(DataError, match=message):
            read_parquet(tmp_path / "x.parquet")
    else:
        with pytest.raises(DataError, match=message):
            rows_of(read_parquet(tmp_path / "x.parquet"))


def test_truncated_files_are_named(tmp_path, table):
    pq.write_table(table, tmp_path / "1.parquet")
    whole = (tmp_path / "1.parquet").read_bytes()
    for part in (b"", whole[:10], whole[:-20]):
        (tmp_path / "2.parquet").write_bytes(part)
        with pytest.raises(DataError, match=r"2\.parquet: cannot be read as Parquet"):
            read_parquet(tmp_path)


def test_a_flipped_bit_is_found_by_the_page_checksum(tmp_path, table, one_group_a_chunk):
    path = tmp_path / "x.parquet"
    pq.write_table(
        table, path, row_group_size=50, write_page_checksum=True, use_dictionary=False, compression="none"
    )
    data = bytearray(path.read_bytes())
    offset = pq.read_metadata(path).row_group(1).column(0)
    data[offset.data_page_offset + offset.total_compressed_size // 2] ^= 1
    path.write_bytes(data)
    reader = read_parquet(path).reader([0, 1])
    assert len(reader.read(0).rows) == 50
    with pytest.raises(DataError, match=r"x\.parquet, row group 1: .*CRC"):
        reader.read(1)


def test_a_file_that_changed_after_it_was_listed_is_noticed(tmp_path, table):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    reader = pickle.loads(pickle.dumps(read_parquet(path).reader([0])))
    pq.write_table(table.slice(1), path)
    with pytest.raises(DataError, match=r"x\.parquet, row group 0: .*changed since it was listed"):
        reader.read(0)
    opening._open.cache_clear()  # as in a process that has not seen the old footer
    with pytest.raises(DataError, match=r"99 rows where 100 were announced.*changed since it was listed"):
        reader.read(0)


def test_a_rewritten_file_is_read_anew(tmp_path, table):
    path = tmp_path / "x.parquet"
    for part in (table, table.slice(40), table.slice(70)):
        pq.write_table(part, path)
        assert len(rows_of(read_parquet(path))) == len(part)


def test_a_file_that_vanished_stays_an_error_of_the_file_system(tmp_path, table):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    reader = read_parquet(path).reader([0])
    path.unlink()
    with pytest.raises(FileNotFoundError) as caught:
        reader.read(0)
    assert any("x.parquet" in note for note in caught.value.__notes__)


# --- remote stores -------------------------------------------------------------------------------------


class CountingFileSystem(fsspec.get_filesystem_class("memory")):
    """A memory store that notes what is asked of it."""

    protocol = "counting"
    requests: ClassVar[list] = []
    threads: ClassVar[set] = set()
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(path.replace("counting://", "/"))

    def cat_file(self, path, start=None, end=None, **kwargs):
        self.requests.append((path, end - start))
        self.threads.add(threading.get_ident())
        return super().cat_file(path, start=start, end=end, **kwargs)


@pytest.fixture
def remote(table):
    fsspec.register_implementation("counting", CountingFileSystem, clobber=True)
    fs = fsspec.filesystem("counting", key="AKIA", secret="s3cret")
    with fs.open("/bucket/d/x.parquet", "wb") as file:
        pq.write_table(table, file, row_group_size=50)
    yield fs
    fs.rm("/bucket", recursive=True)


def test_remote_files_are_read_by_ranges_and_their_footer_once(remote, table, one_group_a_chunk):
    remote.requests.clear()
    source = read_parquet("counting://bucket/d", columns=["b"])
    assert len(remote.requests) <= 2
    remote.requests.clear()
    reader = source.reader([0, 1])
    rows = np.concatenate([reader.read(0).rows, reader.read(1).rows])
    np.testing.assert_array_equal(rows[:, 0], table["b"])
    assert len(remote.requests) == 2
    column = pq.read_metadata(remote.open("/bucket/d/x.parquet")).row_group(0).column(1)
    assert column.total_compressed_size <= remote.requests[0][1] <= column.total_compressed_size + 100


@pytest.mark.parametrize("filters", [None, [("a", ">", 0)], pads.field("c")])
def test_remote_rows_are_those_of_a_local_file(remote, table, filters, tmp_path, monkeypatch):
    monkeypatch.setattr(fetching, "_GAP", 0)
    pq.write_table(table, tmp_path / "x.parquet")
    expected = rows_of(read_parquet(tmp_path / "x.parquet", columns=["c", "a"], filters=filters))
    found = read_parquet("counting://bucket/d", columns=["c", "a"], filters=filters)
    np.testing.assert_array_equal(rows_of(found), expected)


def test_remote_columns_near_each_other_are_one_request(remote):
    source = read_parquet("counting://bucket/d")
    remote.requests.clear()
    source.reader([0]).read(0)
    assert len(remote.requests) == 1


def test_a_name_that_begins_another_is_read_from_a_remote_store(remote, tmp_path):
    with remote.open("/bucket/e.parquet", "wb") as file:
        pq.write_table(pa.table({"x.y": [None, 2.0], "x": [3.0, 4.0]}), file)
    assert rows_of(read_parquet("counting://bucket/e.parquet", columns="x"))[:, 0].tolist() == [3, 4]


def test_only_the_reading_thread_asks_the_store(remote):
    # a thread of Arrow that is left waiting for Python by an error aborts the interpreter at exit
    source = read_parquet("counting://bucket/d", columns=["c", "a"])
    remote.threads.clear()
    source.reader([0]).read(0)
    assert remote.threads == {threading.get_ident()}


def test_credentials_are_not_shown_or_pickled(remote):
    options = {"key": "AKIA", "secret": "s3cret", "anon": False}
    source = read_parquet("counting://bucket/d", storage_options=options)
    lazy = source.apply(SUMS)
    for text in (repr(source), repr(source.reader([0])), str(lazy.dask), lazy.name):
        assert "s3cret" not in text
    for value in (source.reader([0]), source, dict(lazy.__dask_graph__())):
        pickled = pickle.dumps(value)
        assert b"s3cret" not in pickled
        assert b"AKIA" not in pickled
    assert pickle.loads(pickle.dumps(source.reader([0]))).store.storage_options == {"anon": False}


# --- predictions ---------------------------------------------------------------------------------------


def sums(block):
    return block.rows.sum(axis=1)


def identity(block):
    return np.asarray(block.rows, dtype="f8")


SUMS = Answer(sums, np.dtype("f8"), None, np.nan)
ROWS = Answer(identity, np.dtype("f8"), 3, np.nan)


def test_answers_are_lazy_with_known_shape_and_chunks(tmp_path, table, one_group_a_chunk):
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=30)
    source = read_parquet(tmp_path / "x.parquet")
    lazy = source.apply(SUMS)
    assert isinstance(lazy, da.Array)
    assert (lazy.chunks, lazy.dtype) == (((30, 30, 30, 10),), np.float64)
    expected = table.to_pandas().astype("f8")
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), expected.sum(axis=1), rtol=1e-12)
    columns = source.apply(ROWS)
    assert columns.chunks == ((30, 30, 30, 10), (3,))
    np.testing.assert_array_equal(columns.compute(scheduler="threads"), expected)


def test_a_slice_of_the_answer_reads_only_its_row_groups(tmp_path, table, one_group_a_chunk, monkeypatch):
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=10)
    lazy = read_parquet(tmp_path / "x.parquet").apply(SUMS)
    read, original = [], ParquetReader.read
    monkeypatch.setattr(
        ParquetReader, "read", lambda self, index: read.append(index) or original(self, index)
    )
    assert len(lazy[35:55].compute(scheduler="sync")) == 20
    assert sorted(read) == [3, 4, 5]


def test_answers_of_filtered_rows_have_unknown_chunks(tmp_path, table, one_group_a_chunk):
    pq.write_table(table, tmp_path / "x.parquet", row_group_size=30)
    lazy = read_parquet(tmp_path / "x.parquet", columns=["b"], filters=[("b", ">=", 50)]).apply(SUMS)
    assert np.isnan(lazy.chunks[0]).all()
    assert lazy.compute(scheduler="sync").tolist() == list(range(50, N))


def test_the_name_of_an_answer_follows_data_and_answer(tmp_path, table):
    path = tmp_path / "x.parquet"
    pq.write_table(table, path)
    first = read_parquet(path)
    assert first.apply(SUMS).name == read_parquet(path).apply(SUMS).name
    assert first.apply(SUMS).name != first.apply(ROWS).name
    pq.write_table(table.slice(1), path)
    assert first.apply(SUMS).name != read_parquet(path).apply(SUMS).name


# --- weights -------------------------------------------------------------------------------------------


@pytest.fixture
def weighted(tmp_path, table, one_group_a_chunk):
    weights = np.linspace(0, 1, N)
    path = tmp_path / "x.parquet"
    pq.write_table(table.append_column("w", pa.array(weights)), path, row_group_size=30)
    return path, weights


FEATURES = ["a", "b", "c"]
WEIGHTS = {
    "column": lambda path, w: "w",
    "source": lambda path, w: read_parquet(path, columns=["w"]),
    "numpy": lambda path, w: w,
    "list": lambda path, w: list(w),
    "series": lambda path, w: pd.Series(w, index=np.arange(N) + 7),
    "dask series": lambda path, w: dd.from_map(lambda i: pd.Series(w[30 * i : 30 * i + 30]), range(4)),
    "dask array": lambda path, w: da.from_array(w, chunks=40),
}


@pytest.mark.parametrize("make", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_are_aligned(weighted, make):
    path, weights = weighted
    source = with_weights(read_parquet(path, columns=FEATURES), make(path, weights))
    blocks = read_all(source)
    assert source.n_features == 3
    assert {block.weights.dtype for block in blocks} == {np.dtype("f8")}
    np.testing.assert_array_equal(np.concatenate([block.weights for block in blocks]), weights)
    assert [block.rows.shape for block in blocks] == [(30, 3), (30, 3), (30, 3), (10, 3)]


def test_later_weights_replace_earlier_ones(weighted):
    path, weights = weighted
    source = read_parquet(path, columns=FEATURES)
    for later in (
        with_weights(with_weights(source, "w"), 2 * weights),
        with_weights(with_weights(source, weights), "b"),
    ):
        expected = 2 * weights if later.n_features == 3 else np.arange(N)
        np.testing.assert_array_equal(np.concatenate([b.weights for b in read_all(later)]), expected)


def test_a_weight_column_is_no_feature(weighted):
    source = read_parquet(weighted[0])
    assert source.n_features == 4
    assert with_weights(source, "w").feature_names == ("a", "b", "c")
    with pytest.raises(DataError, match=r"no column.*'v'"):
        with_weights(source, "v")


@pytest.mark.parametrize("kind", ["numpy", "source", "column"])
def test_weights_of_filtered_rows(weighted, kind):
    path, weights = weighted
    filters = [("b", ">=", 55)]
    given = {
        "numpy": weights[55:],
        "source": read_parquet(path, columns="w", filters=filters),
        "column": "w",
    }[kind]
    source = with_weights(read_parquet(path, columns=FEATURES, filters=filters), given)
    np.testing.assert_array_equal(np.concatenate([block.weights for block in read_all(source)]), weights[55:])
    # values in memory need counts, which are then known
    assert source.sample_shape == ((45,) if kind == "numpy" else (None,))


@pytest.mark.parametrize("make", [lambda w: w[:90], lambda w: da.from_array(w[:90])], ids=["numpy", "dask"])
def test_wrong_length_is_refused_at_once(weighted, make):
    path, weights = weighted
    with pytest.raises(DataError, match="sample_weight has 90 values, X has 100 rows"):
        with_weights(read_parquet(path, columns=FEATURES), make(weights))


def test_wrong_lengths_of_a_lazy_series_are_found_where_they_are(weighted):
    path, weights = weighted
    series = dd.from_map(lambda i: pd.Series(weights[30 * i : 30 * i + 29]), range(4))
    source = with_weights(read_parquet(path, columns=FEATURES), series)
    with pytest.raises(DataError, match=r"row group 0: sample_weight has 29 values here, X has 30 rows"):
        read_all(source)
    with pytest.raises(DataError, match="sample_weight has 58 values, X has 100 rows"):
        with_weights(read_parquet(path, columns=FEATURES), series.partitions[:2])


def test_weights_must_be_one_column(weighted):
    path, weights = weighted
    source = read_parquet(path, columns=FEATURES)
    with pytest.raises(ValueError, match="one-dimensional"):
        with_weights(source, weights[:, None])
    with pytest.raises(DataError, match="2 columns"):
        with_weights(source, read_parquet(path, columns=["w", "a"]))


def test_predictions_leave_weights_alone(weighted):
    path, _ = weighted
    source = read_parquet(path, columns=FEATURES)
    assert with_weights(source, "w").apply(SUMS).compute().shape == (N,)
    with dask.config.set(scheduler="sync"):
        np.testing.assert_array_equal(with_weights(source, "w").apply(SUMS), source.apply(SUMS))


# --- the contract of all sources --------------------------------------------------------------------------


def write_features(rows, folder):
    table = pa.table({name: rows[:, i] for i, name in enumerate("abc")} | {"w": source_contract.WEIGHTS})
    pq.write_table(table, folder / "x.parquet", row_group_size=16)


@pytest.mark.usefixtures("one_group_a_chunk")
class TestFiles(SourceContract):
    answers = da.Array
    fingerprinted = True

    def source(self, rows, folder):
        write_features(rows, folder)
        url = f"file://{folder}/x.parquet"
        return read_parquet(url, columns=FEATURES, storage_options={"secret": SECRET})

    def test_weights_of_the_same_file_stand_beside_other_columns(self, made):
        source = with_weights(with_column(made, "errors", 2 * source_contract.WEIGHTS), "w")
        np.testing.assert_array_equal(column_in_row_order(source, "sample_weight"), source_contract.WEIGHTS)
        np.testing.assert_array_equal(column_in_row_order(source, "errors"), 2 * source_contract.WEIGHTS)


@pytest.mark.usefixtures("one_group_a_chunk")
class TestFilteredFiles(SourceContract):
    answers = da.Array
    fingerprinted = True

    def source(self, rows, folder):
        write_features(rows, folder)
        return read_parquet(folder / "x.parquet", columns=FEATURES, filters=[("a", ">", -99.0)])
