"""Finding Parquet files wherever fsspec reaches, and putting them into order.

Order: files by their path in natural order (``part.2`` before ``part.10``, as dask sorts them), folder by
folder as the paths sort. Several URLs keep the order in which they are given. This is the order of rows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any
from urllib.parse import unquote

from dask.utils import natural_sort_key
from fsspec.core import has_magic

from dask_gmm.data.parquet.delta import read_delta_log
from dask_gmm.data.parquet.tables import has_delta_log, refuse_parts, refuse_tables
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import version
from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import public_url
from dask_gmm.storage.retries import patiently

_SUFFIXES = (".parquet", ".parq", ".pq")
_PARTITION = re.compile(r"([^/=]+)=([^/]*)/")
_NULL_PARTITION = "__HIVE_DEFAULT_PARTITION__"


@dataclass(frozen=True)
class File:
    """One Parquet file.

    Attributes
    ----------
    place : Location
        Its path in the file system of the files, whose options are not repeated for each of them.
    size : int
        Size in bytes.
    stamp : str
        A text that changes when the file is rewritten.
    partition : tuple of (str, value)
        Names and values of its hive partition, ``year=2020/`` in the path (integers, floats, texts, None), or
        of a Delta table's partition (what its schema says).
    """

    place: Location
    size: int
    stamp: str
    partition: tuple[tuple[str, Any], ...]

    @property
    def path(self) -> str:
        """The path in the file system; a URL where that is one of HTTP."""
        return self.place.url

    @property
    def name(self) -> str:
        """What an error calls the file."""
        return str(self.place)


@dataclass(frozen=True, slots=True)
class FoundFiles:
    """The Parquet files at one or several URLs.

    Attributes
    ----------
    store : Location
        Leads to the file system that has the files.
    files : list of File
        In row order.
    columns : tuple of str or None
        The columns of the Delta table that the files belong to; None where there is none, or several.
    """

    store: Location
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
        location = Location(url, storage_options)
        found = patiently(partial(_find, location), f"{location} cannot be listed")
        if not found:
            raise FileNotFoundError(
                f"There is no Parquet file at {str(location)!r}. A folder needs files named "
                f"{', '.join('*' + suffix for suffix in _SUFFIXES)}; give a glob to read others."
            )
        for info, partition, names in found:
            infos.append(info)
            partitions.append(partition)
            columns.append(names)
    by_path = _typed([dict(_PARTITION.findall(info["name"])) for info in infos])
    files = [
        File(
            Location(info["name"]),
            _size(info),
            version(info),
            tuple((stated if logged is None else logged).items()),
        )
        for info, logged, stated in zip(infos, partitions, by_path, strict=True)
    ]
    return FoundFiles(
        Location(urls[0], storage_options), files, columns[0] if len(set(columns)) == 1 else None
    )


# A file as fsspec describes it, and for those of a Delta table the values of the partition and the columns.
_Found = tuple[dict[str, Any], dict[str, Any] | None, tuple[str, ...] | None]


def _find(location: Location) -> list[_Found]:
    return sorted(_infos(location), key=lambda found: natural_sort_key(found[0]["name"]))


def _infos(location: Location) -> Iterator[_Found]:
    fs, path = location.open_filesystem()
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
