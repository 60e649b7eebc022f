"""One driver at a time for a checkpoint: two that write to it would undo each other's work."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from pathlib import Path
from socket import gethostname
from threading import Event, Thread
from time import sleep
from typing import IO, Any, ClassVar
from uuid import uuid4

from dask_gmm.errors import DriverError
from dask_gmm.storage.atomic import remove_remains

# In an object store a living driver says so every few seconds ...
_BEAT_SECONDS = 5.0
# ... and one that is silent for this long is dead. Clocks of different machines are never compared.
_SILENCE_SECONDS = 20.0


class LocalDriver:
    """Refuses a second driver by a lock, which the system lifts when the process ends, however it ends.

    Parameters
    ----------
    path : Path
        The file of the checkpoint.
    """

    def __init__(self, path: Path) -> None:
        # Two paths to one file, such as a link, are one checkpoint.
        self._path = path.resolve()
        self._lock_path = self._path.with_name(f".{self._path.name}.lock")
        self._lock: IO[str] | None = None

    def begin(self) -> None:
        """Take the checkpoint, and clear what a driver that was killed has left of it.

        Raises
        ------
        DriverError
        """
        while self._lock is None:
            lock = self._lock_path.open("w")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                lock.close()
                raise DriverError(str(self._path)) from None
            if _is_at(lock, self._lock_path):
                self._lock = lock
            else:
                # A driver that ended has removed it between the two steps: another one counts now.
                lock.close()
        remove_remains(self._path)

    def confirm(self) -> None:
        """Do nothing: the lock holds."""

    def end(self) -> None:
        """Leave the checkpoint to others."""
        if self._lock is not None:
            with suppress(OSError):
                self._lock_path.unlink()
            self._lock.close()
            self._lock = None


def _is_at(file: IO[str], path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


class RemoteDriver:
    """Refuses a second driver by a note in the object store, which a living driver renews.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
    path : str
        The folder of the checkpoint in the file system.
    url : str
        What errors call the checkpoint.
    """

    # Drivers of this process: the number of the process does not tell them apart.
    _alive: ClassVar[set[str]] = set()

    def __init__(self, filesystem: Any, path: str, url: str) -> None:
        self._filesystem, self._place, self._url = filesystem, f"{path}/driver", url
        self._name = uuid4().hex
        self._beats = 0
        self._ended = Event()
        self._thread = Thread(target=self._beat, daemon=True, name="dask-gmm-driver")

    def begin(self) -> None:
        """Take the checkpoint.

        Raises
        ------
        DriverError
        """
        other = self._note()
        if other is not None and not self._is_dead(other):
            sleep(_SILENCE_SECONDS)
            if self._note() not in (None, other):
                raise DriverError(self._url)
        self._write_note()
        self._alive.add(self._name)
        self._thread.start()

    def confirm(self) -> None:
        """Check that the checkpoint is still this driver's.

        Raises
        ------
        DriverError
        """
        if not self._is_mine(self._note()):
            raise DriverError(self._url)

    def end(self) -> None:
        """Leave the checkpoint to others."""
        self._alive.discard(self._name)
        self._ended.set()
        # A store that hangs must not hold up the end.
        self._thread.join(_BEAT_SECONDS)
        with suppress(Exception):  # whatever the store's client raises: the note grows old by itself
            if self._is_mine(self._note()):
                self._filesystem.rm_file(self._place)

    def _note(self) -> dict[str, Any] | None:
        try:
            note: Any = json.loads(self._filesystem.cat_file(self._place))
        except (FileNotFoundError, ValueError):
            return None
        # Any other content is no note of a driver, and stops none.
        known = isinstance(note, dict) and isinstance(note.get("name"), str)
        return note if known and isinstance(note.get("process"), int) else None

    def _is_mine(self, note: dict[str, Any] | None) -> bool:
        return note is None or note["name"] == self._name

    def _write_note(self) -> None:
        self._beats += 1
        note = {"name": self._name, "host": gethostname(), "process": os.getpid(), "beats": self._beats}
        self._filesystem.pipe_file(self._place, json.dumps(note).encode())

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            # Whatever the store's client raises: the next beat makes up for it, and saving tells.
            with suppress(Exception):
                if self._is_mine(self._note()):
                    self._write_note()

    def _is_dead(self, note: dict[str, Any]) -> bool:
        """Whether the note is of a process of this machine that is no more."""
        if note.get("host") != gethostname():
            return False
        if note["process"] == os.getpid():
            # As in a container, where every driver is process 1.
            return note["name"] not in self._alive
        try:
            os.kill(int(note["process"]), 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            pass
        return False
