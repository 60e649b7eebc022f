"""Small files that are there as a whole or not at all, on any file system that fsspec knows."""

from __future__ import annotations

import os
import re
from pathlib import Path
from uuid import uuid4

from fsspec.implementations.local import LocalFileSystem

from dask_gmm.storage.location import Location
from dask_gmm.storage.redaction import public_url

_TEMPORARY = re.compile(r"[0-9a-f]{32}")


def write_atomically(location: Location, content: bytes) -> None:
    """Write a file so that a reader, now or after a crash, finds the old content or the new, never a part.

    A local file is written under a temporary name in the same folder, and then renamed. Elsewhere one
    request puts the whole content.

    Parameters
    ----------
    location : Location
        Where the file is to be; fsspec must be able to write there.
    content : bytes
        All of the file.

    Raises
    ------
    FileNotFoundError
        The local folder does not exist.
    """
    filesystem, path = location.open_filesystem()
    if isinstance(filesystem, LocalFileSystem):
        # A link stays a link: what it points to is replaced.
        _replace(Path(path).resolve(), content)
    else:
        # Not `open`: closing it after an error would leave a part of the content as the object.
        filesystem.pipe_file(path, content)


def read_whole(location: Location, *, prefix: bytes = b"") -> bytes:
    """Return the content of a file, or no more than its beginning where it does not begin with `prefix`.

    A file of another kind may be of any size, and is not read into memory.

    Parameters
    ----------
    location : Location
        Where the file is.
    prefix : bytes, optional
        What every file of the expected kind begins with.

    Raises
    ------
    FileNotFoundError
        There is no such file; the message names the URL without its credentials.
    IsADirectoryError
        The location is a folder.
    """
    filesystem, path = location.open_filesystem()
    try:
        with filesystem.open(path, "rb") as file:
            beginning: bytes = file.read(len(prefix))
            rest: bytes = file.read() if beginning == prefix else b""
            return beginning + rest
    except FileNotFoundError:
        # fsspec's own message may hold a signed URL.
        raise FileNotFoundError(f"There is no file {location}") from None
    except IsADirectoryError as error:
        raise IsADirectoryError(
            error.errno, "This is a folder, and a file is asked for", public_url(path)
        ) from None


def remove_remains(path: Path) -> None:
    """Remove the temporary files that killed writers of this local file left beside it.

    No writer may be at work meanwhile.
    """
    prefix = f".{path.name}."
    for left in path.parent.iterdir():
        if left.name.startswith(prefix) and _TEMPORARY.fullmatch(left.name.removeprefix(prefix)):
            left.unlink(missing_ok=True)


def _replace(path: Path, content: bytes) -> None:
    if not path.parent.is_dir():
        raise FileNotFoundError(f"There is no folder {path.parent} to write {path.name} to; make it first.")
    # mkstemp would give permissions to the owner alone, whatever the umask says.
    temporary = path.with_name(f".{path.name}.{uuid4().hex}")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Let the new name of a file survive a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
