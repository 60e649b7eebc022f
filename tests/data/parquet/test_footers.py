"""Footers that lie: every one is an error of ours, or is read; none ends the process or takes its memory."""

from __future__ import annotations

import io
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from dask_gmm import DataError, read_parquet
from dask_gmm.data.parquet import thrift
from dask_gmm.data.parquet.footer import parse_footer
from dask_gmm.data.parquet.thrift import BINARY, I32, I64, LIST, STRUCT, field, walk

VALUES = np.arange(30.0)


def table() -> pa.Table:
    return pa.table({"a": VALUES, "b": VALUES.astype("i4"), "s": VALUES.astype(str), "v": [[1.0, 2.0]] * 30})


def content(**options: object) -> bytes:
    file = io.BytesIO()
    pq.write_table(table(), file, **{"row_group_size": 12} | options)
    return file.getvalue()


def split(whole: bytes) -> tuple[bytes, bytes]:
    """The pages, and the footer."""
    length = int.from_bytes(whole[-8:-4], "little")
    return whole[: -8 - length], whole[-8 - length : -8]


def joined(pages: bytes, footer: bytes) -> bytes:
    return pages + footer + len(footer).to_bytes(4, "little") + b"PAR1"


def varint(number: int) -> bytes:
    """Thrift's form of a number of 64 bits."""
    number = (number << 1 ^ number >> 63) & (1 << 64) - 1
    digits = []
    while number > 127:
        digits.append(number & 127 | 128)
        number >>= 7
    return bytes([*digits, number])


# --- the walk ---------------------------------------------------------------------------------------


@pytest.fixture(params=["compiled", "not compiled"])
def walked(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Walk with the compiled function, or with the same in Python, as for the first few footers."""
    uncompiled = 0 if request.param == "compiled" else sys.maxsize
    monkeypatch.setattr(thrift, "_BYTES_UNCOMPILED", uncompiled)


def test_both_walk_alike(monkeypatch: pytest.MonkeyPatch) -> None:
    footers = [split(content(write_page_index=index))[1] for index in (False, True)]
    rng = random.Random(0)
    for _ in range(40):
        footer = bytearray(rng.choice(footers))
        for _ in range(3):
            footer[rng.randrange(len(footer))] = rng.randrange(256)
        found = []
        for uncompiled in (0, sys.maxsize):
            monkeypatch.setattr(thrift, "_BYTES_UNCOMPILED", uncompiled)
            try:
                fields = walk(bytes(footer))
                found.append((fields.numbers.tolist(), fields.values.tolist(), fields.end))
            except ValueError as error:
                found.append(str(error))
        assert found[0] == found[1]


@pytest.mark.usefixtures("walked")
def test_a_struct_is_walked_field_by_field() -> None:
    # 1: i32 7, 2: list of two i64, 4: struct {1: text "ab", 40: true}, 5: list of two structs
    struct = bytes(
        [0x15, 14, 0x19, 0x26, 2, 3, 0x2C, 0x18, 2, 97, 98, 0x01, 80, 0, 0x19, 0x2C, 0, 0x15, 1, 0, 0]
    )
    fields = walk(struct + b"\x15\x02")
    assert fields.end == len(struct)
    assert list(zip(fields.numbers, fields.values, strict=True)) == [
        (field(I32, 1), 7),
        (field(LIST, 2), 2),
        (field(I64, 2, in_list=True), 1),
        (field(I64, 2, in_list=True), -2),
        (field(STRUCT, 4), 0),
        (field(BINARY, 4, 1), 2),
        (field(1, 4, 40), 1),
        (field(LIST, 5), 2),
        (field(STRUCT, 5, in_list=True), 0),
        (field(STRUCT, 5, in_list=True), 0),
        (field(I32, 5, 1), -1),
    ]


@pytest.mark.usefixtures("walked")
@pytest.mark.parametrize(
    "bad",
    [
        b"",
        b"\x15",
        b"\x18\x7f",
        b"\x19\xf6\xff\xff\xff\xff\x7f",
        b"\x1c" * 99,
        b"\x1d\x00",
        b"\x16" + b"\xff" * 9 + b"\x02\x00",
    ],
)
def test_what_is_no_struct_is_an_error(bad: bytes) -> None:
    with pytest.raises(ValueError, match="no struct"):
        walk(bad)


@pytest.mark.parametrize("options", [{}, {"compression": "none", "use_dictionary": False}])
def test_counts_and_places_are_those_that_arrow_reads(options: dict[str, object]) -> None:
    whole = content(**options)
    pages, footer = split(whole)
    found, metadata = parse_footer(footer, len(pages), "x"), pq.read_metadata(io.BytesIO(whole))
    assert found.n_rows.tolist() == [12, 12, 6]
    for group in range(3):
        for number in range(4):
            column = metadata.row_group(group).column(number)
            start = column.dictionary_page_offset or column.data_page_offset
            assert found.n_values[group, number] == column.num_values
            assert (found.starts[group, number], found.sizes[group, number]) == (
                start,
                column.total_compressed_size,
            )
            assert found.n_nulls[group, number] == column.statistics.null_count
    assert found.repeated.tolist() == [False, False, False, True]
    assert not found.unsound.any()
    assert not found.encrypted.any()


# --- lies that have a name ---------------------------------------------------------------------------


def replaced(old: bytes, new: bytes, count: int = 1) -> bytes:
    pages, footer = split(content(write_statistics=False, store_schema=False))
    assert old in footer
    return joined(pages, footer.replace(old, new, count))


LIES = {
    # A row group's column list is said to be shorter or longer: 0x4c begins a list of four structs.
    "fewer columns": (b"\x19\x4c\x26", b"\x19\x3c\x26", "cannot be read as Parquet"),
    # 30 rows before the row groups, 12 in the first.
    "more rows than there are": (
        b"\x16" + varint(30) + b"\x19",
        b"\x16" + varint(1 << 62) + b"\x19",
        "rows are announced",
    ),
    "fewer rows than none": (
        b"\x16" + varint(30) + b"\x19",
        b"\x16" + varint(-30) + b"\x19",
        "rows are announced",
    ),
}


@pytest.mark.parametrize(("old", "new", "cause"), LIES.values(), ids=LIES)
def test_a_lie_is_told(tmp_path: Path, old: bytes, new: bytes, cause: str) -> None:
    (tmp_path / "x.parquet").write_bytes(replaced(old, new))
    with pytest.raises(DataError, match=rf"x\.parquet.*{cause}"):
        read_parquet(tmp_path / "x.parquet", "a")


@pytest.mark.parametrize("place", [-5, 1 << 40, 1 << 62, -(1 << 62)])
def test_a_column_outside_of_the_file_is_refused_where_it_is_chosen(tmp_path: Path, place: int) -> None:
    whole = content(write_statistics=False, use_dictionary=False)
    pages, footer = split(whole)
    column = pq.read_metadata(io.BytesIO(whole)).row_group(1).column(0)
    old = b"\x26" + varint(column.data_page_offset)
    assert footer.count(old) >= 1
    (tmp_path / "x.parquet").write_bytes(joined(pages, footer.replace(old, b"\x26" + varint(place))))
    with pytest.raises(DataError, match=r"row group 1: column 'a' lies outside of the file"):
        read_parquet(tmp_path / "x.parquet", "a")
    assert read_parquet(tmp_path / "x.parquet", "b").sample_shape == (30,)


def test_statistics_that_are_too_short_are_refused_where_a_filter_needs_them(tmp_path: Path) -> None:
    whole = content()
    pages, footer = split(whole)
    largest = np.float64(11).tobytes()
    old, new = b"\x08" + largest, b"\x03" + largest[:3]
    assert old in footer
    (tmp_path / "x.parquet").write_bytes(joined(pages, footer.replace(old, new)))
    with pytest.raises(DataError, match=r"row group 0: the statistics of column 'a' are damaged"):
        read_parquet(tmp_path / "x.parquet", "b", filters=[("a", ">", 3)])


def test_a_schema_that_nests_without_end_is_refused(tmp_path: Path) -> None:
    element = b"\x35\x00\x18\x01x\x15\x02\x00"  # required, named x, one child
    schema = element * 100_000 + b"\x15\x0a\x25\x00\x18\x01x\x00"
    # The version, then a list of 100,001 elements.
    footer = b"\x15\x02\x19\xfc\xa1\x8d\x06" + schema + b"\x16\x00\x19\x0c\x00"
    (tmp_path / "x.parquet").write_bytes(joined(b"PAR1", footer))
    with pytest.raises(DataError, match="nests too deep"):
        read_parquet(tmp_path / "x.parquet")


# --- lies without a name -----------------------------------------------------------------------------

CHILD = """
import resource, sys
from pathlib import Path
from dask_gmm import DataError, read_parquet
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))
asked = [("a", None), ("v", None), (["b"], [("s", "=", "3.0"), ("a", ">", 3)])]
for path in sorted(Path(sys.argv[1]).iterdir()):
    print(path.name, flush=True)
    for columns, filters in asked:
        try:
            source = read_parquet(path, columns, filters)
            reader = source.reader(range(len(source.chunks)))
            for index in range(len(source.chunks)):
                reader.read(index)
        except (DataError, TypeError):
            pass
