"""Opening Parquet files: their footer once per process, then any of their row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, reduce
from itertools import accumulate, chain
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from dask_gmm.data.parquet.files import File
from dask_gmm.data.parquet.footer import Footer, parse_footer
from dask_gmm.data.parquet.pages import check_pages
from dask_gmm.data.parquet.remote import fetch_ranges, is_local, read_tail
from dask_gmm.errors import DataError
from dask_gmm.storage.location import Location
from dask_gmm.storage.retries import patiently

# Footers of files in use, so that reading a file's row groups one by one parses its footer once.
_OPEN_FILES = 32
# Row groups and columns whose pages were looked at: once is enough for all passes of this process.
_CHECKED: set[tuple[File, tuple[int, ...], tuple[int, ...]]] = set()


@dataclass(frozen=True, slots=True, eq=False)
class OpenFile:
    """A file whose footer has been read and checked.

    Attributes
    ----------
    fragment : pyarrow.dataset.ParquetFileFragment
        Made of the footer alone, so that it can be asked for everything but rows.
    footer : Footer
    paths : tuple of str
        The paths of the stored columns in the schema.
    whole : bool
        The server ignores byte ranges and sends whole files only.
    """

    fragment: pads.ParquetFileFragment
    footer: Footer
    paths: tuple[str, ...]
    whole: bool

    @property
    def schema(self) -> pa.Schema:
        """The schema of the file's own columns."""
        return self.fragment.physical_schema

    def stored_columns(self, names: Iterable[str]) -> dict[str, list[int]]:
        """Return the numbers of the stored columns that Arrow reads for each name, that of its path first.

        A list or struct is stored under longer paths; a column of the partition is not stored.
        """
        found: dict[str, list[int]] = {name: [] for name in names}
        for number, path in enumerate(self.paths):
            for prefix in accumulate(path.split("."), "{}.{}".format):
                if prefix in found:
                    found[prefix].insert(0 if prefix == path else len(found[prefix]), number)
        return found

    def check(self, names: Iterable[str], filtered: Iterable[str] = ()) -> None:
        """Refuse columns that cannot be read; those of `filtered` need sound statistics as well.

        Raises
        ------
        DataError
        """
        for name, columns in self.stored_columns({*names, *filtered}).items():
            self.footer.check(columns, name)
            if name in filtered:
                self.footer.check_statistics(columns, name)


def open_file(store: Location, file: File) -> OpenFile:
    """Return the file with its footer.

    Raises
    ------
    DataError
        The file is not a whole Parquet file, or its footer contradicts itself.
    StoreError
    """

    def named() -> OpenFile:
        with naming_errors(file.name):
            return _open(store.open_filesystem()[0], file)

    return patiently(named, "A footer cannot be read")


@lru_cache(maxsize=_OPEN_FILES)
def _open(fs: Any, file: File) -> OpenFile:
    tail = read_tail(fs, file)
    footer = parse_footer(tail.footer, tail.begin, file.name)
    # A file that ends like this one, so that Arrow reads nothing elsewhere.
    ending = b"".join([b"PAR1", tail.footer, len(tail.footer).to_bytes(4, "little"), b"PAR1"])
    fragment = pads.ParquetFileFormat().make_fragment(
        pa.py_buffer(ending), partition_expression=_partition_expression(file)
    )
    fragment.ensure_complete_metadata()
    metadata, _ = fragment.metadata, fragment.physical_schema
    if footer.n_values.shape != (metadata.num_row_groups, metadata.num_columns):
        raise DataError(f"{file.name}: cannot be read as Parquet. The file is damaged: write it again.")
    paths = tuple(metadata.schema.column(number).path for number in range(metadata.num_columns))
    return OpenFile(fragment, footer, paths, tail.whole)


def _partition_expression(file: File) -> pads.Expression | None:
    terms = [
        pads.field(key).is_null() if value is None else pads.field(key) == pads.scalar(value)
        for key, value in file.partition
    ]
    return reduce(and_, terms) if terms else None


def full_schema(opened: OpenFile, file: File) -> pa.Schema:
    """Return the file's own schema followed by its partition's columns."""
    schema = opened.schema
    for key, value in file.partition:
        if schema.get_field_index(key) < 0:
            schema = schema.append(pa.field(key, pa.scalar(value).type))
    return schema


def read_row_groups(store: Location, file: File, row_groups: Sequence[int], names: Sequence[str]) -> pa.Table:
    """Read columns, of the file and of its partition.

    Raises
    ------
    DataError
        A page that cannot be decoded, differs from its checksum, or would decode to more than the footer
        announces.
    """
    fs = store.open_filesystem()[0]
    opened = _open(fs, file)
    present = set(opened.schema.names)
    stored = [name for name in names if name in present]
    columns = sorted(set(chain.from_iterable(opened.stored_columns(stored).values())))
    if is_local(fs):
        contents = pa.memory_map(file.path).read_buffer()
    else:
        contents = fetch_ranges(fs, file, opened.footer.ranges(row_groups, columns), opened.whole)
    metadata = opened.fragment.metadata
    checked = file, tuple(row_groups), tuple(columns)
    if checked not in _CHECKED:
        names_of = {column: opened.paths[column] for column in columns}
        check_pages(memoryview(contents).cast("B"), opened.footer, row_groups, names_of)
        _CHECKED.add(checked)
    source = pa.BufferReader(contents)
    with pq.ParquetFile(source, metadata=metadata, page_checksum_verification=True) as parquet:
        table = parquet.read_row_groups(list(row_groups), columns=stored, use_threads=False)
    for key, value in file.partition:
        if key in names and key not in stored:
            table = table.append_column(key, pa.repeat(pa.scalar(value), table.num_rows))
    return table.select(names)


@contextmanager
def naming_errors(name: str) -> Iterator[None]:
    """Turn Arrow's complaints about stored bytes into a DataError that names the file and row groups.

    Errors of the operating system or the network pass (they may be gone at the next try), with a note.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        undecodable = isinstance(error, (pa.ArrowInvalid, pa.ArrowNotImplementedError, UnicodeDecodeError))
        if undecodable or (type(error) is OSError and error.errno is None):
            raise DataError(
                f"{name}: cannot be read as Parquet. The file is damaged, cut short or was changed since it "
                f"was listed: {error}"
            ) from error
        error.add_note(f"while reading {name}")
        raise
