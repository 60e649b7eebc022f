"""The first pass: a uniform sample that does not depend on chunks, and rows that cannot be used."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm.data.source import Block
from dask_gmm.errors import DataError
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.survey import Survey

N_ROWS = 1000
ROWS = np.stack([np.arange(N_ROWS), np.random.default_rng(0).normal(size=N_ROWS)], axis=1).astype(float)
WEIGHTS = np.arange(N_ROWS) + 0.5


def blocks(bounds, rows, weights):
    for index, (first, stop) in enumerate(zip([0, *bounds], [*bounds, len(rows)], strict=True)):
        yield Block(
            rows=rows[first:stop],
            name=f"chunk from {first}",
            index=index,
            numbers=lambda f=first, s=stop: np.arange(f, s),
            columns={} if weights is None else {"sample_weight": weights[first:stop]},
        )


def survey(sampling, bounds=(), rows=ROWS, weights=None, n_groups=1):
    """Run a survey in `n_groups` groups of blocks."""
    reduction = Survey(2, False, sampling)
    values = [reduction.zero() for _ in range(n_groups)]
    for number, block in enumerate(blocks(bounds, rows, weights)):
        group = number * n_groups // (len(bounds) + 1)
        values[group] = reduction.update(values[group], block)
    return reduction.combine(values)


@pytest.mark.parametrize("n_rows", [N_ROWS, None])
@pytest.mark.parametrize("limit", [1, 10, 300, 999])
def test_as_many_rows_as_asked_for_in_row_order(limit, n_rows):
    sampling = Sampling(limit, 7, n_rows)
    sample = survey(sampling, weights=WEIGHTS).sample(sampling)
    numbers = sample.rows[:, 0].astype(int)
    assert len(numbers) == limit
    np.testing.assert_array_equal(numbers, np.unique(numbers))
    np.testing.assert_array_equal(sample.rows, ROWS[numbers])
    np.testing.assert_array_equal(sample.weights, WEIGHTS[numbers])


@pytest.mark.parametrize("n_rows", [N_ROWS, None])
@pytest.mark.parametrize("limit", [1000, 5000])
def test_all_rows_where_they_fit(limit, n_rows):
    sampling = Sampling(limit, 7, n_rows)
    sample = survey(sampling, (300, 300, 700)).sample(sampling)
    np.testing.assert_array_equal(sample.rows, ROWS)
    assert sample.weights is None
    assert sample.total_weight == N_ROWS


@settings(max_examples=20, deadline=None, derandomize=True)
@given(
    bounds=st.lists(st.integers(0, N_ROWS), max_size=9).map(sorted),
    n_groups=st.integers(1, 4),
    known=st.booleans(),
)
def test_the_sample_does_not_depend_on_the_chunks(bounds, n_groups, known):
    sampling = Sampling(40, 7, N_ROWS if known else None)
    whole = survey(Sampling(40, 7, N_ROWS)).sample(sampling)
    cut = survey(sampling, bounds, n_groups=n_groups).sample(sampling)
    np.testing.assert_array_equal(cut.rows, whole.rows)


def test_each_row_is_as_likely_as_any_other():
    # 400 samples of 100 rows out of 1000: each row is expected 40 times, give or take 6.
    counts = np.zeros(N_ROWS)
    for seed in np.random.default_rng(0).integers(2**63, size=400):
        sampling = Sampling(100, int(seed), N_ROWS)
        counts[survey(sampling).sample(sampling).rows[:, 0].astype(int)] += 1
    chi_square = ((counts - 40.0) ** 2 / (40.0 * 0.9)).sum()
    assert abs(chi_square - N_ROWS) < 5 * np.sqrt(2 * N_ROWS)
    # Neither sorted stores nor neighbours are favoured.
    for parts in (counts.reshape(10, 100).sum(axis=1), counts.reshape(100, 10).sum(axis=0)):
        assert np.abs(parts - 4000).max() < 5 * np.sqrt(4000 * 0.9)


def test_seeds_draw_different_rows():
    first, second = (survey(s).sample(s).rows for s in (Sampling(100, 1, N_ROWS), Sampling(100, 2, N_ROWS)))
    common = np.intersect1d(first[:, 0], second[:, 0])
    assert 1 <= len(common) <= 30


def test_the_threshold_never_starves_the_sample():
    for limit in (1, 2, 5, 50):
        for seed in range(200):
            sampling = Sampling(limit, seed, N_ROWS)
            kept = (sampling.keys(np.arange(N_ROWS)) <= sampling.threshold).sum()
            assert limit <= kept


def test_candidates_stay_few():
    sampling = Sampling(20, 3, None)
    surveyed = survey(sampling, tuple(range(10, N_ROWS, 10)))
    assert sum(len(part.keys) for part in surveyed.drawn) <= 2 * 20
    assert surveyed.moments.n_rows == N_ROWS


@pytest.mark.parametrize(("bad", "what"), [(np.nan, "NaN"), (np.inf, "infinity"), (-np.inf, "infinity")])
def test_a_bad_row_is_named(bad, what):
    rows = ROWS.copy()
    rows[612:614, 1] = bad
    with pytest.raises(DataError, match=what) as caught:
        survey(None, (250, 500, 750), rows=rows)
    assert "row 612 (chunk from 500), 2 of its 250 rows are bad" in str(caught.value)


def test_rows_whose_sum_overflows_are_not_bad():
    reduction = Survey(2, False, None)
    block = Block(rows=np.full((3, 2), 1e308), name="chunk", index=0, numbers=lambda: np.arange(3))
    with np.errstate(over="ignore"):
        assert reduction.update(reduction.zero(), block).moments.n_rows == 3


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_bad_weight_is_named(bad):
    weights = WEIGHTS.copy()
    weights[612] = bad
    message = r"in data passed to `sample_weight`: \S+ in row 612 \(chunk from 500\)"
    with pytest.raises(DataError, match=message):
        survey(None, (250, 500, 750), weights=weights)
