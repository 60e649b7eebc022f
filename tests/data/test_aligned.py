"""Columns beside the rows, whatever the kind of both."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest

from dask_gmm.data.aligned import AlignedSource, with_column, with_weights
from dask_gmm.data.column_in_memory import ColumnInMemory
from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.dask_dataframe import DaskFrameSource
from dask_gmm.data.sample_grid import SampleGrid
from tests.data.source_contract import (
    ROWS,
    WEIGHTS,
    SourceContract,
    column_in_row_order,
    in_row_order,
    read_all,
)


class TestAlignedSource(SourceContract):
    answers = da.Array

    def source(self, rows, folder):
        source = DaskArraySource(da.from_array(rows, chunks=(16, 3)))
        return with_column(source, "other", np.arange(60))


class TestAlignedImages(SourceContract):
    """Several sample axes, cut along two."""

    answers = da.Array
    drops_missing = True

    def source(self, rows, folder):
        images = da.from_array(rows.reshape(6, 10, 3), chunks=(4, 3, 3))
        return with_column(DaskArraySource(images, nan="drop"), "other", np.arange(60.0).reshape(6, 10))


@pytest.fixture
def frame():
    return pd.DataFrame(ROWS, columns=["a", "b", "c"]).assign(w=WEIGHTS, e=2 * WEIGHTS)


def test_of_two_series_one_is_paired_and_the_other_aligned(frame):
    lazy = dd.from_pandas(frame, npartitions=4)
    source = with_column(with_weights(DaskFrameSource(lazy[["a", "b", "c"]]), lazy["w"]), "errors", lazy["e"])
    assert isinstance(source, AlignedSource)
    assert list(source.columns) == ["errors"]
    np.testing.assert_array_equal(column_in_row_order(source, "sample_weight"), frame["w"])
    np.testing.assert_array_equal(column_in_row_order(source, "errors"), frame["e"])


def test_partitions_are_counted_without_what_is_paired_with_them(frame):
    lazy = dd.from_pandas(frame, npartitions=4)
    source = with_weights(DaskFrameSource(lazy[["a", "b", "c"]]), lazy["w"])
    source = with_column(source, "errors", frame["e"].to_numpy())
    assert [chunk.n_rows for chunk in source.chunks] == [15, 15, 15, 15]
    np.testing.assert_array_equal(column_in_row_order(source, "sample_weight"), frame["w"])
    np.testing.assert_array_equal(column_in_row_order(source, "errors"), frame["e"])


def test_a_column_that_turns_out_shorter_is_named():
    rows = da.from_array(ROWS, chunks=(20, 3))
    source = DaskArraySource(rows[rows[:, 0] > -9])
    short = da.from_array(WEIGHTS, chunks=20)
    with pytest.raises(ValueError, match=r"errors has \d+ values here, X has 20 rows"):
        read_all(with_column(source, "errors", short[short > 0.5]))


def test_a_column_in_memory_is_a_source():
    column = ColumnInMemory(np.arange(12).reshape(3, 4), SampleGrid.regular((3, 4), (2, 2)), "errors")
    assert [len(block.rows) for block in read_all(column)] == [4, 4, 2, 2]
    np.testing.assert_array_equal(in_row_order(column)[:, 0], np.arange(12.0))
