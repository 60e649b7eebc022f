"""Which columns of Parquet files are features: numeric columns, or one column of lists as an embedding."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from dask_gmm.data.parquet.files import File, Store
from dask_gmm.data.parquet.opening import full_schema, open_file, stored_columns
from dask_gmm.data.source import DataError


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
    everything : bool
        Nobody chose: the features are all columns of the files.
    weight : str or None
        A column of sample weights.
    """

    features: tuple[str, ...]
    n_features: int
    dtype: np.dtype[Any]
    embedding: bool
    everything: bool
    weight: str | None

    @property
    def names(self) -> list[str]:
        """Features, then the weight."""
        return [*self.features, *([] if self.weight is None else [self.weight])]


def choose_columns(
    store: Store, files: Sequence[File], names: Sequence[str] | None, weight: str | None = None
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
    fragment = open_file(store, files[0])
    schema = full_schema(fragment, files[0])
    chosen = default_columns(fragment.physical_schema) if names is None else names
    features = tuple(name for name in chosen if name != weight)
    if not features or len(set(features)) < len(features):
        raise ValueError(f"columns={list(features)} must name at least one feature, and none twice.")
    _refuse_missing([*features, *([weight] if weight else [])], schema.names, files[0])
    types = {name: schema.field(name).type for name in features}
    embedding = len(features) == 1 and is_list(types[features[0]])
    if embedding:
        n_features = _list_size(store, files, features[0], types[features[0]])
        types = {features[0]: types[features[0]].value_type}
    _refuse_others(types | ({weight: schema.field(weight).type} if weight else {}))
    return Columns(
        features=features,
        n_features=n_features if embedding else len(features),
        dtype=np.dtype(np.float32 if all(map(pa.types.is_float32, types.values())) else np.float64),
        embedding=embedding,
        everything=names is None,
        weight=weight,
    )


def default_columns(schema: pa.Schema) -> list[str]:
    """Return every column but the index that pandas and dask store along."""
    pandas = json.loads((schema.metadata or {}).get(b"pandas", b"{}"))
    index = [name for name in pandas.get("index_columns", []) if isinstance(name, str)]
    return [name for name in schema.names if name not in index]


def is_list(kind: pa.DataType) -> bool:
    """Tell whether the values of a column are lists."""
    checks = (pa.types.is_list, pa.types.is_large_list, pa.types.is_fixed_size_list)
    return any(check(kind) for check in checks)


def _is_number(kind: pa.DataType) -> bool:
    checks = (pa.types.is_integer, pa.types.is_floating, pa.types.is_boolean, pa.types.is_decimal)
    return any(check(kind) for check in checks)


def _refuse_missing(names: Sequence[str], present: Sequence[str], file: File) -> None:
    missing = [repr(name) for name in names if present.count(name) != 1]
    if missing:
        raise DataError(
            f"{file.name} has no column (or several columns) named {', '.join(missing)}; "
            f"it has {', '.join(map(repr, present))}."
        )


def _refuse_others(types: Mapping[str, pa.DataType]) -> None:
    refused = [f"{name!r} ({kind})" for name, kind in types.items() if not _is_number(kind)]
    if refused:
        raise TypeError(
            f"Columns that are not numeric: {', '.join(refused)}. Select features with columns=[...]: "
            "numeric columns, or one column of lists of numbers as an embedding."
        )


def _list_size(store: Store, files: Sequence[File], name: str, kind: pa.DataType) -> int:
    if pa.types.is_fixed_size_list(kind):
        return int(kind.list_size)
    for file in files:
        metadata = open_file(store, file).metadata
        stored = stored_columns(metadata, [name])[name][0]
        for row_group in map(metadata.row_group, range(metadata.num_row_groups)):
            if row_group.num_rows:
                return int(row_group.column(stored).num_values // row_group.num_rows)
    raise DataError(f"The lists in column {name!r} have no length: {files[0].name} has no rows.")
