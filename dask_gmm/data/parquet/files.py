"""Parquet files anywhere fsspec reaches: find them, order them, open them.

Order: files by their path in natural order (``part.2`` before ``part.10``, as dask sorts them), folder by
folder as the paths sort; several URLs keep the order they are given in. It is the row order of the source.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, reduce
from operator import and_
from typing import Any
from urllib.parse import unquote

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.fs as pafs
from dask.utils import natural_sort_key
from fsspec.core import has_magic, url_to_fs
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.data.parquet.ranges import Ranges
from dask_gmm.data.secrets import public_url, without_secrets
from dask_gmm.data.source import DataError

_SUFFIXES = (".parquet", ".parq", ".pq")
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"
# Footers of files in use, so that reading a file's row groups one by one parses its footer once.
_OPEN_FILES = 32


@dataclass(frozen=True)
class Store:
    """Where files are, and the options to reach them; what is pickled or shown holds no credentials."""

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def filesystem(self) -> Any:
        """Return the fsspec file system (fsspec keeps one per process and options)."""
        return url_to_fs(self.url, **self.storage_options)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (public_url(self.url), without_secrets(self.storage_options))


@dataclass(frozen=True)
class File:
    """One Parquet file.

    Attributes
    ----------
    path : str
        In its file system.
    size : int
        Bytes.
    stamp : str
        Changes when the file is rewritten.
    partition : tuple of (str, int, float, str or None)
        Names and values of its hive partition, ``year=2020/`` in the path.
    """

    path: str
    size: int
    stamp: str
    partition: tuple[tuple[str, int | float | str | None], ...]

    @property
    def name(self) -> str:
        """What an error calls the file."""
        return public_url(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return File, (public_url(self.path), self.size, self.stamp, self.partition)


def find_files(urls: Sequence[str], storage_options: Mapping[str, Any]) -> tuple[Store, list[File]]:
    """List the Parquet files at URLs of files, folders or globs, in row order.

    In a folder, at any depth, these are the files named ``*.parquet``, ``*.parq`` or ``*.pq`` of which no
    part of the path below the folder starts with ``_`` or ``.``.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    """
    infos: list[dict[str, Any]] = []
    for url in urls:
        found = sorted(_find(url, storage_options), key=lambda info: natural_sort_key(info["name"]))
        if not found:
            raise FileNotFoundError(
                f"There is no Parquet file at {public_url(url)!r}. A folder needs files named "
                f"{', '.join('*' + suffix for suffix in _SUFFIXES)}; give a glob to read others."
            )
        infos += found
    partitions = _typed([dict(_PARTITION.findall(info["name"])) for info in infos])
    files = [
        File(info["name"], int(info["size"]), _stamp(info), tuple(values.items()))
        for info, values in zip(infos, partitions, strict=True)
    ]
    return Store(urls[0], storage_options), files


def _find(url: str, storage_options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    fs, path = url_to_fs(url, **storage_options)
    try:
        found = fs.glob(path, detail=True).values() if has_magic(path) else [fs.info(path)]
    except FileNotFoundError:
        return
    for info in found:
        if info["type"] == "directory":
            inside = fs.find(info["name"], detail=True).values()
            yield from (item for item in inside if _is_data(item["name"], info["name"]))
        else:
            yield info


def _is_data(path: str, folder: str) -> bool:
    parts = os.path.relpath(path, folder).split("/")
    return path.endswith(_SUFFIXES) and not any(part.startswith(("_", ".")) for part in parts)


def _stamp(info: Mapping[str, Any]) -> str:
    return hashlib.sha256(repr(sorted(info.items(), key=str)).encode()).hexdigest()[:16]


def _typed(partitions: list[dict[str, str]]) -> list[dict[str, Any]]:
    """Make the values of each partition key integers where all are, else floats, else strings."""
    types = {
        key: _type_of(values.get(key) for values in partitions) for values in partitions for key in values
    }
    return [
        {
            key: None if value == _NULL_PARTITION else types[key](unquote(value))
            for key, value in values.items()
        }
        for values in partitions
    ]


def _type_of(values: Iterable[str | None]) -> type:
    present = [unquote(value) for value in values if value not in (None, _NULL_PARTITION)]
    for kind in (int, float):
        try:
            for value in present:
                kind(value)
        except ValueError:
            continue
        return kind
    return str


@lru_cache(maxsize=_OPEN_FILES)
def _open(fs: Any, file: File) -> pads.ParquetFileFragment:
    local = isinstance(fs, LocalFileSystem)
    options = pads.ParquetFragmentScanOptions(pre_buffer=not local, page_checksum_verification=True)
    return pads.ParquetFileFormat(default_fragment_scan_options=options).make_fragment(
        file.path,
        filesystem=pafs.LocalFileSystem(use_mmap=True) if local else pafs.PyFileSystem(Ranges(fs, file.size)),
        partition_expression=_partition_expression(file),
    )


def open_file(store: Store, file: File) -> pads.ParquetFileFragment:
    """Return the file as an Arrow fragment; its footer is read once per process while it is in use.

    Raises
    ------
    DataError
        The file is not a whole Parquet file.
    """
    with naming(file.name):
        fragment = _open(store.filesystem(), file)
        fragment.ensure_complete_metadata()
        return fragment


def full_schema(fragment: pads.ParquetFileFragment, file: File) -> pa.Schema:
    """Return the file's own schema followed by its partition's columns."""
    schema = fragment.physical_schema
    for key, value in file.partition:
        if schema.get_field_index(key) < 0:
            schema = schema.append(pa.field(key, pa.scalar(value).type))
    return schema


def _partition_expression(file: File) -> pads.Expression:
    terms = [
        pads.field(key).is_null() if value is None else pads.field(key) == pads.scalar(value)
        for key, value in file.partition
    ]
    return reduce(and_, terms) if terms else None


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
