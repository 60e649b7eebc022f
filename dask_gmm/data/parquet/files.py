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

from dask_gmm.data.fingerprint import version
from dask_gmm.data.retries import patiently
from dask_gmm.data.secrets import public_url, sent_url, without_secrets

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
        return File, (sent_url(self.path), self.size, self.stamp, self.partition)


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
        found = patiently(partial(_find, url, storage_options), f"{public_url(url)} cannot be listed")
        if not found:
            raise FileNotFoundError(
                f"There is no Parquet file at {public_url(url)!r}. A folder needs files named "
                f"{', '.join('*' + suffix for suffix in _SUFFIXES)}; give a glob to read others."
            )
        infos += found
    partitions = _typed([dict(_PARTITION.findall(info["name"])) for info in infos])
    files = [
        File(info["name"], int(info["size"]), version(info), tuple(values.items()))
        for info, values in zip(infos, partitions, strict=True)
    ]
    return Store(urls[0], storage_options), files


def _find(url: str, storage_options: Mapping[str, Any]) -> list[dict[str, Any]]:
    return sorted(_infos(url, storage_options), key=lambda info: natural_sort_key(info["name"]))


def _infos(url: str, storage_options: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
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
