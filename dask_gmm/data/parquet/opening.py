"""Open Parquet files: their footer once per process, then any of their row groups."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache, reduce
from itertools import accumulate, chain
from operator import and_
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
import pyarrow.parquet as pq
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.data.parquet.files import File, Store
from dask_gmm.data.parquet.remote import RangeHandler, column_ranges, fetch
from dask_gmm.data.retries import patiently
from dask_gmm.data.source import DataError

# Footers of files in use, so that reading a file's row groups one by one parses its footer once.
_OPEN_FILES = 32


def open_file(store: Store, file: File) -> pads.ParquetFileFragment:
    """Return the file as an Arrow fragment, with its footer.

    Raises
    ------
    DataError
        The file is not a whole Parquet file.
    StoreError
    """

    def named() -> pads.ParquetFileFragment:
        with naming(file.name):
            return _open(store.filesystem(), file)

    return patiently(named, "A footer cannot be read")


@lru_cache(maxsize=_OPEN_FILES)
def _open(fs: Any, file: File) -> pads.ParquetFileFragment:
    local = isinstance(fs, LocalFileSystem)
    fragment = pads.ParquetFileFormat().make_fragment(
        file.path,
        filesystem=pafs.LocalFileSystem() if local else pafs.PyFileSystem(RangeHandler(fs, file.size)),
        partition_expression=_partition_expression(file),
    )
    fragment.ensure_complete_metadata()
    return fragment


def _partition_expression(file: File) -> pads.Expression | None:
    terms = [
        pads.field(key).is_null() if value is None else pads.field(key) == pads.scalar(value)
        for key, value in file.partition
    ]
    return reduce(and_, terms) if terms else None


def full_schema(fragment: pads.ParquetFileFragment, file: File) -> pa.Schema:
    """Return the file's own schema followed by its partition's columns."""
    schema = fragment.physical_schema
    for key, value in file.partition:
        if schema.get_field_index(key) < 0:
            schema = schema.append(pa.field(key, pa.scalar(value).type))
    return schema


def stored_columns(metadata: Any, names: Iterable[str]) -> dict[str, list[int]]:
    """Return the numbers of the stored columns that Arrow reads for each name, that of the same path first.

    A list or struct is stored under longer paths; a column of the partition is not stored.
    """
    found: dict[str, list[int]] = {name: [] for name in names}
    for number in range(metadata.num_columns):
        path = metadata.schema.column(number).path
        for prefix in accumulate(path.split("."), "{}.{}".format):
            if prefix in found:
                found[prefix].insert(0 if prefix == path else len(found[prefix]), number)
    return found


def read_row_groups(store: Store, file: File, row_groups: Sequence[int], names: Sequence[str]) -> pa.Table:
    """Read columns, of the file and of its partition.

    Raises
    ------
    DataError
        A page that cannot be decoded or differs from its checksum.
    """
    fs = store.filesystem()
    fragment = _open(fs, file)
    metadata = fragment.metadata
    present = set(fragment.physical_schema.names)
    stored = [name for name in names if name in present]
    local = isinstance(fs, LocalFileSystem)
    if local:
        source = file.path
    else:
        numbers = set(chain.from_iterable(stored_columns(metadata, stored).values()))
        source = fetch(fs, file.path, file.size, column_ranges(metadata, row_groups, numbers))
    with pq.ParquetFile(
        source, metadata=metadata, memory_map=local, page_checksum_verification=True
    ) as parquet:
        table = parquet.read_row_groups(list(row_groups), columns=stored, use_threads=False)
    for key, value in file.partition:
        if key in names and key not in stored:
            table = table.append_column(key, pa.repeat(pa.scalar(value), table.num_rows))
    return table.select(names)


@contextmanager
def naming(name: str) -> Iterator[None]:
    """Turn Arrow's complaints about stored bytes into a DataError that names the file and row groups.

    Errors of the operating system or the network pass (they may be gone at the next try), with a note.
    """
    try:
        yield
    except DataError:
        raise
    except Exception as error:
        undecodable = isinstance(error, pa.ArrowInvalid) or (type(error) is OSError and error.errno is None)
        if undecodable:
            raise DataError(
                f"{name}: cannot be read as Parquet. The file is damaged, cut short or was changed since it "
                f"was listed: {error}"
            ) from error
        error.add_note(f"while reading {name}")
        raise
