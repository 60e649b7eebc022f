"""Labels from float32 products are those of float64: what is in doubt is asked again."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm import GaussianMixture
from dask_gmm.mixture.fitted import fitted_density
from dask_gmm.model.kernels import settled
from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel
from dask_gmm.model.kernels.settled import SettledLabels, SettlingKernel
from dask_gmm.model.observation.complete import COMPLETE


@pytest.fixture(autouse=True, scope="module")
def _few_numbers():
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(settled, "_FEWEST_NUMBERS", 1)
        yield


def kernels(theta, d):
    quick = SettlingKernel(Features.products(d), np.zeros(d), theta)
    return quick, QuadraticKernel(Features.products(d), np.zeros(d), theta)


def labels_of(kernel, rows):
    out = np.full(len(rows), -7)
    kernel.labels(rows, out)
    return out


def both(theta, rows):
    """Return the labels of the quick kernel, and those that it must give together with the precise one."""
    quick, precise = kernels(theta, rows.shape[1])
    expected, together = labels_of(precise, rows), np.full(len(rows), -7)
    SettledLabels(quick, precise)(rows, together)
    np.testing.assert_array_equal(together, expected)
    return labels_of(quick, rows), expected


def random_problem(seed, d, n_components, scale, n=400):
    rng = np.random.default_rng(seed)
    theta = scale * rng.normal(size=(n_components, (d + 1) * (d + 2) // 2))
    return theta, rng.normal(size=(n, d))


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    d=st.integers(1, 24),
    n_components=st.integers(1, 9),
    exponent=st.integers(-12, 20),
    closeness=st.integers(0, 20),
)
def test_what_is_settled_is_right(seed, d, n_components, exponent, closeness):
    theta, rows = random_problem(seed, d, n_components, 10.0**exponent)
    # Components that differ in late digits only.
    theta[1:] = theta[0] + (theta[1:] - theta[0]) * 2.0**-closeness
    quick, expected = both(theta, rows)
    settled = quick >= 0
    np.testing.assert_array_equal(quick[settled], expected[settled])


def test_float32_alone_would_be_wrong():
    theta, rows = random_problem(0, 16, 8, 1.0, n=20_000)
    theta[1:] = theta[0] + 1e-5 * theta[1:]
    quick, expected = both(theta, rows)
    single = labels_of(QuadraticKernel(Features.products(16), np.zeros(16), theta, dtype=np.float32), rows)
    wrong = single != expected
    assert wrong.sum() > 100
    assert (quick[wrong] == -1).all()


def test_most_rows_of_a_mixture_are_settled(make_rows):
    rows = make_rows(4000, 16, 5, spread=3.0)
    gm = GaussianMixture(5, random_state=0).fit(rows)
    kernel = COMPLETE.kernel(fitted_density(gm), np.dtype(np.float64))
    assert isinstance(kernel._labels, SettledLabels)
    assert (labels_of(kernel._labels._quick, rows) >= 0).mean() > 0.98


def test_equal_components_are_in_doubt_everywhere():
    theta, rows = random_problem(1, 10, 3, 1.0, n=50_000)
    theta[2] = theta[1] = theta[0]
    quick, expected = both(theta, rows)
    assert (quick == -1).all()
    assert (expected == 0).all()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf, 1e20, 1e200, 1e308])
def test_odd_rows_are_not_settled(value):
    theta, rows = random_problem(2, 9, 4, 1.0, n=100)
    rows[7, 3] = rows[50] = value
    quick, _ = both(theta, rows)
    assert quick[7] == quick[50] == -1
    assert (quick[:7] >= 0).all()


def test_a_weight_of_zero():
    theta, rows = random_problem(3, 8, 4, 1.0)
    theta[2, 0] = -np.inf
    quick, expected = both(theta, rows)
    assert 2 not in expected
    assert (quick >= 0).mean() > 0.9


def test_strides_and_dtypes():
    theta, rows = random_problem(4, 8, 4, 1.0, n=3000)
    for given_rows in (np.asfortranarray(rows), rows[::-2], rows.astype(np.float32)):
        both(theta, given_rows)
    out = np.zeros((3000, 2), np.int64)
    quick, precise = kernels(theta, 8)
    SettledLabels(quick, precise)(rows, out[:, 1])
    np.testing.assert_array_equal(out[:, 1], labels_of(precise, rows))
    assert (out[:, 0] == 0).all()
