"""Pieces of arrays as rows."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.data.rows import (
    as_rows,
    check_nan_rule,
    check_piece,
    normal_feature_axis,
    stack_rows,
    unknown_numbers,
    without_nan_rows,
)
from dask_gmm.data.source import Block
from dask_gmm.errors import DataError

F64 = np.dtype(np.float64)


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
