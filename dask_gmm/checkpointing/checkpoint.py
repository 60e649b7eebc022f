"""A fit's state in a file after every pass, so that a fit that is killed goes on where it was.

Locally the checkpoint is one file, replaced as a whole. In an object store, where nothing can be replaced
safely, it is a folder of numbered objects, of which the newest complete one counts.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.checkpointing.driver import SingleDriver
from dask_gmm.container import ModelFileError, pack, unpack
from dask_gmm.data.atomic import read_whole, write_atomically
from dask_gmm.data.secrets import public_url
from dask_gmm.fitting.state import FitState, from_plain, to_plain

# Objects older than the newest that stay, should the newest prove unreadable.
_KEPT_OBJECTS = 2


class CheckpointError(ValueError):
    """A checkpoint that does not belong to this fit, or that cannot be read."""


class Checkpoint:
    """Saves and restores the state of one fit.

    Parameters
    ----------
    url : str or path
        A local path or any fsspec URL.
    identity : mapping
        What must be the same for a saved state to be continued: parameters, shape and
        fingerprint of the data, release. Values as JSON has them.

    Raises
    ------
    CheckpointError
        Another process is fitting with this checkpoint.
    """

    def __init__(self, url: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        self._url = os.fspath(url)
        self._identity = dict(identity)
        self._filesystem, self._path = url_to_fs(self._url)
        self._local = isinstance(self._filesystem, LocalFileSystem)
        self._number = 0
        self._driver = SingleDriver(self._filesystem, self._path, self._local)

    def __enter__(self) -> Checkpoint:
        self._driver.begin()
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.end()

    def load(self) -> FitState | None:
        """Return the saved state, None where there is none.

        Raises
        ------
        CheckpointError
            The state belongs to another fit, with what differs, or no saved state can be read.
        """
        failure: Exception | None = None
        for url in self._saved():
            try:
                header, arrays = unpack(read_whole(url), public_url(url))
                state: FitState = from_plain(header["state"], arrays)
            except FileNotFoundError:
                continue
            except (ModelFileError, ValueError, LookupError, TypeError, AttributeError) as error:
                failure = error
                continue
            self._check(header["identity"], public_url(url))
            self._number = header["number"]
            return state
        if failure is not None:
            raise CheckpointError(
                f"The checkpoint {public_url(self._url)} cannot be read: {failure} "
                "Delete it to start the fit from the beginning."
            ) from failure
        return None

    def save(self, state: FitState) -> None:
        """Write the state, as a whole or not at all."""
        self._driver.confirm()
        self._number += 1
        arrays: dict[str, Any] = {}
        plain = to_plain(state, arrays)
        header = {"identity": self._identity, "number": self._number, "state": plain}
        if self._local:
            write_atomically(self._path, pack(header, arrays))
            return
        write_atomically(f"{self._url}/{self._number:09d}", pack(header, arrays))
        for old in self._saved()[_KEPT_OBJECTS:]:
            with suppress(OSError):
                self._filesystem.rm_file(url_to_fs(old)[1])

    def _saved(self) -> list[str]:
        """Return the URLs of saved states, the newest first."""
        if self._local:
            return [self._url]
        self._filesystem.invalidate_cache()
        try:
            names = [os.path.basename(path) for path in self._filesystem.ls(self._path, detail=False)]
        except FileNotFoundError:
            return []
        return [f"{self._url}/{name}" for name in sorted(filter(str.isdigit, names), reverse=True)]

    def _check(self, identity: Mapping[str, Any], where: str) -> None:
        names = [*self._identity, *(name for name in identity if name not in self._identity)]
        different = [name for name in names if identity.get(name) != self._identity.get(name)]
        if different:
            differences = "; ".join(
                f"{name} was {identity.get(name)!r}, is {self._identity.get(name)!r}" for name in different
            )
            raise CheckpointError(
                f"The checkpoint {where} belongs to another fit: {differences}. "
                "Use another checkpoint, or delete this one to start from the beginning."
            )
