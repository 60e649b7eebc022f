"""Files as other programs write them: the numbers that pyarrow and pandas read, or an error with the cause.

Files whose reading has ended a process are read in a process of their own.
"""

from __future__ import annotations

import base64
import decimal
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.parquet.encryption as encryption
import pytest

from dask_gmm import DataError, GaussianMixture, read_parquet

N = 60
RNG = np.random.default_rng(0)
A, B = RNG.normal(size=N), RNG.normal(3, 2, N)
PLAIN = {"a": A, "b": B}
ROWS = np.column_stack([A, B])
INTEGERS = RNG.integers(0, 9, N)


def rows_of(source: Any) -> Any:
    reader = source.reader(range(len(source.chunks)))
    return np.concatenate([reader.read(index).rows for index in range(len(source.chunks))])


def written(columns: Any, **options: Any) -> Callable[[Path], Path]:
    """Return a function that writes a table of these columns to a file in a folder."""

    def write(folder: Path) -> Path:
        table = columns if isinstance(columns, pa.Table) else pa.table(columns)
        pq.write_table(table, folder / "x.parquet", **{"row_group_size": 25} | options)
        return folder / "x.parquet"

    return write


def from_pandas(frame: pd.DataFrame, **options: Any) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frame.to_parquet(folder / "x.parquet", **options)
        return folder / "x.parquet"

    return write


def decimals(kind: Any) -> Any:
    return pa.array([decimal.Decimal(int(value)).scaleb(-2) for value in INTEGERS], kind)


def spark_folder(folder: Path) -> Path:
    for number, part in enumerate(np.array_split(ROWS, 3)):
        name = f"part-{number:05d}-2f9b0c1e-7d1a-4f0b-8f57-c000.snappy.parquet"
        pq.write_table(pa.table({"a": part[:, 0], "b": part[:, 1]}), folder / name)
        (folder / f".{name}.crc").write_bytes(b"crc\x00\x00\x00\x02\x00")
    (folder / "_SUCCESS").touch()
    (folder / "._SUCCESS.crc").touch()
    (folder / "_temporary" / "0").mkdir(parents=True)
    pq.write_table(pa.table(PLAIN), folder / "_temporary" / "0" / "part-0.parquet")
    return folder


def dask_folder(folder: Path) -> Path:
    frame = dd.from_pandas(pd.DataFrame(PLAIN), npartitions=4)
    frame.to_parquet(folder, write_metadata_file=True, write_index=False)
    return folder


def stale_summary(folder: Path) -> Path:
    dask_folder(folder)
    pq.write_table(pa.table({"a": [1e9], "b": [1e9]}), folder / "part.4.parquet")
    pq.write_metadata(pq.read_schema(folder / "part.4.parquet"), folder / "_metadata")
    (folder / "part.4.parquet").unlink()
    return folder


def hive_folder(folder: Path) -> Path:
    for key in (3, 10, 2):
        (folder / f"b={key}").mkdir()
        pq.write_table(pa.table({"a": A[:key]}), folder / f"b={key}" / "0.parquet")
    return folder


def empty_row_groups(folder: Path) -> Path:
    table = pa.table(PLAIN)
    with pq.ParquetWriter(folder / "x.parquet", table.schema) as writer:
        for part in (table[:0], table[:10], table[:0], table[10:], table[:0]):
            writer.write_table(part)
    pq.write_table(table[:0], folder / "y.parquet")
    return folder


def geoparquet(folder: Path) -> Path:
    geometry = [b"\x01\x01\x00\x00\x00" + np.array(point).tobytes() for point in ROWS]
    note = {"version": "1.1.0", "primary_column": "geometry", "columns": {"geometry": {"encoding": "WKB"}}}
    table = pa.table({"geometry": geometry, **PLAIN})
    return written(table.replace_schema_metadata({"geo": json.dumps(note)}))(folder)


def nested(folder: Path) -> Path:
    return written(
        {
            **PLAIN,
            "struct": [{"x": 1, "y": {"z": [1, 2]}}] * N,
            "map": pa.array([[("k", 1.0)]] * N, pa.map_(pa.string(), pa.float64())),
            "lists": [[[1.0], []]] * N,
        }
    )(folder)


class PlainKeys(encryption.KmsClient):
    """Gives keys away; only that there is one matters."""

    def __init__(self, _: Any) -> None:
        super().__init__()

    def wrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64encode(key)

    def unwrap_key(self, key: bytes, _: str) -> bytes:
        return base64.b64decode(key)


