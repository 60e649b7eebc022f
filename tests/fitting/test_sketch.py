"""Keyed sums: close for rows that are rounded otherwise, far for other rows."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.fitting.sketch import sketch


@pytest.fixture(params=[np.float32, np.float64])
def rows(request):
    return np.random.default_rng(0).normal(size=(1001, 3)).astype(request.param)


def moved(rows, other, seed=7):
    """By how much, for each row and unit of size."""
    return np.abs(sketch(other, seed) - sketch(rows, seed)) / np.sqrt(len(rows))


def test_rounding_and_layout_move_it_little(rows):
    rounded = np.nextafter(rows, np.random.default_rng(1).normal(size=rows.shape).astype(rows.dtype))
    for other in (rounded, np.asfortranarray(rows), rows[:, :]):
        assert moved(rows, other).max() < 5 * np.finfo(rows.dtype).eps


@pytest.mark.parametrize(
    "change",
    [lambda column: column[::-1], lambda column: -column, np.sort, lambda column: np.roll(column, 1)],
)
def test_other_rows_move_their_column_and_no_other(rows, change):
    other = rows.copy()
    other[:, 1] = change(rows[:, 1])
    far = moved(rows, other)
    assert far[1] > 0.05
    assert far[[0, 2]].max() < 5 * np.finfo(rows.dtype).eps


def test_blocks_that_change_places_are_seen(rows):
    a, b = rows[:500], rows[500:1000]
    difference = np.abs(sketch(a, 1) + sketch(b, 2) - sketch(b, 1) - sketch(a, 2))
    assert difference.min() > 0.1


@pytest.mark.parametrize("n", [0, 1, 255, 256, 257])
def test_any_number_of_rows(rows, n):
    few = rows[:n]
    assert sketch(few, 3).shape == (3,)
    assert np.allclose(sketch(np.asfortranarray(few), 3), sketch(few, 3), rtol=1e-4)
    assert n == 0 or np.abs(sketch(few + 1, 3) - sketch(few, 3)).min() > 0
