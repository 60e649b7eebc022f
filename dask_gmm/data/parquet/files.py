"""Parquet files anywhere fsspec reaches: find them and order them.

Order: files by their path in natural order (``part.2`` before ``part.10``, as dask sorts them), folder by
folder as the paths sort; several URLs keep the order they are given in. It is the row order of the source.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any
from urllib.parse import unquote

from dask.utils import natural_sort_key
from fsspec.core import has_magic, url_to_fs

from dask_gmm.data.parquet.delta import read_delta_log
from dask_gmm.data.parquet.tables import has_delta_log, refuse_parts, refuse_tables
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import version
from dask_gmm.storage.redaction import public_url, sent_url, without_secrets
from dask_gmm.storage.retries import patiently

_SUFFIXES = (".parquet", ".parq", ".pq")
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class Store:
    """Where files are, and the options to reach them; what is pickled or shown holds no credentials."""

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False, hash=False)

    def filesystem(self) -> Any:
        """Return the fsspec file system (fsspec keeps one per process and options)."""
        return url_to_fs(self.url, **self.storage_options)[0]

    def __reduce__(self) -> tuple[Any, ...]:
        return Store, (sent_url(self.url), without_secrets(self.storage_options))


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
    partition : tuple of (str, value)
        Names and values of its hive partition, ``year=2020/`` in the path (integers, floats, texts, None), or
        of a Delta table's partition (what its schema says).
    """

    path: str
    size: int
    stamp: str
    partition: tuple[tuple[str, Any], ...]

    @property
    def name(self) -> str:
        """What an error calls the file."""
        return public_url(self.path)

    def __reduce__(self) -> tuple[Any, ...]:
        return File, (sent_url(self.path), self.size, self.stamp, self.partition)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """What was found.

    Attributes
    ----------
    store : Store
    files : list of File
        In row order.
    columns : tuple of str or None
        The columns of the Delta table that the files belong to; None where there is none, or several.
    """

    store: Store
    files: list[File]
    columns: tuple[str, ...] | None


def find_files(urls: Sequence[str], storage_options: Mapping[str, Any]) -> FoundFiles:
    """List the Parquet files at URLs of files, folders or globs, in row order.

    In a folder, at any depth, these are the files named ``*.parquet``, ``*.parq`` or ``*.pq`` of which no
    part of the path below the folder starts with ``_`` or ``.``; in the folder of a Delta table, the files
    of its newest version. A path that exists is no glob, whatever characters it has.

    Raises
    ------
    FileNotFoundError
        Nothing is there.
    DataError
        A table whose log cannot be read, see `tables` and `delta`.
    """
    infos: list[dict[str, Any]] = []
    partitions: list[dict[str, Any] | None] = []
    columns: list[tuple[str, ...] | None] = []
    for url in urls:
        found = patiently(partial(_find, url, storage_options), f"{public_url(url)} cannot be listed")
        if not found:
            raise FileNotFoundError(
                f"There is no Parquet file at {public_url(url)!r}. A folder needs files named "
                f"{', '.join('*' + suffix for suffix in _SUFFIXES)}; give a glob to read others."
            )
        for info, partition, names in found:
            infos.append(info)
            partitions.append(partition)
            columns.append(names)
    by_path = _typed([dict(_PARTITION.findall(info["name"])) for info in infos])
    files = [
        File(info["name"], _size(info), version(info), tuple((stated if logged is None else logged).items()))
        for info, logged, stated in zip(infos, partitions, by_path, strict=True)
    ]
    return FoundFiles(Store(urls[0], storage_options), files, columns[0] if len(set(columns)) == 1 else None)


# A file as fsspec describes it, and for those of a Delta table the values of the partition and the columns.
_Found = tuple[dict[str, Any], dict[str, Any] | None, tuple[str, ...] | None]


def _find(url: str, storage_options: Mapping[str, Any]) -> list[_Found]:
    return sorted(_infos(url, storage_options), key=lambda found: natural_sort_key(found[0]["name"]))


def _infos(url: str, storage_options: Mapping[str, Any]) -> Iterator[_Found]:
    fs, path = url_to_fs(url, **storage_options)
    infos = _there(fs, path)
    if [info["name"] for info in infos] != [path] or infos[0]["type"] == "directory":
        refuse_parts(fs, path)
    for info in infos:
        if info["type"] == "directory":
            yield from _inside(fs, info["name"].rstrip("/"))
        else:
            yield info, None, None


def _there(fs: Any, path: str) -> list[dict[str, Any]]:
    """Return what is there under this very name, else what the name matches as a glob."""
    try:
        return [fs.info(path)]
    except Exception as error:
        # Stores have errors of their own for names that cannot be.
        if has_magic(path):
            return list(fs.glob(path, detail=True).values())
        if isinstance(error, FileNotFoundError):
            return []
        raise


def _inside(fs: Any, folder: str) -> Iterator[_Found]:
    listed = fs.find(folder, detail=True)
    if has_delta_log(folder, listed):
        files, columns = read_delta_log(fs, folder, listed)
        yield from ((info, partition, columns) for info, partition in files)
        return
    refuse_tables(folder, listed)
    yield from ((info, None, None) for name, info in listed.items() if _is_data(name, folder))


def _size(info: Mapping[str, Any]) -> int:
    if info["size"] is None:
        raise DataError(
            f"{public_url(info['name'])}: its server does not say how large it is, so that no part of it can "
            "be read. Copy it to a store that does."
        )
    return int(info["size"])


def _is_data(path: str, folder: str) -> bool:
    parts = os.path.relpath(path, folder).split("/")
    return path.endswith(_SUFFIXES) and not any(part.startswith(("_", ".")) for part in parts)


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