def encrypted(columns: list[str], plaintext_footer: bool) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        factory = encryption.CryptoFactory(PlainKeys)
        properties = factory.file_encryption_properties(
            encryption.KmsConnectionConfig(),
            encryption.EncryptionConfiguration(
                footer_key="f",
                column_keys={"c": columns},
                plaintext_footer=plaintext_footer,
                double_wrapping=False,
            ),
        )
        return written({**PLAIN, "v": ROWS.tolist()}, encryption_properties=properties)(folder)

    return write


def categories() -> pa.Table:
    values = pa.array([0.5, 2.5, -1.0])
    codes = pa.array(RNG.integers(0, 3, N), pa.int8())
    return pa.table({"a": pa.DictionaryArray.from_arrays(codes, values), "b": B})


def tensors() -> pa.Array:
    kind = pa.fixed_shape_tensor(pa.float32(), [2, 2])
    flat = RNG.normal(size=4 * N).astype("f4")
    return pa.ExtensionArray.from_storage(kind, pa.FixedSizeListArray.from_arrays(flat, 4))


def as_pandas(path: Path, columns: Any) -> Any:
    """What pandas reads, without the index."""
    return pd.read_parquet(path, columns=columns).to_numpy(dtype="f8", na_value=np.nan)


def plain_rows(path: Path, columns: Any) -> Any:
    return ROWS


def lists(path: Path, columns: Any) -> Any:
    column = pq.read_table(path, columns=columns).column(0).combine_chunks()
    return np.array((column.storage if isinstance(column, pa.ExtensionArray) else column).to_pylist(), "f8")


FRAME = pd.DataFrame(PLAIN)
FITTED: dict[str, tuple[Callable[[Path], Path], Any, Callable[[Path, Any], Any]]] = {
    "categories of numbers": (written(categories()), None, as_pandas),
    "a categorical of pandas": (from_pandas(FRAME.assign(a=pd.Categorical(INTEGERS))), None, as_pandas),
    "a dictionary that overflows": (written(PLAIN, dictionary_pagesize_limit=64), None, as_pandas),
    **{
        f"decimals of {kind.bit_width} bits": (written({"a": decimals(kind), "b": B}), None, as_pandas)
        for kind in (pa.decimal32(5, 2), pa.decimal64(9, 2), pa.decimal128(20, 2), pa.decimal256(40, 2))
    },
    "decimals as integers": (
        written({"a": decimals(pa.decimal128(9, 2)), "b": B}, store_decimal_as_integer=True),
        None,
        as_pandas,
    ),
    "booleans": (written({"a": A > 0, "b": B}), None, as_pandas),
    "large unsigned integers": (
        written({"a": (2**63 + INTEGERS.astype("u8") * 2**40), "b": B}),
        None,
        as_pandas,
    ),
    "half precision": (written({"a": A.astype("f2"), "b": B.astype("f2")}), None, as_pandas),
    "nullable columns of pandas without gaps": (
        from_pandas(pd.DataFrame({"a": pd.array(INTEGERS, "Int64"), "b": pd.array(B, "Float64")})),
        None,
        as_pandas,
    ),
    "an index of pandas of two levels": (
        from_pandas(FRAME.set_index([pd.Index(INTEGERS, name="i"), pd.Index(range(N))])),
        None,
        as_pandas,
    ),
    "columns of pandas of two levels": (
        from_pandas(FRAME.set_axis(pd.MultiIndex.from_tuples([("x", "a"), ("x", "b")]), axis=1)),
        None,
        as_pandas,
    ),
    "pages with checksums": (written(PLAIN, write_page_checksum=True), None, as_pandas),
    "pages of the second version with an index": (
        written(PLAIN, data_page_version="2.0", write_page_index=True, data_page_size=64),
        None,
        as_pandas,
    ),
    "bytes split into streams": (
        written(PLAIN, use_dictionary=False, column_encoding="BYTE_STREAM_SPLIT"),
        None,
        as_pandas,
    ),
    "differences of integers": (
        written({"a": INTEGERS, "b": B}, use_dictionary=["b"], column_encoding={"a": "DELTA_BINARY_PACKED"}),
        None,
        as_pandas,
    ),
    **{
        f"compressed by {name}": (written(PLAIN, compression=name), None, as_pandas)
        for name in ("none", "snappy", "gzip", "brotli", "zstd", "lz4")
    },
    "without statistics": (written(PLAIN, write_statistics=False, store_schema=False), None, as_pandas),
    "the first version of the format": (written(PLAIN, version="1.0"), None, as_pandas),
    "odd names": (written({"": A, "b.c\n°": B}), None, as_pandas),
    "a folder of Spark": (spark_folder, None, plain_rows),
    "a folder of Dask": (dask_folder, None, plain_rows),
    "a summary that is out of date": (stale_summary, None, plain_rows),
    "partitions with numbers for names": (
        hive_folder,
        ["a", "b"],
        lambda *_: np.concatenate([np.column_stack([A[:k], np.full(k, k)]) for k in (2, 3, 10)]),
    ),
    "row groups without rows": (empty_row_groups, None, plain_rows),
    "geometries beside": (geoparquet, ["a", "b"], as_pandas),
    "structs and maps beside": (nested, ["a", "b"], as_pandas),
    "times of 96 bits beside": (
        written({**PLAIN, "t": pd.date_range("2020", periods=N)}, use_deprecated_int96_timestamps=True),
        ["a", "b"],
        as_pandas,
    ),
    "lists": (written({"v": ROWS.tolist()}), "v", lists),
    "lists without the standard's names": (
        written({"v": ROWS.tolist()}, use_compliant_nested_type=False),
        "v",
        lists,
    ),
    "lists of one length by their type": (
        written({"v": pa.array(ROWS.tolist(), pa.list_(pa.float32(), 2))}),
        "v",
        lists,
    ),
    "lists of half precision": (written({"v": pa.array(ROWS.tolist(), pa.list_(pa.float16()))}), "v", lists),
    "tensors": (written({"v": tensors()}), "v", lists),
}


