"""Parquet pages that would decode to far more than the footer announces are refused before they do."""

from __future__ import annotations

import decimal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dask_gmm import ChunkTooLargeError
from dask_gmm.data import available_memory as available
from dask_gmm.data.parquet import pages, read_parquet
from dask_gmm.data.parquet.thrift import WHOLE
from dask_gmm.errors import DataError

N = 3000
NUMBERS = np.random.default_rng(0).integers(0, 500, N)


def zigzag(number):
    """Return an integer in Thrift's compact protocol."""
    number, parts = number << 1, []
    while number > 0x7F:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*parts, number])


def first_page(path):
    """Return where the first page of the first column begins, and the size that it decodes to."""
    column = pq.read_metadata(path).row_group(0).column(0)
    start = column.dictionary_page_offset or column.data_page_offset
    header = pages._header(memoryview(path.read_bytes()), start)
    return start, int(header.each(WHOLE, pages._UNCOMPRESSED, -1)[0])


def read(path, **options):
    source = read_parquet(path, **options)
    reader = source.reader(range(len(source.chunks)))
    return np.concatenate([reader.read(index).rows for index in range(len(source.chunks))])


@pytest.mark.parametrize("compression", ["none", "snappy", "zstd", "gzip", "brotli", "lz4"])
@pytest.mark.parametrize("version", ["1.0", "2.0"])
@pytest.mark.parametrize("dictionary", [False, True])
def test_pages_are_counted_as_arrow_wrote_them(tmp_path, compression, version, dictionary):
    path = tmp_path / "x.parquet"
    table = pa.table({"a": NUMBERS, "b": NUMBERS / 3, "c": NUMBERS > 9, "d": NUMBERS.astype("f4")})
    options = {"compression": compression, "data_page_version": version, "use_dictionary": dictionary}
    pq.write_table(table, path, data_page_size=1000, write_page_checksum=True, row_group_size=1700, **options)
    metadata, contents = pq.read_metadata(path), memoryview(path.read_bytes())
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            start = min(column.dictionary_page_offset or column.data_page_offset, column.data_page_offset)
            decoded = pages.decoded_bytes(contents, start, column.total_compressed_size)
            # The footer counts the headers too.
            assert 0.5 * column.total_uncompressed_size < decoded <= column.total_uncompressed_size
    np.testing.assert_array_equal(read(path), pd.read_parquet(path).astype("f8"))


@pytest.mark.parametrize(
    "values",
    [
        [decimal.Decimal("1.5")] * 5000,
        pa.array([decimal.Decimal("1." + 30 * "1")] * 5000, pa.decimal256(76, 30)),
        pa.array([[0.5, 1.5]] * 5000, pa.list_(pa.float32())),
        pa.array(np.arange(200_000) % 100, pa.int8()),
        pa.array([True] * 200_000),
        pa.array(np.random.default_rng(0).normal(size=200_000)),
    ],
    ids=lambda values: str(getattr(values, "type", "decimal")),
)
@pytest.mark.parametrize("encoding", [None, "PLAIN"])
def test_numbers_of_all_kinds_are_within_what_is_allowed(tmp_path, values, encoding):
    path = tmp_path / "x.parquet"
    pq.write_table(
        pa.table({"a": values}), path, compression="none", use_dictionary=False, column_encoding=encoding
    )
    assert len(read(path)) == len(values)


def test_a_page_that_decodes_to_more_than_the_footer_announces(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": NUMBERS / 3}), path, compression="zstd", use_dictionary=False)
    start, decoded = first_page(path)
    data = path.read_bytes()
    # All offsets in the footer stay right: it is the first page.
    old, new = zigzag(decoded), zigzag(2**31 - 1)
    at = data.index(old, start)
    path.write_bytes(data[:at] + new + data[at + len(old) :])
    with pytest.raises(DataError, match=r"row group 0, column 'a': its pages would decode to 2\.00 GiB"):
        read(path)


def test_a_page_without_a_header(tmp_path):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": NUMBERS / 3}), path)
    start, _ = first_page(path)
    data = bytearray(path.read_bytes())
    data[start : start + 20] = b"\xff" * 20
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"column 'a': a page's header cannot be read"):
        read(path)


def test_a_footer_that_announces_far_more_than_its_rows_take():
    pages.check_announced(96 * 1000, 1000, "x")
    with pytest.raises(DataError, match=r"x: the footer announces 2\.00 GiB for 10 values"):
        pages.check_announced(2 << 30, 10, "x")


def test_a_row_group_that_is_larger_than_memory(tmp_path, monkeypatch):
    path = tmp_path / "x.parquet"
    pq.write_table(pa.table({"a": NUMBERS / 3}), path)
    monkeypatch.setattr(available, "_SMALL", 100)
    monkeypatch.setattr(available, "available_bytes", lambda: 8 * N - 1)
    with pytest.raises(ChunkTooLargeError, match=r"x\.parquet, row group 0 decodes to 23\.44 kiB"):
        read(path)


def test_deep_structures_and_endless_integers_end():
    for data in (b"\x1c" * 1000, b"\x15" + b"\xff" * 1000, b"\x19\xff" + b"\xff" * 9 + b"\x01", b"\x15"):
        with pytest.raises(ValueError, match="no struct"):
            pages._header(memoryview(data), 0)


def test_a_header_may_be_long():
    # Arrow writes the least and the greatest value into it, of texts in full.
    text = b"\x15\x06\x15\x08\x15\x0a\x18" + b"\xd0\x86\x03" + 50_000 * b"x" + b"\x00"
    header = pages._header(memoryview(b"begin" + text + b"end"), 5)
    assert header.end == len(text)
    assert header.each(WHOLE, pages._COMPRESSED, -1) == [5]
    with pytest.raises(ValueError, match="no struct"):
        pages._header(memoryview(text[:-1]), 0)
