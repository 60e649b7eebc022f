"""Small files that are there as a whole or not at all, on any file system that fsspec knows."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from uuid import uuid4

from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from dask_gmm.storage.redaction import public_url

_TEMPORARY = re.compile(r"[0-9a-f]{32}")


def write_atomically(
    url: str | os.PathLike[str], content: bytes, storage_options: Mapping[str, Any] | None = None
) -> None:
    """Write a file so that a reader, now or after a crash, finds the old content or the new, never a part.

    Locally through a temporary file in the same folder; elsewhere with one PUT of the whole.

    Parameters
    ----------
    url : str or path
        A path, or any URL that fsspec can write to.
    content : bytes
    storage_options : mapping, optional
        For the fsspec file system.

    Raises
    ------
    FileNotFoundError
        The local folder does not exist.
    """
    filesystem, path = url_to_fs(os.fspath(url), **(storage_options or {}))
    if isinstance(filesystem, LocalFileSystem):
        # A link stays a link: what it points to is replaced.
        _replace(Path(path).resolve(), content)
    else:
        # Not `open`: closing it after an error would leave a part of the content as the object.
        filesystem.pipe_file(path, content)


def read_whole(
    url: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None, *, prefix: bytes = b""
) -> bytes:
    """Return the content of a file, or only its beginning if that is not `prefix`: it may be of any size.

    Raises
    ------
    FileNotFoundError
        Naming the URL without its credentials.
    IsADirectoryError
        It is a folder.
    """
    filesystem, path = url_to_fs(os.fspath(url), **(storage_options or {}))
    try:
        with filesystem.open(path, "rb") as file:
            beginning: bytes = file.read(len(prefix))
            rest: bytes = file.read() if beginning == prefix else b""
            return beginning + rest
    except FileNotFoundError:
        # fsspec's own message may hold a signed URL.
        raise FileNotFoundError(f"There is no file {public_url(os.fspath(url))}") from None
    except IsADirectoryError as error:
        raise IsADirectoryError(
            error.errno, "This is a folder, and a file is asked for", public_url(path)
        ) from None


def remove_remains(path: Path) -> None:
    """Remove what writers of this local file have left beside it that were killed; none may be at work."""
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
    """Make the new name last through a power failure."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
