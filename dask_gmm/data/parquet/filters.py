"""Conditions on rows: the columns they look at, the row groups they exclude, the rows they keep."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.parquet as pq

from dask_gmm.data.parquet.files import File
from dask_gmm.errors import DataError


@dataclass(frozen=True)
class RowFilter:
    """A condition on rows, and the columns that it looks at.

    Attributes
    ----------
    expression : pyarrow.dataset.Expression
    columns : tuple of str
    """

    expression: pads.Expression
    columns: tuple[str, ...]

    @classmethod
    def of(cls, filters: Any, schema: pa.Schema) -> RowFilter:
        """Return the filter for `filters`, in the forms that pandas takes, on data of this schema.

        Raises
        ------
        DataError
            It does not fit the schema.
        """
        expression = filters if isinstance(filters, pads.Expression) else pq.filters_to_expression(filters)
        nothing = schema.empty_table()
        try:
            nothing.filter(expression)
        except pa.ArrowException as error:
            raise DataError(f"filters={filters!r} do not fit the columns {schema.names}: {error}") from error
        return cls(expression, tuple(_needed(expression, nothing, schema.names)))

    def __str__(self) -> str:
        return str(self.expression)

    def row_groups(self, fragment: pads.ParquetFileFragment, schema: pa.Schema) -> list[int]:
        """Return the row groups that neither their statistics nor the partition exclude."""
        parts = fragment.split_by_row_group(self.expression, schema=schema)
        return [group.id for part in parts for group in part.row_groups]

    def decided_by(self, file: File) -> bool:
        """Tell whether the filter, which does not exclude the file, looks at its partition only.

        Statistics of row groups exclude, but never confirm: they leave NaN out.
        """
        return set(self.columns) <= dict(file.partition).keys()

    def apply(self, table: pa.Table) -> pa.Table:
        """Return the rows to keep, in order."""
        return pads.dataset(table).to_table(filter=self.expression, use_threads=False)


def _needed(expression: pads.Expression, nothing: pa.Table, names: list[str]) -> list[str]:
    """Return those of the names without which the expression does not fit the empty table."""
    try:
        nothing.drop_columns(names).filter(expression)
    except pa.ArrowException:
        if len(names) <= 1:
            return names
        half = len(names) // 2
        return _needed(expression, nothing, names[:half]) + _needed(expression, nothing, names[half:])
    return []
