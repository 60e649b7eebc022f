"""A place in a store, whose credentials stay in the process where they were given.

Readers and writers of Zarr and Parquet, checkpoints and model files name their places by a `Location`, so
that what they send to workers, log, show and raise is redacted in one place.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fsspec.core import url_to_fs

from dask_gmm.storage.redaction import public_url, sent_url, without_secrets


@dataclass(frozen=True)
class Location:
    """A URL or path, and the options to open it.

    The text of a location, its `repr` and its pickle hold no credentials. One that was pickled leads to the
    same place, where the process that opens it has credentials of its own (environment, configuration
    files, role).

    Attributes
    ----------
    url : str
        A local path or any URL of fsspec, with whatever credentials it was given.
    storage_options : mapping
        For the fsspec file system.
    """

    url: str
    storage_options: Mapping[str, Any] = field(default_factory=dict, hash=False)

    @classmethod
    def of(cls, url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Location:
        """Return the location that a user gives by these arguments."""
        return cls(os.fspath(url), dict(storage_options or {}))

    def open_filesystem(self) -> tuple[Any, str]:
        """Return the fsspec file system, one per process and options, and the path in it."""
        filesystem, path = url_to_fs(self.url, **self.storage_options)
        return filesystem, path

    def child(self, name: str) -> Location:
        """Return the location of `name` in the folder that this location is."""
        return Location(f"{self.url.rstrip('/')}/{name}", self.storage_options)

    def __str__(self) -> str:
        return public_url(self.url)

    def __repr__(self) -> str:
        return f"Location({str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Location, (sent_url(self.url), without_secrets(self.storage_options))

    def __dask_tokenize__(self) -> str:
        # Options say how to get there, not where, and may hold objects that have no stable token.
        return sent_url(self.url)