print("all", flush=True)
"""


def damaged(chance: random.Random, whole: bytes) -> bytes:
    pages, footer = map(bytearray, split(whole))
    for _ in range(chance.choice([1, 1, 1, 2, 4])):
        at = chance.randrange(len(footer))
        kind = chance.randrange(6)
        if kind == 0:
            footer[at] ^= 1 << chance.randrange(8)
        elif kind == 1:
            footer[at] = chance.choice(
                [0x00, 0x15, 0x16, 0x18, 0x19, 0x1C, 0x2C, 0xFF, chance.randrange(256)]
            )
        elif kind == 2:
            footer[at : at + 1] = varint(chance.choice([-1, 0, 1, 1 << 31, 1 << 40, (1 << 62), -(1 << 62)]))
        elif kind == 3:
            del footer[at : at + chance.choice([1, 2, 8])]
        elif kind == 4:
            footer[at:at] = footer[at : at + chance.choice([1, 4, 30])]
        else:
            pages[chance.randrange(4, len(pages))] ^= 1 << chance.randrange(8)
    return joined(bytes(pages), bytes(footer))


@pytest.mark.parametrize("n_files", [60, pytest.param(3000, marks=pytest.mark.long)])
def test_no_damaged_footer_ends_the_process(tmp_path: Path, n_files: int) -> None:
    chance = random.Random(n_files)
    wholes = [content(), content(compression="none", use_dictionary=False), content(data_page_version="2.0")]
    for number in range(n_files):
        (tmp_path / f"{number:05}.parquet").write_bytes(damaged(chance, chance.choice(wholes)))
    child = subprocess.run([sys.executable, "-c", CHILD, tmp_path], capture_output=True, text=True)
    assert child.returncode == 0, (child.stdout.split()[-1:], child.stderr[-2000:])
    assert child.stdout.split()[-1] == "all"
