"""The state of a fit in a file after every pass, so that a killed fit goes on where it was.

Locally the checkpoint is one file, replaced as a whole. In an object store, where nothing can be replaced
safely, it is a folder of numbered objects, of which the newest complete one counts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from fsspec.implementations.local import LocalFileSystem

from dask_gmm.checkpointing.driver import LocalDriver, RemoteDriver
from dask_gmm.errors import CheckpointError, ModelFileError
from dask_gmm.fitting.state import FitState, from_plain, to_plain
from dask_gmm.storage.atomic import read_whole, write_atomically
from dask_gmm.storage.container import MALFORMED, pack, reason, unpack
from dask_gmm.storage.location import Location
from dask_gmm.storage.retries import patiently

_T = TypeVar("_T")

# Objects older than the newest that stay, should the newest prove unreadable.
_KEPT_OBJECTS = 2


class Checkpoint:
    """Saves and restores the state of one fit, as a context in which no other process may do so.

    Parameters
    ----------
    url : str or path
        A local path or any fsspec URL.
    identity : mapping
        What must be the same for a saved state to be continued: parameters, shape and fingerprint of the
        data, release. Values that JSON can express.

    Raises
    ------
    DriverError
        Another process is fitting with this checkpoint.
    StoreError
        Its place cannot be read or written; the message names the URL without credentials.
    """

    def __init__(self, url: str | os.PathLike[str], identity: Mapping[str, Any]) -> None:
        location = Location.of(url)
        self._shown = str(location)
        self._identity = dict(identity)
        self._filesystem, self._path = location.open_filesystem()
        self._local = isinstance(self._filesystem, LocalFileSystem)
        self._location = Location(self._path) if self._local else location
        self._number = 0
        self._driver = (
            LocalDriver(Path(self._path))
            if self._local
            else RemoteDriver(self._filesystem, self._path, self._shown)
        )

    @property
    def data_known(self) -> bool:
        """Whether the identity tells the rows from all others."""
        return self._identity.get("data") is not None

    def __enter__(self) -> Checkpoint:
        self._patiently("used", self._driver.begin)
        return self

    def __exit__(self, *_: object) -> None:
        self._driver.end()

    def load(self, check: Callable[[FitState], None] | None = None) -> FitState | None:
        """Return the saved state, None where there is none.

        Parameters
        ----------
        check : callable, optional
            Raises a ValueError that says why the fit cannot go on from a state.

        Raises
        ------
        CheckpointError
            The state belongs to another fit, with what differs, or no saved state can be read.
        """
        failure: ModelFileError | None = None
        for location in self._patiently("listed", self._saved):
            try:
                content = self._patiently("read", partial(read_whole, location))
                header, arrays = unpack(content, str(location))
            except FileNotFoundError:
                continue
            except ModelFileError as error:
                failure = error
                continue
            return self._restored(header, arrays, str(location), check)
        if failure is not None:
            raise CheckpointError(
                f"The checkpoint {self._shown} cannot be used: {failure} "
                "Delete it to start the fit from the beginning."
            ) from failure
        return None

    def save(self, state: FitState) -> None:
        """Write the state, as a whole or not at all."""
        self._patiently("saved", self._driver.confirm)
        self._number += 1
        arrays: dict[str, Any] = {}
        plain = to_plain(state, arrays)
        content = pack({"identity": self._identity, "number": self._number, "state": plain}, arrays)
        location = self._location if self._local else self._location.child(f"{self._number:09d}")
        self._patiently("saved; the state before is whole", partial(write_atomically, location, content))
        if not self._local:
            with suppress(Exception):  # whatever the store's client raises: old objects do no harm
                for old in self._saved()[_KEPT_OBJECTS:]:
                    self._filesystem.rm_file(old.open_filesystem()[1])

    def _patiently(self, what: str, action: Callable[[], _T]) -> _T:
        return patiently(action, f"The checkpoint {self._shown} cannot be {what}")

    def _saved(self) -> list[Location]:
        """Return where saved states are, the newest first."""
        if self._local:
            return [self._location]
        self._filesystem.invalidate_cache()
        try:
            names = [os.path.basename(path) for path in self._filesystem.ls(self._path, detail=False)]
        except FileNotFoundError:
            return []
        return [self._location.child(name) for name in sorted(filter(str.isdigit, names), reverse=True)]

    def _restored(
        self,
        header: Mapping[str, Any],
        arrays: Mapping[str, Any],
        where: str,
        check: Callable[[FitState], None] | None,
    ) -> FitState:
        try:
            if "state" not in header:
                # It may be a model, which the message must not advise to delete.
                raise CheckpointError(f"{where} is no checkpoint of a fit: use another name.")
            identity, number = header.get("identity"), header.get("number")
            if not isinstance(identity, dict) or type(number) is not int or number < 0:
                raise ValueError("it has no identity or number")
            self._check(identity, where)
            state = from_plain(header["state"], arrays)
            if not isinstance(state, FitState):
                raise TypeError(f"its state is a {type(state).__name__}")
            if check is not None:
                check(state)
        except CheckpointError:
            raise
        except MALFORMED as error:
            # The checksum is right: of another release, or made by other means than `save`.
            raise CheckpointError(
                f"{where} is no checkpoint that this fit can go on from: {reason(error)}. "
                "Use another checkpoint, or delete this one to start from the beginning."
            ) from error
        self._number = number
        return state

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
