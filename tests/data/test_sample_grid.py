from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.rows import (
    as_rows,
    check_nan_rule,
    check_piece,
    normal_feature_axis,
    stack_rows,
    unknown_numbers,
    without_nan_rows,
)
from dask_gmm.data.sample_grid import SampleGrid, cell_shape_lcm
from dask_gmm.data.source import Block, Chunk, byte_counts
from dask_gmm.errors import DataError

F64 = np.dtype(np.float64)

axes = st.lists(st.tuples(st.integers(1, 7), st.integers(1, 9)), min_size=1, max_size=4)
irregular = st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), min_size=1, max_size=3)


def check_cells(grid: SampleGrid) -> None:
    """Every cell holds what NumPy finds in its region, and the cells together hold every row once."""
    rows = np.arange(np.prod(grid.shape)).reshape(grid.shape)
    found = []
    for index in range(len(grid)):
        cell = rows[grid.region(index)]
        assert cell.shape == grid.cell_shape(index)
        assert cell.size == grid.n_rows(index)
        np.testing.assert_array_equal(grid.numbers(index), cell.reshape(-1))
        found.append(cell.reshape(-1))
    np.testing.assert_array_equal(np.sort(np.concatenate(found)), rows.reshape(-1))


@given(axes)
@settings(max_examples=60, deadline=None)
def test_regular_cells_cover_all_rows_once(axes):
    grid = SampleGrid.regular([n for n, _ in axes], [c for _, c in axes])
    check_cells(grid)
    assert tuple(map(sum, grid.sizes)) == grid.shape


@given(irregular)
@settings(max_examples=60, deadline=None)
def test_irregular_cells_cover_all_rows_once(sizes):
    grid = SampleGrid.irregular(sizes)
    check_cells(grid)
    assert grid.sizes == tuple(map(tuple, sizes))


@given(axes)
@settings(max_examples=30, deadline=None)
def test_irregular_grid_of_equal_cells_is_the_regular_one(axes):
    regular = SampleGrid.regular([n for n, _ in axes], [c for _, c in axes])
    assert SampleGrid.irregular(regular.sizes) == regular


def test_cells_are_in_c_order():
    grid = SampleGrid.regular((4, 6), (2, 3))
    assert [grid.position(i) for i in range(len(grid))] == list(itertools.product(range(2), range(2)))
    assert grid.region(1) == (slice(0, 2), slice(3, 6))


def test_grid_of_many_regular_cells_pickles_small():
    assert len(pickle.dumps(SampleGrid.regular((10**9, 10**6), (100, 100)))) < 300
    assert len(pickle.dumps(SampleGrid.irregular([(10,) * 100_000 + (3,)]))) < 300


def test_no_samples_are_one_empty_cell():
    grid = SampleGrid.regular((0, 5), (2, 5))
    assert len(grid) == 1
    assert grid.sizes == ((0,), (5,))
    assert grid.numbers(0).shape == (0,)


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("feature_axis", [0, 1, 2, 3])
def test_rows_are_in_c_order_of_the_samples(feature_axis, order):
    piece = np.random.default_rng(0).normal(size=(2, 3, 4, 5)).copy(order)
    rows = as_rows(piece, feature_axis, F64)
    expected = np.moveaxis(piece, feature_axis, -1).reshape(-1, piece.shape[feature_axis])
    np.testing.assert_array_equal(rows, expected)
    assert rows.flags.c_contiguous or rows.flags.f_contiguous


@pytest.mark.parametrize(
    ("piece", "feature_axis"),
    [
        (np.zeros((6, 3)), 1),
        (np.zeros((6, 3), order="F"), 1),
        (np.zeros((3, 6)), 0),
        (np.zeros((4, 5, 3)), 2),
        (np.zeros((3, 4, 5)), 0),
    ],
)
def test_rows_that_lie_right_are_not_copied(piece, feature_axis):
    assert np.shares_memory(as_rows(piece, feature_axis, F64), piece)


def test_strided_and_foreign_rows_become_contiguous_and_native():
    stored = np.arange(24, dtype=">i2").reshape(4, 6)[:, ::2]
    rows = as_rows(stored, 1, F64)
    np.testing.assert_array_equal(rows, stored)
    assert rows.dtype.isnative
    assert rows.flags.c_contiguous


