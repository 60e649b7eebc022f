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
from typing import Any
from uuid import uuid4

# In an object store a living driver says so every few seconds ...
_BEAT_SECONDS = 5.0
# ... and one that is silent for this long is dead. Clocks of different machines are never compared.
_SILENCE_SECONDS = 20.0


class DriverError(RuntimeError):
    """Another process fits with the same checkpoint."""


class SingleDriver:
    """Refuses a second driver.

    Locally by a lock that the system lifts when the process ends, however it ends. In an object
    store by a note with the driver's name and time, which is checked before every save.

    Parameters
    ----------
    filesystem : fsspec.AbstractFileSystem
    path : str
        Of the checkpoint.
    local : bool
    """

    def __init__(self, filesystem: Any, path: str, local: bool) -> None:
        self._filesystem, self._path, self._local = filesystem, path, local
        self._name = uuid4().hex
        self._lock: Any = None
        self._beats = 0
        self._ended = Event()

    def begin(self) -> None:
        """Take the checkpoint.

        Raises
        ------
        DriverError
        """
        if self._local:
            self._begin_locally(Path(self._path))
            return
        other = self._note()
        if other is not None and not _died_here(other):
            sleep(_SILENCE_SECONDS)
            later = self._note()
            if later is not None and later != other:
                raise DriverError(_taken(self._path))
        self._write_note()
        self._beating = Thread(target=self._beat, daemon=True, name="dask-gmm-driver")
        self._beating.start()

    def confirm(self) -> None:
        """Check that the checkpoint is still this driver's.

        Raises
        ------
        DriverError
        """
        other = None if self._local else self._note()
        if other is not None and other["name"] != self._name:
            raise DriverError(_taken(self._path))

    def end(self) -> None:
        """Leave the checkpoint to others."""
        if self._local:
            self._lock_path.unlink(missing_ok=True)
            self._lock.close()
            return
        self._ended.set()
        self._beating.join()
        with suppress(OSError):
            self._filesystem.rm_file(f"{self._path}/driver")

    def _begin_locally(self, path: Path) -> None:
        self._lock_path = path.with_name(f".{path.name}.lock")
        self._lock = self._lock_path.open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._lock.close()
            raise DriverError(_taken(self._path)) from None
        # What a driver that was killed while it wrote has left behind.
        for left in path.parent.glob(f".{path.name}.*"):
            if left != self._lock_path:
                left.unlink(missing_ok=True)

    def _note(self) -> dict[str, Any] | None:
        try:
            note: dict[str, Any] = json.loads(self._filesystem.cat_file(f"{self._path}/driver"))
        except (FileNotFoundError, ValueError):
            return None
        return note

    def _write_note(self) -> None:
        self._beats += 1
        note = {"name": self._name, "host": gethostname(), "process": os.getpid(), "beats": self._beats}
        self._filesystem.pipe_file(f"{self._path}/driver", json.dumps(note).encode())

    def _beat(self) -> None:
        while not self._ended.wait(_BEAT_SECONDS):
            # A beat that fails is made up for by the next one; saving tells what is wrong with the store.
            with suppress(OSError):
                other = self._note()
                if other is None or other["name"] == self._name:
                    self._write_note()


def _died_here(note: dict[str, Any]) -> bool:
    """Whether the note is of a process of this machine that is no more."""
    if note.get("host") != gethostname():
        return False
    try:
        os.kill(int(note["process"]), 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return int(note["process"]) == os.getpid()


def _taken(path: str) -> str:
    return (
        f"Another process is fitting with the checkpoint {os.path.basename(path)}. "
        "Wait for it to end, or use another checkpoint."
    )
