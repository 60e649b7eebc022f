"""Exponential, logarithm, softmax and argmax, on their own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.compiled import inner
from dask_gmm.model.kernels import softmax as kernels
from dask_gmm.model.kernels.tiles import lines_of

argmax, softmax, log2_positive = kernels.argmax, kernels.softmax, kernels.log2_positive
exp2_nonpositive = kernels.exp2_nonpositive


@inner
def exponentials(x: NDArray[Any]) -> NDArray[Any]:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = exp2_nonpositive(x[i])
    return out


@inner
def logarithms(x: NDArray[np.float64]) -> NDArray[np.float64]:
    out = np.empty_like(x)
    for i in range(len(x)):
        out[i] = log2_positive(x[i])
    return out


@pytest.mark.parametrize(
    ("dtype", "tolerance", "lowest"), [(np.float64, 1e-15, -1022.0), (np.float32, 2e-7, -126.0)]
)
def test_exponential(dtype: Any, tolerance: float, lowest: float) -> None:
    x = np.concatenate([np.linspace(lowest, 0, 40_001), -np.logspace(-30, 0, 1001)]).astype(dtype)
    expected = np.exp2(x.astype(np.longdouble))
    assert np.abs(exponentials(x) / expected - 1).max() < tolerance


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_exponential_of_special_numbers(dtype: Any) -> None:
    special = np.array([0.0, -0.0, -1e4, -1e30, -np.inf, np.nan], dtype)
    np.testing.assert_array_equal(exponentials(special), np.array([1, 1, 0, 0, 0, np.nan], dtype))


def test_logarithm() -> None:
    x = np.concatenate([np.linspace(0.5, 100, 40_001), np.logspace(-300, 300, 4001)])
    expected = np.log2(x.astype(np.longdouble))
    assert (np.abs(logarithms(x) - expected) <= 3e-16 * np.maximum(np.abs(expected), 0.3)).all()
    np.testing.assert_array_equal(logarithms(np.array([1.0, 8.0, np.nan])), [0.0, 3.0, np.nan])


def without_background(width: int) -> NDArray[np.float64]:
    """Return memory for each row's sums, and no background."""
    return lines_of(width, np.dtype(np.float64))[1]


def test_responsibilities_sum_to_the_weights() -> None:
    log_joint = np.random.default_rng(0).normal(scale=30, size=(7, 48))
    weights, log_density = np.linspace(0, 3, 48), np.empty(48)
    expected = np.logaddexp2.reduce(log_joint, axis=0) * np.log(2)

    softmax(log_joint, 7, 48, weights, log_density, without_background(48))

    np.testing.assert_allclose(log_joint.sum(axis=0), weights, rtol=1e-15)
    np.testing.assert_allclose(log_density, expected, rtol=1e-15)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_a_background_takes_what_components_do_not(dtype: type) -> None:
    log_joint = np.random.default_rng(1).normal(scale=30, size=(7, 48)).astype(dtype)
    log_joint[:, 5] = -np.inf
    weights, log_density = np.linspace(0, 3, 48), np.empty(48)
    before = log_joint.astype(np.float64)
    everything = np.logaddexp2(np.logaddexp2.reduce(before, axis=0), -4.0)
    _, row_sums = lines_of(48, np.dtype(dtype), -4.0)

    softmax(log_joint, 7, 48, weights, log_density, row_sums)

    tolerance = 1e-14 if dtype is np.float64 else 1e-5
    np.testing.assert_allclose(log_density, everything * np.log(2), rtol=tolerance, atol=tolerance)
    np.testing.assert_allclose(
        log_joint, weights * np.exp2(before - everything), rtol=10 * tolerance, atol=1e-30
    )
    assert not log_joint[:, 5].any()


def test_components_without_weight_get_nothing() -> None:
    log_joint = np.array([[-np.inf, -np.inf], [-5.0, -900.0]]).repeat(24, axis=1)
    log_density = np.empty(48)

    softmax(log_joint, 2, 48, np.ones(48), log_density, without_background(48))

    np.testing.assert_array_equal(log_joint, np.array([[0.0], [1.0]]).repeat(48, axis=1))
    np.testing.assert_array_equal(log_density, np.log(2) * np.array([-5.0, -900.0]).repeat(24))


@pytest.mark.parametrize("bad", [[-np.inf, -np.inf], [np.nan, 1.0], [1.0, np.nan], [np.inf, 1.0]])
def test_a_row_without_density_is_nan_and_counts_only_with_weight(bad: list[float]) -> None:
    log_joint = np.array([bad, [0.0, 0.0], bad]).T.copy()
    log_density = np.empty(3)

    softmax(log_joint, 2, 3, np.array([1.0, 1.0, 0.0]), log_density, without_background(3))

    assert np.isnan(log_density).tolist() == [True, False, True]
    assert np.isnan(log_joint[:, 0]).all()
    np.testing.assert_array_equal(log_joint[:, 1:], [[0.5, 0.0], [0.5, 0.0]])


def test_first_of_equals_is_the_label() -> None:
    log_joint = np.array([[0.0, 1.0, 2.0], [0.0, 2.0, 2.0], [-1.0, 2.0, 5.0]])
    labels = np.empty(3, np.int64)

    argmax(log_joint, 3, labels, *np.empty((2, 3)))

    assert labels.tolist() == [0, 1, 2]