@pytest.mark.parametrize(("write", "columns", "expected"), FITTED.values(), ids=FITTED)
def test_the_numbers_are_right(
    tmp_path: Path, write: Callable[[Path], Path], columns: Any, expected: Callable[[Path, Any], Any]
) -> None:
    path = write(tmp_path)
    source = read_parquet(path, columns)
    rows = expected(path, [columns] if isinstance(columns, str) else columns)
    np.testing.assert_array_equal(rows_of(source), rows)
    fitted = GaussianMixture(1, reg_covar=0).fit(source)
    np.testing.assert_allclose(fitted.means_[0], rows.mean(axis=0), rtol=1e-6, atol=1e-9)
    scale = np.outer(rows.std(axis=0), rows.std(axis=0)).max()
    np.testing.assert_allclose(fitted.covariances_[0], np.cov(rows.T, bias=True), atol=1e-6 * scale)


def another_kind(content: bytes) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        (folder / "x.parquet").write_bytes(content)
        return folder / "x.parquet"

    return write


def with_times(values: Any) -> Callable[[Path], Path]:
    return written({"a": A, "t": values})


TIMES = pa.array(range(N))
GAPS = pd.DataFrame({"a": pd.array([1, None, 3], "Int64")})
TYPES: dict[str, Any] = {
    "timestamp": TIMES.cast(pa.timestamp("us")),
    "timestamp ": TIMES.cast(pa.timestamp("ns", "UTC")),
    "date32": pa.array(range(N), pa.int32()).cast(pa.date32()),
    "time64": TIMES.cast(pa.time64("us")),
    "duration": TIMES.cast(pa.duration("s")),
    "string": pa.array(["x"] * N),
    "dictionary": pa.array(["x", "y"] * (N // 2)).dictionary_encode(),
    "binary": pa.array([b"x"] * N),
    "null": pa.nulls(N),
    "struct": pa.array([{"x": 1.0}] * N),
    "map": pa.array([[("k", 1.0)]] * N, pa.map_(pa.string(), pa.float64())),
    "list": pa.array([[1.0]] * N),
}


@pytest.mark.parametrize("name", TYPES)
def test_a_type_that_is_no_number_is_named(tmp_path: Path, name: str) -> None:
    path = written({"a": A, "t": TYPES[name]})(tmp_path)
    with pytest.raises(TypeError, match=rf"not numeric: 't' \({name.strip()}.*columns="):
        read_parquet(path)
    np.testing.assert_array_equal(rows_of(read_parquet(path, "a"))[:, 0], A)


REFUSED: dict[str, tuple[Callable[[Path], Path], Any, str]] = {
    "no columns": (written(pa.table({"a": A}).select([])), None, "has no columns, which could be features"),
    "nothing but an index": (
        from_pandas(pd.DataFrame(index=pd.Index(A, name="i"))),
        None,
        "no columns besides the index",
    ),
    "two columns of one name": (
        written(pa.Table.from_arrays([pa.array(A)] * 2 + [pa.array(B)], ["a", "a", "b"])),
        None,
        "several columns named 'a'",
    ),
    "nullable columns with gaps": (from_pandas(GAPS), None, "row group 0, column 'a': there are null values"),
    "a null list": (written({"v": [[1.0, 2.0], None]}), "v", "column 'v': there are null values"),
    "a null in a list": (written({"v": [[1.0, 2.0], [1.0, None]]}), "v", "column 'v': there are null values"),
    "an empty list": (
        written({"v": [[1.0, 2.0], []]}),
        "v",
        "not every list has 2 values: that of row 1 has 0",
    ),
    "an empty list at first": (written({"v": [[], [1.0, 2.0]]}), "v", "has 0 values: that of row 1 has 2"),
    "lists of several lengths": (
        written({"v": [[1.0]] * 3 + [[1.0, 2.0]]}),
        "v",
        "not every list has 1 values: that of row 3 has 2",
    ),
    "empty lists only": (
        written({"v": pa.array([[]] * 3, pa.list_(pa.float64()))}),
        "v",
        "are empty: no features",
    ),
    "no rows": (written(pa.table(PLAIN)[:0]), None, "Found array with 0 sample"),
    "an encrypted column": (encrypted(["b"], True), ["a", "b"], "column 'b' is encrypted"),
    "an encrypted embedding": (encrypted(["v.list.element"], True), "v", "column 'v' is encrypted"),
    "an encrypted footer": (encrypted(["b"], False), ["a"], "footer is encrypted"),
    "text": (another_kind(b"a,b\n1,2\n" * 9), None, "does not end in a footer"),
    "a page of HTML": (
        another_kind(b"<html><body>Not found</body></html>"),
        None,
        "does not end in a footer",
    ),
    "Feather": (another_kind(b"ARROW1\x00\x00" * 5 + b"ARROW1"), None, "does not end in a footer"),
    "nothing": (another_kind(b""), None, "does not end in a footer"),
}


@pytest.mark.parametrize(("write", "columns", "cause"), REFUSED.values(), ids=REFUSED)
def test_the_cause_is_told(tmp_path: Path, write: Callable[[Path], Path], columns: Any, cause: str) -> None:
    with pytest.raises(ValueError, match=cause):
        GaussianMixture(1).fit(read_parquet(write(tmp_path), columns))


CHILD = """
import json, sys
from dask_gmm import GaussianMixture, read_parquet
for line in sys.stdin:
    path, columns, filters = json.loads(line)
    try:
        source = read_parquet(path, columns, [tuple(term) for term in filters] if filters else None)
        answer = GaussianMixture(1).fit(source).means_[0].tolist()
    except Exception as error:
        answer = f"{type(error).__name__}: {error}"
    print(json.dumps(answer), flush=True)
"""


def test_encrypted_files_end_no_process(tmp_path: Path) -> None:
    path = str(encrypted(["b"], True)(tmp_path))
    above = [("a", ">", 0.0)]
    asked: list[tuple[Any, Any, Any]] = [
        (["a", "b"], None, "DataError.*column 'b' is encrypted"),
        (["a"], [("b", ">", 0.0)], "DataError.*column 'b' is encrypted"),
        (["b"], above, "DataError.*column 'b' is encrypted"),
        (["a"], None, A.mean()),
        (["a"], above, A[A > 0].mean()),
        ("v", above, ROWS[A > 0].mean(axis=0)),
    ]
    lines = "".join(json.dumps([path, columns, filters]) + "\n" for columns, filters, _ in asked)
    child = subprocess.run([sys.executable, "-c", CHILD], input=lines, capture_output=True, text=True)
    assert child.returncode == 0, child.stderr
    for (_, _, expected), line in zip(asked, child.stdout.splitlines(), strict=True):
        answer = json.loads(line)
        if isinstance(expected, str):
            assert pd.Series([answer]).str.contains(expected).all(), answer
        else:
            np.testing.assert_allclose(answer, np.atleast_1d(expected), rtol=1e-9)


def test_a_gap_in_an_encrypted_file_is_an_error_of_ours(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="write it in clear, or select other columns"):
        read_parquet(encrypted(["a"], True)(tmp_path), "a")
