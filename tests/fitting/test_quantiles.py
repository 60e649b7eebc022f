"""The sketch of quantiles: exact for few numbers, within its error for many, however they were cut."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from dask_gmm.fitting.quantiles import FINE, Quantiles

SHARES = np.array([0.0, 1e-4, 0.001, 0.005, 0.05, 0.3, 0.5, 0.9, 0.999, 1.0])


def sketched(parts, clusters=FINE):
    """Return the sketch of parts that were sketched on their own."""
    sketch = Quantiles.zero(clusters)
    for part in parts:
        sketch = sketch.merged([Quantiles.zero(clusters).with_numbers(part)])
    return sketch


def rank_error(sketch, numbers, shares):
    """Return how far the ranks of the estimates are from what was asked for, in shares of the rows."""
    found = sketch(shares)
    below = np.searchsorted(np.sort(numbers), found, side="left") / len(numbers)
    upto = np.searchsorted(np.sort(numbers), found, side="right") / len(numbers)
    return np.maximum(0, np.maximum(below - shares, shares - upto))


@given(
    arrays(np.float64, st.integers(1, 300), elements=st.floats(-1e6, 1e6)),
    st.lists(st.integers(0, 300), max_size=6),
)
def test_few_numbers_are_exact_in_any_parts(numbers, cuts):
    parts = np.split(numbers, sorted(min(cut, len(numbers)) for cut in cuts))
    found = sketched(parts)(SHARES)
    expected = np.quantile(numbers, SHARES, method="hazen")
    np.testing.assert_allclose(found, expected, rtol=1e-12, atol=1e-9)


@pytest.mark.parametrize("clusters", [400, FINE])
@pytest.mark.parametrize("kind", ["normal", "heavy", "ties", "sorted", "large"])
def test_many_numbers(kind, clusters):
    rng = np.random.default_rng(0)
    numbers = {
        "normal": rng.normal(size=300_000),
        "heavy": rng.standard_cauchy(size=300_000),
        "ties": rng.integers(0, 20, size=300_000).astype(float),
        "sorted": np.sort(rng.exponential(size=300_000)),
        "large": 1e9 + rng.normal(size=300_000),
    }[kind]
    for n_parts in (1, 7, 100):
        sketch = sketched(np.array_split(numbers, n_parts), clusters)
        allowed = 1.5 * np.pi / clusters * np.sqrt(SHARES * (1 - SHARES)) + 2 / len(numbers)
        assert (rank_error(sketch, numbers, SHARES) <= allowed).all()
        assert len(sketch.points) <= 2 * clusters
        assert sketch.weight == pytest.approx(len(numbers))
        assert tuple(sketch([0, 1])) == (numbers.min(), numbers.max())


def test_weights_count_like_rows():
    rng = np.random.default_rng(0)
    numbers, weights = rng.normal(size=2000), rng.integers(0, 4, size=2000).astype(float)
    found = Quantiles.zero(FINE).with_numbers(numbers, weights)(SHARES[2:-2])
    expected = np.quantile(np.repeat(numbers, weights.astype(int)), SHARES[2:-2], method="hazen")
    np.testing.assert_allclose(found, expected, atol=0.05)
    assert Quantiles.zero(FINE).with_numbers(numbers, 0 * weights).weight == 0


def test_infinite_numbers_have_their_place():
    sketch = Quantiles.zero(FINE).with_numbers(np.array([-np.inf, 0.0, 1.0, 2.0]))
    assert sketch([0.0])[0] == -np.inf
    assert sketch([0.9])[0] == pytest.approx(2.0)


def test_nothing_has_no_quantile():
    assert np.isnan(Quantiles.zero(FINE)([0.5])).all()
