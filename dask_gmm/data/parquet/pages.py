"""What the pages of a Parquet file say that they decode to, before Arrow takes memory for it.

A footer may announce ten rows over a page that decompresses to gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from dask.utils import format_bytes

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.parquet.footer import Footer
from dask_gmm.errors import DataError

# Writers differ in what they count: dictionaries, headers.
_COUNTED_AGAIN, _ROOM = 2, 1 << 20
# A number takes less, in whatever encoding, with its levels and its entry in a dictionary; decimals are long.
_NUMBER_BYTES = 96
_UNCOMPRESSED, _COMPRESSED = 2, 3  # fields of a page's header
_DEEPEST = 8


def check_announced(n_bytes: int, n_values: int, where: str) -> None:
    """Refuse a column that announces far more bytes than its numbers take.

    Raises
    ------
    DataError
    """
    if n_bytes > _NUMBER_BYTES * n_values + _ROOM:
        raise DataError(
            f"{where}: the footer announces {format_bytes(n_bytes)} for {n_values} values. The file is "
            "damaged; write it again."
        )


def check_pages(
    contents: memoryview, footer: Footer, row_groups: Sequence[int], columns: Mapping[int, str]
) -> None:
    """Refuse row groups whose pages decode to more than the footer announces, or than there is memory.

    Parameters
    ----------
    contents : memoryview of bytes
        The file, at least where these columns are.
    footer : Footer
        Arrow's own would end the process where it contradicts itself.
    row_groups : sequence of int
    columns : mapping of int to str
        Numbers of the stored columns, and what errors call them.

    Raises
    ------
    DataError
    ChunkTooLargeError
    pyarrow.ArrowInvalid
        What is there is no page.
    """
    announced = 0
    for group in row_groups:
        for column, column_name in columns.items():
            size = int(footer.decoded[group, column])
            announced += size
            where = f"{footer.name}, row group {group}, column {column_name!r}"
            check_announced(size, int(footer.n_values[group, column]), where)
            try:
                found = decoded_bytes(
                    contents, int(footer.starts[group, column]), int(footer.sizes[group, column])
                )
            except (IndexError, ValueError, RecursionError) as error:
                raise pa.ArrowInvalid(f"{where}: a page's header cannot be read") from error
            if found > _COUNTED_AGAIN * size + _ROOM:
                raise DataError(
                    f"{where}: its pages would decode to {format_bytes(found)} where the footer announces "
                    f"{format_bytes(size)}. The file is damaged; write it again."
                )
    check_fits(announced, f"{footer.name}, row groups {row_groups[0]} to {row_groups[-1]},")


def decoded_bytes(contents: memoryview, start: int, size: int) -> int:
    """Return what the pages of a column, from `start` on, say that they decode to."""
    position, stop, total = start, start + size, 0
    while position < stop:
        header = _Header(contents, position)
        fields = header.struct(0)
        decoded, stored = fields[_UNCOMPRESSED], fields[_COMPRESSED]
        if decoded < 0 or stored < 0:
            raise ValueError("a negative size")
        total += decoded
        position = header.position + stored
    return total


class _Header:
    """A struct in Thrift's compact protocol, of which only the integers of the outermost are kept.

    Pages have no lists, sets or maps in their headers: here these are damage.
    """

    def __init__(self, contents: memoryview, position: int) -> None:
        self.contents, self.position = contents, position

    def struct(self, depth: int) -> dict[int, int]:
        """Read a struct; return its integers by field."""
        if depth > _DEEPEST:
            raise RecursionError
        found: dict[int, int] = {_UNCOMPRESSED: -1, _COMPRESSED: -1}
        field = 0
        while (byte := self._byte()) != 0:
            field = field + (byte >> 4) if byte >> 4 else self._integer()
            value = self._value(byte & 15, depth)
            if value is not None:
                found[field] = value
        return found

    def _value(self, kind: int, depth: int) -> int | None:
        match kind:
            case 1 | 2:
                pass  # a boolean is its type
            case 3:
                self.position += 1
            case 4 | 5 | 6:
                return self._integer()
            case 7:
                self.position += 8
            case 8:
                length = self._varint()
                self.position += length
            case 12:
                self.struct(depth + 1)
            case _:
                raise ValueError(f"type {kind}")
        return None

    def _byte(self) -> int:
        byte: int = self.contents[self.position]
        self.position += 1
        return byte

    def _varint(self) -> int:
        value = shift = 0
        while (byte := self._byte()) & 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            if shift > 63:
                raise ValueError("an integer without end")
        return value | byte << shift

    def _integer(self) -> int:
        value = self._varint()
        return value >> 1 ^ -(value & 1)
