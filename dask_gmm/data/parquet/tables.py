"""Folders whose Parquet files are the data only as far as a log says: Delta, Iceberg, Hudi, Spark's streams.

Such a folder keeps files that were replaced or deleted, so that reading all of them counts rows twice.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator
from typing import Any

from fsspec.core import has_magic

from dask_gmm.errors import DataError
from dask_gmm.storage.redaction import public_url

DELTA_LOG = "_delta_log"

_LISTED = "dask_gmm.read_parquet takes a list of files"
# What to do, by the kind of table.
_ADVICE = {
    "Delta": "give the folder of the table itself, which is read by its log",
    "Iceberg": "let pyiceberg say which files count: read_parquet([task.file.file_path for task in "
    "table.scan().plan_files()]), if no task has delete_files",
    "Hudi": f"let Hudi write the snapshot as plain Parquet, or say which files count: {_LISTED}",
    "Spark streaming": f"let Spark write it as plain Parquet, or say which files count: {_LISTED}",
}
_ICEBERG_METADATA = re.compile(r"version-hint\.text|.*\.metadata\.json(\.gz)?")
# Folders that lie inside a table: of a partition, or where Iceberg keeps the files.
_INSIDE = re.compile(r"[^=]+=.*|data")


def has_delta_log(root: str, names: Iterable[str]) -> bool:
    """Tell whether the folder, of which `names` are the files, is a Delta table."""
    return any(name.startswith(f"{root}/{DELTA_LOG}/") for name in names)


def refuse_tables(root: str, names: Iterable[str]) -> None:
    """Refuse a folder that is, or has somewhere below it, a table that a log describes.

    Raises
    ------
    DataError
        Naming the table and what to do.
    """
    for name in names:
        kind, place = _table_of(os.path.relpath(name, root))
        if kind:
            _refuse(kind, os.path.normpath(f"{root}/{place}"))


def refuse_parts(fs: Any, path: str) -> None:
    """Refuse a folder or glob that chooses among the files of a table, which its log does not know of.

    Raises
    ------
    DataError
    """
    for folder in _folders_above(path):
        try:
            below = fs.ls(folder, detail=False)
        except (OSError, ValueError):
            return
        names = [os.path.basename(each.rstrip("/")) for each in below]
        if "metadata" in names:
            inside = fs.ls(f"{folder}/metadata", detail=False)
            names += [f"metadata/{os.path.basename(each)}" for each in inside]
        for name in names:
            kind, _ = _table_of(name if "/" in name else f"{name}/")
            if kind:
                _refuse(kind, folder)


def _folders_above(path: str) -> Iterator[str]:
    """Yield the folders in which a table may begin that `path` is a part of."""
    globbed = has_magic(path)
    while has_magic(path):
        path = os.path.dirname(path)
    if globbed:
        yield path
    while _INSIDE.fullmatch(os.path.basename(path)):
        path = os.path.dirname(path)
        yield path


def _table_of(name: str) -> tuple[str | None, str]:
    """Return the kind of table that a file belongs to as part of the log, and the table's folder."""
    parts = name.split("/")
    for marker, kind in ((DELTA_LOG, "Delta"), (".hoodie", "Hudi"), ("_spark_metadata", "Spark streaming")):
        if marker in parts[:-1]:
            return kind, "/".join(parts[: parts.index(marker)])
    if len(parts) > 1 and parts[-2] == "metadata" and _ICEBERG_METADATA.fullmatch(parts[-1]):
        return "Iceberg", "/".join(parts[:-2])
    return None, ""


def _refuse(kind: str, place: str) -> None:
    raise DataError(
        f"{public_url(place)} is a {kind} table, in which files lie that no longer count: {_ADVICE[kind]}."
    )
