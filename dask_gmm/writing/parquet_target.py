"""Predictions in Parquet files."""

from __future__ import annotations

import io
import json
import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from dask_gmm.storage.atomic import write_atomically
from dask_gmm.storage.location import Location
from dask_gmm.writing.target import Column, Identity, Values, continues

_NOTE = "_dask_gmm_predictions.json"
_PART = re.compile(r"part\.[0-9]+\.parquet")


@dataclass(frozen=True)
class ParquetTarget:
    """A folder with one Parquet file per chunk.

    Attributes
    ----------
    location : Location
        The folder.
    n_chunks : int
        Number of chunks, and so of files once all are written.
    columns : tuple of Column
        What is written.
    only : str or None
        The column that says which rows are written; without it, all.
    """

    location: Location
    n_chunks: int
    columns: tuple[Column, ...]
    only: str | None = None

    def prepare(self, identity: Identity, overwrite: bool) -> None:
        """Make the folder with its note; see `Target.prepare`."""
        filesystem, path = self.location.open_filesystem()
        note_path = f"{path.rstrip('/')}/{_NOTE}"
        if filesystem.exists(path) and filesystem.find(path, maxdepth=1):
            note = json.loads(filesystem.cat_file(note_path)) if filesystem.exists(note_path) else None
            if continues(note, identity, overwrite, self.location):
                return
            # Nothing else that may be in the folder.
            for name in filesystem.find(path, maxdepth=1):
                if _PART.fullmatch(os.path.basename(name)):
                    filesystem.rm_file(name)
        filesystem.makedirs(path, exist_ok=True)
        write_atomically(self.location.child(_NOTE), json.dumps(identity).encode())

    def finished(self) -> set[int]:
        """Return the chunks whose file is there."""
        filesystem, path = self.location.open_filesystem()
        stored = {os.path.basename(name) for name in filesystem.find(path, maxdepth=1)}
        return {index for index in range(self.n_chunks) if self._name(index) in stored}

    def write(self, index: int, values: Values, keys: pa.Table | None) -> None:
        """Write the file of a chunk: keys first; one column of several values per row becomes several."""
        written = pa.table(dict(self._flat(values)))
        table = written if keys is None else keys
        for name in [] if keys is None else written.column_names:
            table = table.append_column(name, written.column(name))
        if self.only is not None:
            table = table.filter(pa.array(values[self.only]))
        file = io.BytesIO()
        pq.write_table(table, file, write_page_checksum=True)
        write_atomically(self.location.child(self._name(index)), file.getvalue())

    def _flat(self, values: Values) -> Iterable[tuple[str, NDArray[Any]]]:
        for column in self.columns:
            array = values[column.name]
            if column.n_columns is None:
                yield column.name, array
            else:
                yield from ((f"{column.name}_{k}", array[:, k]) for k in range(column.n_columns))

    def _name(self, index: int) -> str:
        return f"part.{index:0{len(str(max(0, self.n_chunks - 1)))}d}.parquet"
