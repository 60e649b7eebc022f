"""Delta tables: which files count, with which values of the partition, by the table's log."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import unquote

import pyarrow as pa

from dask_gmm.data.parquet.tables import DELTA_LOG
from dask_gmm.errors import DataError
from dask_gmm.storage.redaction import public_url

# What a reader need not do anything about: types of columns are compared file by file.
_HARMLESS = {"timestampNtz", "typeWidening", "typeWidening-preview", "v2Checkpoint", "vacuumProtocolCheck"}
_READS_AT_ONCE = 16

Found = tuple[dict[str, Any], dict[str, Any]]


def read_delta_log(
    fs: Any, root: str, listed: Mapping[str, dict[str, Any]]
) -> tuple[list[Found], tuple[str, ...]]:
    """Return the files of the table's newest version and the table's columns.

    Parameters
    ----------
    fs : fsspec file system
    root : str
        The table's folder.
    listed : mapping of str to dict
        Everything below it, as fsspec describes files.

    Returns
    -------
    files : list of (dict, dict)
        As fsspec describes the file, and the values of its partition.
    columns : tuple of str
        By the table's schema, which has those of the partition as well.

    Raises
    ------
    DataError
        deltalake is not installed; the log cannot be read, or asks for more than leaving files out.
    """
    # The log is copied to where deltalake opens any: it knows neither fsspec's options nor every path.
    with TemporaryDirectory(prefix="dask-gmm-") as folder, _naming_errors(root):
        _copy_log(fs, root, listed, Path(folder))
        table = _open_table(folder, root)
        actions = pa.table(table.get_add_actions(flatten=True)).to_pylist()
        schema = pa.schema(table.schema())
        keys = table.metadata().partition_columns
    files = [
        (_info(root, action["path"], listed), {key: action[f"partition.{key}"] for key in keys})
        for action in actions
    ]
    return files, tuple(schema.names)


def _open_table(folder: str, root: str) -> Any:
    try:
        from deltalake import DeltaTable
    except ImportError as error:
        raise DataError(
            f"{public_url(root)} is a Delta table, in which files lie that no longer count. deltalake reads "
            "its log and is not installed: pip install 'dask-gmm[delta]'."
        ) from error
    table = DeltaTable(folder)
    protocol, settings = table.protocol(), table.metadata().configuration
    features = set(protocol.reader_features or [])
    mapped = settings.get("delta.columnMapping.mode", "none") != "none"
    asked = features - _HARMLESS - {"columnMapping", "deletionVectors"}
    if mapped:
        asked.add("columnMapping")
    if "deletionVectors" in features and _has_deletion_vectors(table):
        asked.add("deletionVectors")
    if asked:
        raise DataError(
            f"The Delta table {public_url(root)} uses {', '.join(sorted(asked))}, which dask_gmm does not "
            "read: write its rows as plain Parquet, or (deletionVectors) run REORG TABLE ... APPLY (PURGE)."
        )
    return table


def _has_deletion_vectors(table: Any) -> bool:
    try:
        reader = pa.RecordBatchReader.from_stream(table.deletion_vectors())
        return any(batch.num_rows for batch in reader)
    except Exception:
        # Vectors in files of their own, which were not copied.
        return True


def _copy_log(fs: Any, root: str, listed: Mapping[str, Any], folder: Path) -> None:
    """Copy the log from the last checkpoint on."""
    prefix = f"{root}/{DELTA_LOG}/"
    names = [name for name in listed if name.startswith(prefix)]
    last = f"{prefix}_last_checkpoint"
    first = int(json.loads(fs.cat_file(last))["version"]) if last in listed else 0
    needed = [name for name in names if _version(name) is None or (_version(name) or 0) >= first]

    def copy(name: str) -> None:
        target = folder / DELTA_LOG / name.removeprefix(prefix)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(fs.cat_file(name))

    with ThreadPoolExecutor(_READS_AT_ONCE, thread_name_prefix="dask-gmm") as executor:
        list(executor.map(copy, needed))


def _version(name: str) -> int | None:
    digits = os.path.basename(name).partition(".")[0]
    return int(digits) if digits.isdigit() else None


def _info(root: str, path: str, listed: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    name = f"{root}/{unquote(path)}"
    if name not in listed:
        raise DataError(
            f"The log of the Delta table {public_url(root)} has the file {path}, which is not there: "
            "the table was copied without it or lies in several places. Copy it all or write plain Parquet."
        )
    return listed[name]


@contextmanager
def _naming_errors(root: str) -> Iterator[None]:
    """Turn what deltalake raises into a DataError; its panics are no Exceptions."""
    try:
        yield
    except (DataError, OSError):
        raise
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise DataError(f"The log of the Delta table {public_url(root)} cannot be read: {error}") from error
