"""The sizes that the pages of a Parquet file decode to, by their headers, before Arrow takes memory for them.

A footer may announce ten rows over a page that decompresses to gigabytes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa
from dask.utils import format_bytes

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.parquet.footer import Footer
from dask_gmm.data.parquet.thrift import I32, WHOLE, Fields, field, walk
from dask_gmm.errors import DataError

# Writers differ in what they count: dictionaries, headers.
_COUNTED_AGAIN, _ROOM = 2, 1 << 20
# A number takes less, in whatever encoding, with its levels and its entry in a dictionary; decimals are long.
_NUMBER_BYTES = 96
# Fields of Parquet's PageHeader by the identifiers in parquet.thrift.
_UNCOMPRESSED, _COMPRESSED = field(I32, 2), field(I32, 3)
# Nearly all headers are shorter than the first; Arrow reads none that is longer than the second.
_USUAL_HEADER, _LONGEST_HEADER = 1 << 7, 1 << 24


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
            except ValueError as error:
                raise pa.ArrowInvalid(f"{where}: a page's header cannot be read") from error
            if found > _COUNTED_AGAIN * size + _ROOM:
                raise DataError(
                    f"{where}: its pages would decode to {format_bytes(found)} where the footer announces "
                    f"{format_bytes(size)}. The file is damaged; write it again."
                )
    check_fits(announced, f"{footer.name}, row groups {row_groups[0]} to {row_groups[-1]},")


def decoded_bytes(contents: memoryview, start: int, size: int) -> int:
    """Return to how many bytes the pages of a column decode, by their headers.

    Raises
    ------
    ValueError
        What is there is no page.
    """
    position, stop, total = start, start + size, 0
    while position < stop:
        header = _header(contents, position)
        decoded, stored = (int(header.each(WHOLE, number, -1)[0]) for number in (_UNCOMPRESSED, _COMPRESSED))
        if decoded < 0 or stored < 0:
            raise ValueError("a negative size")
        total += decoded
        position += header.end + stored
    return total


def _header(contents: memoryview, position: int) -> Fields:
    """Return the fields of the header of a page, whose length nothing tells but the header itself."""
    length = _USUAL_HEADER
    while True:
        try:
            return walk(bytes(contents[position : position + length]))
        except ValueError:
            if length >= min(_LONGEST_HEADER, len(contents) - position):
                raise
        length = min(8 * length, _LONGEST_HEADER)
