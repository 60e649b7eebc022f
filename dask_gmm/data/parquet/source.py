"""Parquet files as a source: made by `read_parquet`, read chunk by chunk, answered lazily."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import accumulate
from typing import Any

import dask.array as da
import numpy as np
from dask.base import tokenize
from numpy.typing import NDArray

from dask_gmm.data.answers import checked_answer
from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.parquet.chunks import Piece, count_rows, plan
from dask_gmm.data.parquet.columns import Columns, choose_columns, refuse_missing
from dask_gmm.data.parquet.files import File, find_files
from dask_gmm.data.parquet.filters import RowFilter
from dask_gmm.data.parquet.opening import full_schema, open_file
from dask_gmm.data.parquet.reader import ParquetReader
from dask_gmm.data.patient_reader import PatientReader
from dask_gmm.data.rows import NanRule, check_nan_rule
from dask_gmm.data.source import SAMPLE_WEIGHT, Answer, Chunk
from dask_gmm.data.splitting import MeasuredSource, split_source
from dask_gmm.storage.fingerprint import extended, of_parts
from dask_gmm.storage.location import Location


def read_parquet(
    url: str | os.PathLike[str] | Sequence[str | os.PathLike[str]],
    columns: str | Sequence[str] | None = None,
    filters: Any = None,
    storage_options: Mapping[str, Any] | None = None,
    *,
    nan: NanRule = "error",
    errors: Sequence[str] | None = None,
    correlations: Mapping[tuple[str, str], str] | None = None,
) -> ParquetSource | MeasuredSource:
    """Rows in Parquet files, read row group by row group in every pass.

    Only footers are read here. Files follow the natural order of their paths: ``part.2`` before ``part.10``.

    Parameters
    ----------
    url : str, path or sequence of them
        A file, a folder with files at any depth, or a glob; local or any URL that fsspec reads. A path that
        exists is no glob, whatever characters it has. The folder of a Delta table is read by its log, in its
        newest version, if deltalake is installed.
    columns : str or sequence of str, optional
        The features: numeric columns (also of the hive partition, ``year=2020/``), or one column of lists of
        one length, an embedding whose values are the features. Without it every column of the files, except
        an index that pandas or dask stored along; of a Delta table every column, those of the partition too.
    filters : list of tuples, list of lists of tuples, or pyarrow.dataset.Expression, optional
        Rows to use, as in `pandas.read_parquet`. Row groups that their statistics or their partition exclude
        are not read.
    storage_options : mapping, optional
        For fsspec. Credentials in it stay in this process: workers use their own environment or role.

    nan : {'error', 'drop', 'keep'}, default='error'
        Whether rows with a null or NaN are an error, or count for nothing. Predictions keep their positions,
        with label -1 and NaN elsewhere. With 'keep' they are values that were not observed, for an estimator
        with ``missing="em"``; for any other they are an error.

    errors : sequence of str, optional
        The columns of the features' standard errors, one for each feature in their order. 0 is an exact
        value, inf a missing one.
    correlations : mapping of (str, str) to str, optional
        Columns of the correlations between the errors of two features, by these:
        ``{("ra", "dec"): "ra_dec_corr"}``.

    Returns
    -------
    ParquetSource, or MeasuredSource with errors
        To be given to ``fit`` and the predictions.

    Raises
    ------
    FileNotFoundError
        There are no files.
    TypeError
        Columns that are not numeric.
    DataError
        A missing column, a schema that differs from the first file's, nulls, lists of several lengths, a
        damaged footer, an encrypted column; the message names the file and row group. A folder in which a
        log says which files count, unless it is Delta's: Iceberg, Hudi, Spark's streaming output.
    """
    if errors is not None:
        return _measured(url, columns, filters, storage_options, nan, errors, correlations or {})
    if correlations is not None:
        raise ValueError("correlations are of errors: give these, too.")
    urls = [os.fspath(item) for item in ([url] if isinstance(url, (str, os.PathLike)) else url)]
    found = find_files(urls, dict(storage_options or {}))
    store, files = found.store, found.files
    names = found.columns if columns is None else [columns] if isinstance(columns, str) else columns
    chosen = choose_columns(store, files, names)
    schema = full_schema(open_file(store, files[0]), files[0])
    row_filter = None if filters is None else RowFilter.of(filters, schema)
    chosen, pieces = plan(store, files, chosen, row_filter, nan)
    return ParquetSource(store, files, chosen, row_filter, pieces, nan)


def _measured(
    url: Any,
    columns: Any,
    filters: Any,
    storage_options: Mapping[str, Any] | None,
    nan: NanRule,
    errors: Sequence[str],
    correlations: Mapping[tuple[str, str], str],
) -> MeasuredSource:
    """Return rows with the errors that stand in columns of the same files."""
    if columns is None or isinstance(columns, str) or len(columns) != len(errors):
        raise ValueError(f"errors names a column for each of columns; got {errors} for {columns}.")
    wide = [*columns, *errors, *correlations.values()]
    source = read_parquet(url, wide, filters, storage_options, nan="keep")
    return split_source(source, len(columns), list(correlations), nan)


class ParquetSource(BaseSource):
    """Parquet files as rows; see `read_parquet`, which makes it."""

    stored = True

    def __init__(
        self,
        store: Location,
        files: Sequence[File],
        columns: Columns,
        row_filter: RowFilter | None,
        pieces: Sequence[Piece],
        nan: NanRule = "error",
    ) -> None:
        check_nan_rule(nan)
        self.nan: NanRule = nan
        self.store, self.files, self.columns, self.row_filter = store, files, columns, row_filter
        self.pieces = pieces
        self.n_features = columns.n_features
        self.dtype = columns.dtype
        self.feature_names = None if columns.embedding else columns.features
        row_bytes = self.n_features * self.dtype.itemsize
        self.chunks = [Chunk(piece.name, piece.n_rows, piece.most_rows * row_bytes) for piece in pieces]
        counts = [piece.n_rows for piece in pieces if piece.n_rows is not None]
        self.numbered = len(counts) == len(pieces)
        self.sample_shape = (sum(counts) if self.numbered else None,)
        self._first_rows: list[int] | None = list(accumulate(counts, initial=0)) if self.numbered else None

    def __repr__(self) -> str:
        rows = "unknown" if self.sample_shape[0] is None else f"{self.sample_shape[0]:,}"
        return (
            f"ParquetSource({str(self.store)!r}: {len(self.files)} files, "
            f"{len(self.chunks)} chunks, {rows} rows, {self.n_features} features, {self.dtype})"
        )

    def reader(self, indices: Sequence[int]) -> ParquetReader:
        """Return a reader of the chunks `indices`."""
        pieces = {index: self.pieces[index] for index in indices}
        known = self._first_rows
        first_rows = None if known is None else {index: known[index] for index in indices}
        return ParquetReader(self.store, pieces, first_rows, self.columns, self.row_filter, self.nan)

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a file is rewritten, or the choice of columns or rows."""
        chosen = [self.columns, self.row_filter, *([] if self.nan == "error" else [self.nan])]
        files = of_parts([*chosen, *((file.name, file.stamp) for file in self.files)])
        return extended(files, *columns)

    def take_column(self, name: str, values: Any) -> tuple[ParquetSource, Any]:
        """Return a source that reads sample weights with the rows, where they lie in the same files.

        Parameters
        ----------
        name : str
        values : str, Source, array-like, dask array or dask Series
            The name of a column (which is then no feature), or the same files with that one column
            (``read_parquet(url, columns=["w"])``) are read with the rows; other values are left to align.
        """
        if name != SAMPLE_WEIGHT:
            return self, values
        if self._is_own_column(values):
            (values,) = values.columns.features
        if not isinstance(values, str):
            return self, values
        names = None if self.columns.everything else self.columns.features
        columns = choose_columns(self.store, self.files, names, weight=values)
        columns, planned = plan(self.store, self.files, columns, self.row_filter, self.nan)
        return ParquetSource(self.store, self.files, columns, self.row_filter, planned, self.nan), None

    def select_features(self, names: Sequence[str]) -> ParquetSource:
        """Return the same rows with these columns as features; itself where it has not all of them."""
        own = self.feature_names
        if own is None or own == tuple(names) or not set(names) <= set(own):
            return self
        columns = choose_columns(self.store, self.files, names, weight=self.columns.weight)
        columns = replace(columns, dtype=self.dtype)
        return ParquetSource(self.store, self.files, columns, self.row_filter, self.pieces, self.nan)

    def with_keys(self, names: Sequence[str]) -> ParquetSource:
        """Return the same rows with these columns, of any type, as their keys.

        Raises
        ------
        DataError
            A column that is not there.
        """
        schema = full_schema(open_file(self.store, self.files[0]), self.files[0])
        refuse_missing(names, schema.names, self.files[0])
        columns = replace(self.columns, keys=tuple(names))
        return ParquetSource(self.store, self.files, columns, self.row_filter, self.pieces, self.nan)

    def with_nan(self, nan: NanRule) -> ParquetSource:
        """Return the same rows under another rule for a NaN or a null."""
        return ParquetSource(self.store, self.files, self.columns, self.row_filter, self.pieces, nan)

    def counted(self) -> tuple[ParquetSource, Sequence[int]]:
        """Count the rows that the filter leaves in each chunk, which reads its columns once."""
        pieces = self.pieces
        if self.row_filter is not None and not self.numbered:
            pieces = count_rows(self.store, pieces, self.row_filter)
        source = ParquetSource(self.store, self.files, self.columns, self.row_filter, pieces, self.nan)
        return source, [piece.n_rows for piece in pieces if piece.n_rows is not None]

    def _is_own_column(self, other: Any) -> bool:
        return (
            isinstance(other, ParquetSource)
            and other.n_features == 1
            and not other.columns.embedding
            and other.files == self.files
            and str(other.row_filter) == str(self.row_filter)
        )

    def apply(self, answer: Answer) -> da.Array:
        """Return the answer as a lazy array with a chunk for every chunk of the source."""
        readers = np.empty(len(self.chunks), dtype=object)
        for index in range(len(readers)):
            readers[index] = (PatientReader(self.reader([index])), index)
        token = tokenize(self.files, self.columns, str(self.row_filter), self.nan)
        counts = tuple(np.nan if chunk.n_rows is None else chunk.n_rows for chunk in self.chunks)
        columns = () if answer.n_columns is None else (answer.n_columns,)
        if not counts:
            return da.empty((0, *columns), dtype=answer.dtype)
        return da.map_blocks(
            _answer_chunk,
            da.from_array(readers, chunks=1, name=f"parquet-{token}"),
            answer,
            dtype=answer.dtype,
            chunks=(counts, *((size,) for size in columns)),
            new_axis=[1] if columns else None,
            meta=np.empty((0,) * (1 + len(columns)), dtype=answer.dtype),
        )


def _answer_chunk(reader: NDArray[np.object_], answer: Answer) -> NDArray[Any]:
    parquet, index = reader[0]
    return checked_answer(parquet.read(index), answer)
