"""Row groups to blocks, on the worker."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from dask_gmm.data.available_memory import check_fits
from dask_gmm.data.parquet.arrow_rows import columns_to_rows, lists_to_rows, nulls_as_nan
from dask_gmm.data.parquet.chunks import Piece
from dask_gmm.data.parquet.columns import Columns
from dask_gmm.data.parquet.filters import RowFilter
from dask_gmm.data.parquet.opening import naming_errors, read_row_groups
from dask_gmm.data.rows import NanRule, under_nan_rule, unknown_numbers
from dask_gmm.data.source import SAMPLE_WEIGHT, AlignedColumns, Block
from dask_gmm.errors import DataError
from dask_gmm.storage.location import Location


class ParquetReader:
    """Reads the chunks of one group."""

    def __init__(
        self,
        store: Location,
        pieces: Mapping[int, Piece],
        first_rows: Mapping[int, int] | None,
        columns: Columns,
        row_filter: RowFilter | None,
        nan: NanRule = "error",
    ) -> None:
        self.nan: NanRule = nan
        self.store, self.pieces, self.first_rows = store, pieces, first_rows
        self.columns, self.row_filter = columns, row_filter

    def read(self, index: int) -> Block:
        """Read chunk `index`.

        Raises
        ------
        DataError
            Damaged data, nulls, lists of other lengths, or a file that changed since it was listed.
        ChunkTooLargeError
            A row group is larger than memory.
        """
        piece = self.pieces[index]
        check_fits(piece.most_rows * self.columns.n_features * self.columns.dtype.itemsize, piece.name)
        table = self._table(piece)
        n_rows = table.num_rows
        if piece.n_rows not in (None, n_rows):
            raise DataError(
                f"{piece.name}: {n_rows} rows where {piece.n_rows} were announced. "
                "The file was changed since it was listed; call read_parquet again."
            )
        rows, columns = self._to_arrays(table, piece.name)
        keys = table.select(list(self.columns.keys)) if self.columns.keys else None
        numbers = partial(self._numbers, index, n_rows)
        block = Block(rows=rows, name=piece.name, index=index, numbers=numbers, columns=columns, keys=keys)
        return under_nan_rule(block, self.nan)

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: rows are read from files."""

    def _table(self, piece: Piece) -> pa.Table:
        names = self.columns.names
        if self.row_filter is None:
            with naming_errors(piece.name):
                return read_row_groups(self.store, piece.file, piece.row_groups, names)
        both = list(dict.fromkeys([*names, *self.row_filter.columns]))
        with naming_errors(piece.name):
            table = read_row_groups(self.store, piece.file, piece.row_groups, both)
        return self.row_filter.apply(table).select(names)

    def _to_arrays(self, table: pa.Table, name: str) -> tuple[NDArray[Any], AlignedColumns]:
        chosen = self.columns
        where = [f"{name}, column {column!r}" for column in chosen.numbers]
        features = [table.column(feature) for feature in chosen.features]
        if self.nan != "error":
            length = chosen.n_features if chosen.embedding else None
            features = [nulls_as_nan(column, length) for column in features]
        if chosen.embedding:
            rows = lists_to_rows(features[0], chosen.n_features, chosen.dtype, where[0])
        else:
            rows = columns_to_rows(features, chosen.dtype, where)
        if chosen.weight is None:
            return rows, {}
        weights = columns_to_rows([table.column(chosen.weight)], np.dtype(np.float64), where[-1:])[:, 0]
        return rows, {SAMPLE_WEIGHT: weights}

    def _numbers(self, index: int, n_rows: int) -> NDArray[np.int64]:
        if self.first_rows is None:
            return unknown_numbers(index, n_rows)
        return np.arange(self.first_rows[index], self.first_rows[index] + n_rows, dtype=np.int64)
