"""Which columns of Parquet files are features: numeric columns, or one column of lists as an embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dask_gmm.data.parquet.arrow_rows import list_length, plain_type
from dask_gmm.data.parquet.files import File
from dask_gmm.data.parquet.opening import full_schema, naming_errors, open_file, read_row_groups
from dask_gmm.errors import DataError
from dask_gmm.storage.location import Location


@dataclass(frozen=True, slots=True)
class Columns:
    """The columns that are read.

    Attributes
    ----------
    features : tuple of str
        Numeric columns; or one list column, the embedding.
    n_features : int
    dtype : dtype
        float32 if every feature is float32, else float64.
    embedding : bool
        The one feature column has lists, whose values are the features.
    everything : bool
        The user chose no columns, so that all columns of the files are features.
    weight : str or None
        A column of sample weights, which is no feature.
    keys : tuple of str
        Columns of any type that go with the rows.
    """

    features: tuple[str, ...]
    n_features: int
    dtype: np.dtype[Any]
    embedding: bool
    everything: bool
    weight: str | None
    keys: tuple[str, ...] = ()

    @property
    def numbers(self) -> list[str]:
        """Features, then the weight."""
        return [*self.features, *([] if self.weight is None else [self.weight])]

    @property
    def names(self) -> list[str]:
        """All columns that are read, each once."""
        return list(dict.fromkeys([*self.numbers, *self.keys]))


def choose_columns(
    store: Location, files: Sequence[File], names: Sequence[str] | None, weight: str | None = None
) -> Columns:
    """Choose the columns by the first file's schema.

    Parameters
    ----------
    store, files
        Where the files are.
    names : sequence of str, optional
        The features; by default all columns but the weight.
    weight : str, optional
        A column of sample weights, which is no feature.

    Raises
    ------
    DataError
        A column that is not there.
    TypeError
        Columns that are not numeric, or a list column among others.
    """
    opened = open_file(store, files[0])
    schema = full_schema(opened, files[0])
    chosen = default_columns(opened.schema) if names is None else names
    features = tuple(name for name in chosen if name != weight)
    _refuse_no_features(features, names, schema, files[0])
    refuse_missing([*features, *([weight] if weight else [])], schema.names, files[0])
    stored = {name: schema.field(name).type for name in [*features, *([weight] if weight else [])]}
    types = {name: plain_type(kind) for name, kind in stored.items()}
    embedding = len(features) == 1 and is_list(types[features[0]])
    if embedding:
        n_features = _list_size(store, files, features[0], types[features[0]])
        if n_features == 0:
            raise DataError(f"The lists in column {features[0]!r} of {files[0].name} are empty: no features.")
        types[features[0]] = types[features[0]].value_type
    _refuse_others(types, stored)
    return Columns(
        features=features,
        n_features=n_features if embedding else len(features),
        dtype=np.dtype(np.float32 if all(pa.types.is_float32(types[f]) for f in features) else np.float64),
        embedding=embedding,
        everything=names is None,
        weight=weight,
    )


def default_columns(schema: pa.Schema) -> list[str]:
    """Return every column but the index that pandas and dask store along."""
    try:
        index = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))["index_columns"]
        stored = {name for name in index if isinstance(name, str)}
    except (LookupError, TypeError, ValueError):
        # Other writers may keep anything under this name.
        stored = set()
    return [name for name in schema.names if name not in stored]


def is_list(kind: pa.DataType) -> bool:
    """Tell whether the values of a column are lists."""
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _refuse_no_features(
    features: Sequence[str], names: Sequence[str] | None, schema: pa.Schema, file: File
) -> None:
    twice = sorted({repr(name) for name in features if features.count(name) > 1})
    if features and not twice:
        return
    if names is not None:
        raise ValueError(f"columns={list(features)} must name at least one feature, and none twice.")
    if twice:
        raise DataError(
            f"{file.name} has several columns named {', '.join(twice)}, and columns={list(features)} must "
            "name at least one feature, and none twice: select others, or write it with a name for each."
        )
    others = " besides the index and the weight" if schema.names else ""
    raise DataError(f"{file.name} has no columns{others}, which could be features.")


def is_number(kind: pa.DataType) -> bool:
    """Tell whether the values of a column are real numbers."""
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def refuse_missing(names: Sequence[str], present: Sequence[str], file: File) -> None:
    """Raise DataError for columns that a file has not, or has several times."""
    missing = [repr(name) for name in names if present.count(name) != 1]
    if missing:
        raise DataError(
            f"{file.name} has no column (or several columns) named {', '.join(missing)}; "
            f"it has {', '.join(map(repr, present))}."
        )


def _refuse_others(types: Mapping[str, pa.DataType], stored: Mapping[str, pa.DataType]) -> None:
    refused = [f"{name!r} ({stored[name]})" for name, kind in types.items() if not is_number(kind)]
    if refused:
        raise TypeError(
            f"Columns that are not numeric: {', '.join(refused)}. Select features with columns=[...]: "
            "numeric columns, or one column of lists of numbers as an embedding."
        )


def _list_size(store: Location, files: Sequence[File], name: str, kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for file in files:
        opened = open_file(store, file)
        opened.check([name])
        (leaf,) = opened.stored_columns([name])[name]
        for group in np.flatnonzero(opened.footer.n_rows):
            n_values, n_rows = opened.footer.n_values[group, leaf], opened.footer.n_rows[group]
            if n_values % n_rows == 0 and opened.footer.n_nulls[group, leaf] == 0:
                return int(n_values // n_rows)
            # Empty lists count as one value and as a null: only the lists themselves tell.
            with naming_errors(f"{file.name}, row group {group}"):
                column = read_row_groups(store, file, [int(group)], [name]).column(0)
            column = column.drop_null()  # what becomes of null lists is decided elsewhere
            if not len(column):
                continue
            return list_length(column, f"{file.name}, row group {group}, column {name!r}")
    raise DataError(f"The lists in column {name!r} have no length: {files[0].name} has no rows.")
