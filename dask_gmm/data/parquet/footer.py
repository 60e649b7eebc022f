"""What the footer of a Parquet file says, checked before Arrow is asked for anything in it.

Arrow ends the process, not the call, where it is asked about a column chunk that is encrypted or that
contradicts itself. Sizes, counts and offsets are therefore read here, and Arrow sees no file whose footer
does not hold together.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.parquet.thrift import BINARY, I32, I64, LIST, STRUCT, WHOLE, Fields, field, walk
from dask_gmm.errors import DataError

Numbers = NDArray[np.int64]

# Fields of Parquet's FileMetaData by the identifiers in parquet.thrift.
_ALL_ROWS = field(I64, 3)
_ELEMENTS, _ELEMENT = field(LIST, 2), field(STRUCT, 2, in_list=True)
_TYPE, _TYPE_LENGTH, _REPETITION, _CHILDREN = (field(I32, 2, number) for number in (1, 2, 3, 5))
_ROW_GROUPS, _ROW_GROUP, _GROUP_ROWS = field(LIST, 4), field(STRUCT, 4, in_list=True), field(I64, 4, 3)
_CHUNKS, _CHUNK = field(LIST, 4, 1), field(STRUCT, 4, 1, in_list=True)
_META, _CRYPTO = field(STRUCT, 4, 1, 3), field(STRUCT, 4, 1, 8)
_CHUNK_TYPE = field(I32, 4, 1, 3, 1)
_VALUES, _DECODED, _SIZE, _DATA, _DICTIONARY = (field(I64, 4, 1, 3, number) for number in (5, 6, 7, 9, 11))
_NULLS = field(I64, 4, 1, 3, 12, 3)
_EXTREMES = [field(BINARY, 4, 1, 3, 12, number) for number in (1, 2, 5, 6)]
_TEXT_BYTES = field(I64, 4, 1, 3, 16, 1)
_REPETITIONS, _DEFINITIONS = (field(LIST, 4, 1, 3, 16, number) for number in (2, 3))
# Bytes of one value by the number of its physical type; texts and bytes of a given length apart.
_WIDTHS = {0: 1, 1: 4, 2: 8, 3: 12, 4: 4, 5: 8}
_TEXT, _FIXED = 6, 7
_REQUIRED, _REPEATED = 0, 2
# Arrow descends a schema by recursion, for which deeper ones would exhaust the stack.
_DEEPEST_SCHEMA = 100
# Some old writers leave the header of the dictionary page out of a column's size.
_HEADER = 100
_UNKNOWN = -1


@dataclass(frozen=True, slots=True, eq=False)
class Footer:
    """Counts and places of the stored columns; arrays are of shape (n_row_groups, n_stored_columns).

    Attributes
    ----------
    name : str
        What an error calls the file.
    n_rows : ndarray of shape (n_row_groups,), int64
    n_values : ndarray, int64
        Values and nulls, -1 where the footer does not say.
    n_nulls : ndarray, int64
        -1 where the footer does not say.
    starts, sizes : ndarray, int64
        Bytes in the file.
    decoded : ndarray, int64
        Bytes of all pages once they are decompressed.
    encrypted : ndarray, bool
    unsound : ndarray, bool
        Arrow could not make sense of the statistics.
    repeated : ndarray of shape (n_stored_columns,), bool
        The column lies in a list, so that it may have more values than there are rows.
    end : int
        Where the footer begins.
    """

    name: str
    n_rows: Numbers
    n_values: Numbers
    n_nulls: Numbers
    starts: Numbers
    sizes: Numbers
    decoded: Numbers
    encrypted: NDArray[np.bool_]
    unsound: NDArray[np.bool_]
    repeated: NDArray[np.bool_]
    end: int

    def check(self, columns: Sequence[int], name: str) -> None:
        """Refuse stored columns that cannot be read, which errors call `name`.

        Raises
        ------
        DataError
            One is encrypted, lies outside of the file or has another number of values than there are rows.
        """
        for column in columns:
            self._refuse(
                self.encrypted[:, column],
                f"column {name!r} is encrypted, and dask_gmm has no keys. Read it with pyarrow's "
                "decryption_properties and write it in clear, or select other columns",
            )
            starts, sizes, n_values = (each[:, column] for each in (self.starts, self.sizes, self.n_values))
            outside = (starts < 4) | (sizes < 0) | (starts > self.end - np.minimum(sizes, self.end))
            self._refuse(
                (n_values < 0) | (outside & (n_values > 0)),
                f"column {name!r} lies outside of the file. Its footer is damaged: write it again",
            )
            self._refuse(
                n_values < self.n_rows if self.repeated[column] else n_values != self.n_rows,
                f"column {name!r} has another number of values than there are rows. The footer is damaged: "
                "write the file again",
            )

    def check_statistics(self, columns: Sequence[int], name: str) -> None:
        """Refuse statistics of stored columns that no value has; raises DataError."""
        for column in columns:
            self._refuse(
                self.unsound[:, column],
                f"the statistics of column {name!r} are damaged: write the file again or filter by others",
            )

    def ranges(self, row_groups: Sequence[int], columns: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield where these stored columns of the row groups start and stop in the file."""
        for row_group in row_groups:
            for column in columns:
                start = int(self.starts[row_group, column])
                yield start, start + int(self.sizes[row_group, column]) + _HEADER

    def _refuse(self, bad: NDArray[np.bool_], what: str) -> None:
        if bad.any():
            raise DataError(f"{self.name}, row group {int(bad.argmax())}: {what}.")


