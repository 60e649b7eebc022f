"""Cells of the grid to blocks, on the worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import pyarrow as pa

from dask_gmm.data.rows import NanRule, as_rows, stack_rows, under_nan_rule
from dask_gmm.data.sample_grid import SampleGrid
from dask_gmm.data.source import Block
from dask_gmm.data.zarr.variables import Variable
from dask_gmm.errors import DataError


@dataclass(frozen=True, slots=True)
class ZarrReader:
    """Reads cells of the grid; its pickle has addresses and a few numbers.

    Attributes
    ----------
    variables : tuple of Variable
    grid : SampleGrid
    feature_axis : int or None
        None where every variable is a feature.
    dtype : dtype
        Of the rows.
    nan : {'error', 'drop', 'keep'}
    keys : tuple of Variable
        What is read beside the rows.
    """

    variables: tuple[Variable, ...]
    grid: SampleGrid
    feature_axis: int | None
    dtype: np.dtype[Any]
    nan: NanRule
    keys: tuple[Variable, ...] = ()

    def read(self, index: int) -> Block:
        """Read cell `index`: each stored chunk in it once."""
        region = self.grid.region(index)
        if self.feature_axis is None:
            pieces = [partial(variable.read, region) for variable in self.variables]
            rows = stack_rows(pieces, self.grid.n_rows(index), self.dtype)
        else:
            rows = as_rows(self.variables[0].read(self._selection(region)), self.feature_axis, self.dtype)
        numbers = partial(self.grid.numbers, index)
        keys = self._keys_of(region) if self.keys else None
        block = Block(rows=rows, name=self.name(index), index=index, numbers=numbers, keys=keys)
        if self.nan == "error":
            self._refuse_missing(block)
        return under_nan_rule(block, self.nan)

    def _keys_of(self, region: tuple[slice, ...]) -> pa.Table:
        return pa.table({key.name: key.read(region).ravel() for key in self.keys})

    def _refuse_missing(self, block: Block) -> None:
        """Say which stored numbers stand for missing values where some do: nobody sees it in the rows."""
        marked = [variable for variable in self.variables if variable.marks_missing]
        if not marked or not np.isnan(block.rows).any():
            return
        bad = np.isnan(block.rows).any(axis=1)
        told = "; ".join(f"{variable!r}: {variable.unpacking}" for variable in marked)
        raise DataError(
            f"Input X contains NaN.\nThe first bad value is in row {block.numbers()[np.argmax(bad)]} "
            f"({block.name}), {bad.sum()} of its {len(bad)} rows are bad. The attributes of the arrays say "
            f'which numbers stand for missing values: {told}. Drop such rows with nan="drop", or read the '
            "numbers as they are stored with decode=False."
        )

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: there are no futures."""

    def name(self, index: int) -> str:
        """Return the keys of the stored chunks where cell `index` begins."""
        selection = self._selection(self.grid.region(index))
        return ", ".join(variable.key(selection) for variable in self.variables)

    def _selection(self, region: tuple[slice, ...]) -> tuple[slice, ...]:
        if self.feature_axis is None:
            return region
        n_features = self.variables[0].shape[self.feature_axis]
        return (*region[: self.feature_axis], slice(0, n_features), *region[self.feature_axis :])
