"""Moments of all rows: any way of cutting and merging gives the same, at any offset."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm.model.moments import Moments

ROWS = np.random.default_rng(0).normal(size=(60, 3)) * [1.0, 10.0, 0.1]
WEIGHTS = np.random.default_rng(1).integers(0, 3, size=60).astype(float)


def moments(rows: Any, weights: Any = None, *, scatter: bool = True) -> Moments:
    return Moments.zero(3, scatter=scatter).with_rows(rows, weights)


def assert_are_those_of(actual: Moments, rows: Any) -> None:
    centred = rows - rows.mean(axis=0)
    assert actual.weight == len(rows)
    np.testing.assert_allclose(actual.mean, rows.mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(actual.squares, (centred**2).sum(axis=0), rtol=1e-12)
    np.testing.assert_allclose(actual.scatter, centred.T @ centred, rtol=1e-11, atol=1e-11)


@settings(max_examples=20, deadline=None, derandomize=True)
@given(cuts=st.lists(st.integers(0, 60), max_size=6).map(sorted), weighted=st.booleans())
def test_parts_merge_to_the_whole(cuts, weighted):
    weights = WEIGHTS if weighted else np.ones(60)
    parts = [
        moments(rows, part if weighted else None)
        for rows, part in zip(np.split(ROWS, cuts), np.split(weights, cuts), strict=True)
    ]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merged(part)
    assert merged.n_rows == 60
    assert_are_those_of(merged, np.repeat(ROWS, weights.astype(int), axis=0))


def test_tiles_merge_to_the_whole():
    rows = np.random.default_rng(2).normal(size=(9001, 3))
    assert_are_those_of(moments(rows), rows)


def test_an_offset_changes_no_digit_of_the_scatter():
    offset = 2.0**26
    rounded = np.round(ROWS * 2**20) / 2**20
    near, far = moments(rounded), moments(rounded + offset)
    np.testing.assert_allclose(far.scatter, near.scatter, rtol=1e-8, atol=1e-10)
    np.testing.assert_allclose(far.mean - offset, near.mean, atol=3e-8)


def test_nothing_weighs_nothing():
    empty = Moments.zero(3, scatter=True)
    unweighted = moments(ROWS, np.zeros(60))
    assert (empty.n_rows, empty.weight) == (0, 0.0)
    assert (unweighted.n_rows, unweighted.weight) == (60, 0.0)
    for left, right in ((empty, moments(ROWS)), (moments(ROWS), unweighted)):
        assert_are_those_of(left.merged(right), ROWS)
    assert empty.merged(unweighted).n_rows == 60


def test_scatter_about_another_point():
    origin = np.array([1.0, -2.0, 3.0])
    deviations = ROWS - origin
    np.testing.assert_allclose(moments(ROWS).scatter_about(origin), deviations.T @ deviations, rtol=1e-12)


def test_scatter_only_where_it_is_wanted():
    found = moments(ROWS, scatter=False)
    assert found.scatter is None
    assert found.merged(found).scatter is None
    np.testing.assert_allclose(found.deviation, ROWS.std(axis=0), rtol=1e-12)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_sums_are_in_double_precision(dtype):
    rows = (ROWS + 1e4).astype(dtype)
    found = moments(rows)
    assert found.mean.dtype == np.float64
    assert_are_those_of(found, rows.astype(np.float64))