def parse_footer(content: bytes, end: int, name: str) -> Footer:
    """Return what the footer says.

    Parameters
    ----------
    content : bytes
        The footer, without its length and the magic number after it.
    end : int
        Where it begins in the file.
    name : str
        What an error calls the file.

    Raises
    ------
    DataError
        It contradicts itself.
    """
    try:
        fields = walk(content)
        return _footer(fields, _stored_columns(fields), end, name)
    except ValueError as error:
        raise DataError(
            f"{name}: cannot be read as Parquet. The file is damaged, cut short or was changed since it was "
            f"listed: {error}"
        ) from error


@dataclass(frozen=True, slots=True, eq=False)
class _Leaves:
    """The stored columns by the schema: arrays of shape (n_stored_columns,), in its order."""

    types: Numbers
    widths: Numbers
    repetitions: Numbers
    definitions: Numbers


def _footer(fields: Fields, leaves: _Leaves, end: int, name: str) -> Footer:
    groups, chunks = fields.positions(_ROW_GROUP), fields.positions(_CHUNK)
    n_rows = fields.each(groups, _GROUP_ROWS, _UNKNOWN)
    _refuse_miscounts(fields, len(leaves.types), n_rows, fields.each(groups, _CHUNKS, 0))
    shape = (len(groups), len(leaves.types))

    def each(number: int, default: int) -> Numbers:
        return fields.each(chunks, number, default).reshape(shape)

    # A struct is found where its first byte is among the fields.
    encrypted = each(_CRYPTO, _UNKNOWN) != _UNKNOWN
    described = each(_META, _UNKNOWN) != _UNKNOWN
    if not (described | encrypted).all():
        raise ValueError("a column is not described")
    if ((each(_CHUNK_TYPE, _UNKNOWN) != leaves.types) & ~encrypted).any():
        raise ValueError("a column has another type than the schema says")
    data, dictionary = each(_DATA, _UNKNOWN), each(_DICTIONARY, 0)
    return Footer(
        name,
        n_rows,
        each(_VALUES, _UNKNOWN),
        each(_NULLS, _UNKNOWN),
        np.where((dictionary > 0) & (dictionary < data), dictionary, data),
        each(_SIZE, _UNKNOWN),
        each(_DECODED, 0),
        encrypted,
        _unsound(fields, leaves, chunks, shape),
        leaves.repetitions > 0,
        end,
    )


def _refuse_miscounts(fields: Fields, n_columns: int, n_rows: Numbers, in_group: Numbers) -> None:
    """Refuse lists and rows of other numbers than are announced; raises ValueError."""
    broken = np.flatnonzero(in_group != n_columns)
    if len(broken):
        group = int(broken[0])
        raise ValueError(f"row group {group} has {in_group[group]} columns, the schema {n_columns}")
    for list_, element in ((_ROW_GROUPS, _ROW_GROUP), (_ELEMENTS, _ELEMENT)):
        if fields.each(WHOLE, list_, 0)[0] != len(fields.positions(element)):
            raise ValueError("a list has other elements than it should")
    if len(fields.positions(_CHUNK)) != in_group.sum():
        raise ValueError("row groups have other columns than they should")
    total = fields.each(WHOLE, _ALL_ROWS, _UNKNOWN)[0]
    if (n_rows < 0).any() or sum(map(int, n_rows)) != total:
        raise ValueError(f"{total} rows are announced, the row groups have others: {n_rows[:10].tolist()}")


def _unsound(fields: Fields, leaves: _Leaves, chunks: Numbers, shape: tuple[int, int]) -> NDArray[np.bool_]:
    """Tell which chunks have statistics at which Arrow ends the process."""
    lengths = np.array([fields.each(chunks, number, 0).reshape(shape) for number in _EXTREMES])
    bad = ((lengths > 0) & (lengths < leaves.widths)).any(axis=0)
    for number, deepest in ((_REPETITIONS, leaves.repetitions), (_DEFINITIONS, leaves.definitions)):
        counts = fields.each(chunks, number, 0).reshape(shape)
        bad |= (counts > 0) & (counts != deepest + 1)
    text_bytes = fields.each(chunks, _TEXT_BYTES, _UNKNOWN).reshape(shape)
    result: NDArray[np.bool_] = bad | ((text_bytes != _UNKNOWN) & (leaves.types != _TEXT))
    return result


def _stored_columns(fields: Fields) -> _Leaves:
    elements = fields.positions(_ELEMENT)
    columns = [
        fields.each(elements, number, default).tolist()
        for number, default in ((_CHILDREN, 0), (_TYPE, _UNKNOWN), (_TYPE_LENGTH, 0), (_REPETITION, 0))
    ]
    found = []
    # Per level: how many elements are to come, and how many above are lists, or lists or optional.
    levels: list[list[int]] = [[1, 0, 0]]
    for n_children, kind, length, repetition in zip(*columns, strict=True):
        while levels and levels[-1][0] == 0:
            levels.pop()
        if not levels or n_children < 0 or len(levels) > _DEEPEST_SCHEMA:
            raise ValueError("its schema is no tree, or nests too deep")
        if not _REQUIRED <= repetition <= _REPEATED:
            raise ValueError(f"an element of its schema has the repetition {repetition}")
        levels[-1][0] -= 1
        root = len(levels) == 1
        # The root repeats nothing, whatever it says.
        lists = levels[-1][1] + (repetition == _REPEATED and not root)
        optional = levels[-1][2] + (repetition > _REQUIRED and not root)
        if n_children or root:
            levels.append([n_children, lists, optional])
        else:
            width = length if kind == _FIXED else _WIDTHS.get(kind, 0)
            found.append((kind, width, lists, optional))
    if any(level[0] for level in levels):
        raise ValueError("its schema is cut short")
    return _Leaves(*np.array(found, dtype=np.int64).reshape(-1, 4).T)