def test_no_rows_or_no_features():
    assert as_rows(np.zeros((0, 5, 3)), 2, F64).shape == (0, 3)
    assert as_rows(np.zeros((0, 5, 3)), 0, F64).shape == (15, 0)


def test_stacked_pieces_are_columns():
    pieces = [np.arange(6).reshape(2, 3), np.arange(6, 12).reshape(2, 3)]
    rows = stack_rows([lambda p=p: p for p in pieces], 6, F64)
    np.testing.assert_array_equal(rows, np.arange(12).reshape(2, 6).T)
    assert rows.flags.f_contiguous


@pytest.mark.parametrize("order", ["C", "F"])
def test_dropping_takes_out_the_rows_with_a_nan(order):
    rows = np.arange(12.0).reshape(4, 3).copy(order)
    rows[1, 2] = rows[3, 0] = np.nan
    block = without_nan_rows(
        Block(
            rows=rows, name="c/0", index=7, numbers=lambda: np.arange(10, 14), columns={"w": np.arange(4.0)}
        )
    )
    np.testing.assert_array_equal(block.rows, [[0, 1, 2], [6, 7, 8]])
    assert block.kept.tolist() == [True, False, True, False]
    assert block.numbers().tolist() == [10, 12]
    assert (block.index, block.columns["w"].tolist()) == (7, [0, 2])
    assert block.rows.flags.c_contiguous or block.rows.flags.f_contiguous
    assert block.rows.flags[f"{order}_CONTIGUOUS"]


def test_nothing_is_dropped_without_nan():
    whole = np.ones((2, 2))
    block = without_nan_rows(Block(rows=whole, name="c/0", index=0, numbers=lambda: np.arange(2)))
    assert block.rows is whole
    assert block.kept is None


def test_unknown_numbers_are_unique():
    numbers = np.concatenate([unknown_numbers(i, 5) for i in (0, 1, 99_999)])
    assert len(np.unique(numbers)) == 15
    assert numbers.dtype == np.int64
    assert (np.diff(numbers) > 0).all()


def test_wrong_arguments_are_named():
    with pytest.raises(ValueError, match=r"^Expected 2D array, got 1D array instead"):
        normal_feature_axis(-1, 1, "x")
    with pytest.raises(ValueError, match="feature_axis=3 does not exist: x has 3 axes"):
        normal_feature_axis(3, 3, "x")
    assert normal_feature_axis(-3, 3, "x") == 0
    with pytest.raises(ValueError, match="'skip'"):
        check_nan_rule("skip")


def test_pieces_of_another_shape_are_refused():
    check_piece(np.zeros((3, 2)), (None, 2), "chunk 1")
    for shape in [(3, 3), (3,), (3, 2, 1)]:
        with pytest.raises(DataError, match=r"chunk 1 has shape .*\('unknown', 2\)"):
            check_piece(np.zeros(shape), (None, 2), "chunk 1")


def test_cell_of_several_chunkings_is_whole_chunks_of_each():
    assert cell_shape_lcm([(4, 10)]) == (4, 10)
    assert cell_shape_lcm([(4, 10), (6, 5)]) == (12, 10)


@given(st.lists(st.lists(st.integers(0, 4), min_size=1, max_size=4), max_size=3))
def test_chunks_of_a_grid_are_described_as_they_are_counted(sizes):
    grid = SampleGrid.irregular([tuple(axis) for axis in sizes])
    chunks = GridChunks(grid, 8, "cell {}".format)
    listed = [
        Chunk(f"cell {index}", n_rows, 8 * n_rows)
        for index, n_rows in enumerate(map(math.prod, itertools.product(*sizes)))
    ]
    assert list(chunks) == chunks[:] == listed
    assert chunks[-1] == listed[-1]
    assert chunks[1:3] == listed[1:3]
    assert list(byte_counts(chunks, unknown=-1)) == list(byte_counts(listed, unknown=-1))
    with pytest.raises(IndexError):
        chunks[len(listed)]


def test_a_million_chunks_are_one_rule():
    grid = SampleGrid.regular((50_000_000, 20), (50, 20))
    chunks = GridChunks(grid, 8, "cell {}".format)
    assert len(chunks) == 1_000_000
    assert chunks[999_999] == Chunk("cell 999999", 1000, 8000)
    assert len(pickle.dumps(chunks)) < 500
    assert "50000000" in repr(chunks)
    assert len(repr(chunks)) < 300
