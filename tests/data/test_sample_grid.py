from __future__ import annotations

import itertools
import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm.data.grid_chunks import GridChunks
from dask_gmm.data.sample_grid import SampleGrid, cell_shape_lcm
from dask_gmm.data.source import Chunk, byte_counts

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
