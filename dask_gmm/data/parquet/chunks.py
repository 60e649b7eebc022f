"""Chunks of Parquet files by their footers: which row groups each has, and how many rows.

No row is read. A chunk is a run of consecutive row groups of one file, cut before it decodes to more
than 8 MiB; a larger row group is a chunk of its own. The cut depends on the files, the columns and the
filter only.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import chain

import numpy as np
import pyarrow as pa

from dask_gmm.data.parquet.arrow_rows import lists_to_rows, null_error, plain_type
from dask_gmm.data.parquet.columns import Columns, default_columns, is_number
from dask_gmm.data.parquet.files import File
from dask_gmm.data.parquet.filters import RowFilter
from dask_gmm.data.parquet.opening import OpenFile, full_schema, naming_errors, open_file, read_row_groups
from dask_gmm.data.rows import NanRule
from dask_gmm.errors import DataError, warn_caller
from dask_gmm.storage.location import Location

_RUN_BYTES = 8 << 20
_FOOTERS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class Piece:
    """One chunk: a run of row groups of a file.

    Attributes
    ----------
    file : File
    row_groups : sequence of int
        Numbers of the row groups in the file.
    n_rows : int or None
        Rows that are read; None where a filter decides on each row.
    most_rows : int
        Rows of the row groups, before any filter.
    """

    file: File
    row_groups: Sequence[int]
    n_rows: int | None
    most_rows: int

    @property
    def name(self) -> str:
        """What an error calls the chunk."""
        first, last = self.row_groups[0], self.row_groups[-1]
        groups = f"row group {first}" if first == last else f"row groups {first} to {last}"
        return f"{self.file.name}, {groups}"


def plan(
    store: Location,
    files: Sequence[File],
    columns: Columns,
    row_filter: RowFilter | None,
    nan: NanRule = "error",
) -> tuple[Columns, list[Piece]]:
    """Compare every footer with the first file's schema and list the chunks.

    Returns
    -------
    columns : Columns
        With the dtype of rows that all files can be read as. One warning says which columns have several
        numeric types.
    pieces : list of Piece

    Raises
    ------
    DataError
        A file that lacks a column or has no numbers in it, null values, lists of other lengths,
        a footer that cannot be read; the message names the file and the row group.
    """
    first = full_schema(open_file(store, files[0]), files[0])
    expected = pa.schema([first.field(name) for name in columns.names])
    with ThreadPoolExecutor(min(_FOOTERS_AT_ONCE, len(files)), thread_name_prefix="dask-gmm") as executor:
        found = executor.map(lambda file: _pieces(store, file, columns, expected, row_filter, nan), files)
        pieces, others = zip(*found, strict=True)
    columns = _widened(columns, expected, others)
    return columns, [piece for those in pieces for piece in those]


def _widened(columns: Columns, expected: pa.Schema, others: Sequence[Mapping[str, pa.DataType]]) -> Columns:
    """Return the columns as float64 where a file has others than float32; `others` are types by name."""
    kinds: dict[str, set[str]] = {}
    for name, kind in chain.from_iterable(types.items() for types in others):
        kinds.setdefault(name, {str(expected.field(name).type)}).add(str(kind))
    if not kinds:
        return columns
    told = "; ".join(f"{name!r} as {', '.join(sorted(types))}" for name, types in kinds.items())
    message = f"The files store columns in several types, which are all converted to float64: {told}."
    warn_caller(message, UserWarning)
    return replace(columns, dtype=np.dtype(np.float64))


def _pieces(
    store: Location,
    file: File,
    columns: Columns,
    expected: pa.Schema,
    row_filter: RowFilter | None,
    nan: NanRule,
) -> tuple[list[Piece], Mapping[str, pa.DataType]]:
    opened = open_file(store, file)
    schema = full_schema(opened, file)
    others = _compare(schema, expected, file)
    if columns.everything:
        _refuse_more(default_columns(opened.schema), columns, file)
    opened.check(columns.names)
    if row_filter is None:
        groups: Sequence[int] = range(len(opened.footer.n_rows))
        if nan == "error":
            _refuse_nulls(store, file, opened, columns)
    else:
        _refuse_missing(row_filter.columns, schema, file)
        opened.check(row_filter.columns, filtered=row_filter.columns)
        groups = row_filter.row_groups(opened.fragment, schema)
    exact = row_filter is None or row_filter.decided_by(file)
    n_rows = {group: int(opened.footer.n_rows[group]) for group in groups}
    runs = _runs(n_rows, _RUN_BYTES // (columns.n_features * columns.dtype.itemsize))
    sizes = [sum(n_rows[group] for group in run) for run in runs]
    pieces = [Piece(file, run, size if exact else None, size) for run, size in zip(runs, sizes, strict=True)]
    return pieces, others


def _runs(n_rows: Mapping[int, int], most_rows: int) -> list[Sequence[int]]:
    """Cut the row groups that have rows into runs of at most `most_rows`, or of one row group."""
    runs: list[list[int]] = []
    room = 0
    for group, size in n_rows.items():
        if size == 0:
            continue
        if size > room:
            runs.append([])
            room = most_rows
        runs[-1].append(group)
        room -= size
    return [_as_range(run) for run in runs]


def _as_range(numbers: list[int]) -> Sequence[int]:
    # A range travels as three numbers, however many small row groups there are.
    first, last = numbers[0], numbers[-1]
    return range(first, last + 1) if last - first == len(numbers) - 1 else tuple(numbers)


def _compare(schema: pa.Schema, expected: pa.Schema, file: File) -> Mapping[str, pa.DataType]:
    """Return the numeric types of columns that have another one in the first file."""
    _refuse_missing(expected.names, schema, file)
    others = {}
    for column in expected:
        kind = schema.field(column.name).type
        if kind == column.type:
            continue
        if not (is_number(plain_type(kind)) and is_number(plain_type(column.type))):
            raise DataError(
                f"{file.name}: column {column.name!r} has type {kind}, in the first file {column.type}. "
                "Convert the file or read the files apart."
            )
        others[column.name] = kind
    return others


def _refuse_missing(names: Sequence[str], schema: pa.Schema, file: File) -> None:
    for name in names:
        if schema.get_field_index(name) < 0:
            raise DataError(f"{file.name} has no column {name!r}, which the first file has.")


def _refuse_more(names: Sequence[str], columns: Columns, file: File) -> None:
    more = [repr(name) for name in names if name not in columns.names]
    if more:
        raise DataError(
            f"{file.name} has columns that the first file has not: {', '.join(more)}. "
            "Select features with columns=[...]."
        )


def _refuse_nulls(store: Location, file: File, opened: OpenFile, columns: Columns) -> None:
    """Refuse nulls and ragged lists as far as the footer tells; reading checks the rest."""
    footer = opened.footer
    for name, leaves in opened.stored_columns(columns.numbers).items():
        for leaf in leaves[:1]:
            doubtful = footer.n_nulls[:, leaf] > 0
            embedded = columns.embedding and name == columns.features[0]
            if embedded:
                doubtful = doubtful | (footer.n_values[:, leaf] != footer.n_rows * columns.n_features)
            for group in np.flatnonzero(doubtful)[:1].tolist():
                where = f"{file.name}, row group {group}"
                if not embedded:
                    raise null_error(f"{where}, column {name!r}")
                # An empty list counts as a value and as a null: only the lists themselves tell.
                with naming_errors(where):
                    lists = read_row_groups(store, file, [group], [name]).column(0)
                lists_to_rows(lists, columns.n_features, columns.dtype, f"{where}, column {name!r}")


def count_rows(store: Location, pieces: Sequence[Piece], row_filter: RowFilter) -> list[Piece]:
    """Return the pieces with their row counts; reads the columns that the filter needs, nothing else."""

    def counted(piece: Piece) -> Piece:
        with naming_errors(piece.name):
            table = read_row_groups(store, piece.file, piece.row_groups, row_filter.columns)
        n_rows = row_filter.apply(table).num_rows
        return replace(piece, n_rows=n_rows, most_rows=n_rows)

    with ThreadPoolExecutor(_FOOTERS_AT_ONCE, thread_name_prefix="dask-gmm") as executor:
        return list(executor.map(counted, pieces))
