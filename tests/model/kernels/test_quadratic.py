"""The quadratic kernels against the same sums written out in extended precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel

KINDS = ["products", "squares", "norm", "whitened"]
SHAPES = [(1, 1, 1), (5, 1, 70), (700, 2, 3), (1001, 8, 16), (333, 17, 5), (130, 40, 9), (60, 100, 7)]


class Problem(NamedTuple):
    rows: NDArray[Any]
    shift: NDArray[np.float64]
    theta: NDArray[np.float64]
    whitening: NDArray[np.float64] | None


class Answer(NamedTuple):
    log_density: NDArray[Any]
    resp: NDArray[Any]
    log_likelihood: float
    statistics: NDArray[Any]


def make_problem(kind: str, n: int, d: int, n_components: int, dtype: Any = np.float64) -> Problem:
    rng = np.random.default_rng(d * 1000 + n_components)
    shift = rng.normal(size=d)
    rows = (rng.normal(size=(n, d)) + shift).astype(dtype)
    n_features = features(kind, np.zeros((1, d)), None).shape[1]
    theta = rng.normal(size=(n_components, n_features)) / d
    whitening = np.triu(rng.normal(size=(d, d)) / d + np.eye(d)) if kind == "whitened" else None
    return Problem(rows, shift, theta, whitening)


def features(kind: str, y: NDArray[Any], whitening: NDArray[Any] | None) -> NDArray[Any]:
    if whitening is not None:
        y = y @ whitening
    ones = np.ones((len(y), 1), y.dtype)
    if kind == "products":
        i, j = np.triu_indices(y.shape[1])
        return np.hstack([ones, y, y[:, i] * y[:, j]])
    if kind == "squares":
        return np.hstack([ones, y, y**2])
    return np.hstack([ones, y, (y**2).sum(axis=1, keepdims=True)])


def solve(kind: str, problem: Problem, weights: NDArray[Any]) -> Answer:
    rows, shift, theta, whitening = problem
    y = rows.astype(np.longdouble) - shift
    phi = features(kind, y, whitening)
    log_joint = phi @ theta.T.astype(np.longdouble)
    largest = log_joint.max(axis=1, keepdims=True)
    likelihood = np.exp(log_joint - largest)
    total = likelihood.sum(axis=1, keepdims=True)
    log_density = (largest + np.log(total))[:, 0]
    resp = likelihood / total
    if whitening is not None:
        phi = np.hstack([np.ones((len(y), 1)), y])
    return Answer(log_density, resp, float(weights @ log_density), (resp * weights[:, np.newaxis]).T @ phi)


def make_kernel(kind: str, problem: Problem, dtype: Any = np.float64) -> QuadraticKernel:
    d = len(problem.shift)
    made = {
        "products": lambda: Features.products(d),
        "squares": lambda: Features.squares(d),
        "norm": Features.norm,
        "whitened": lambda: Features.norm(problem.whitening),
    }
    return QuadraticKernel(made[kind](), problem.shift, problem.theta, dtype)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("rows_dtype", "dtype", "tolerance"),
    [(np.float64, np.float64, 1e-13), (np.float32, np.float64, 1e-13), (np.float32, np.float32, 2e-5)],
)
def test_matches_extended_precision(
    kind: str, shape: tuple[int, int, int], rows_dtype: Any, dtype: Any, tolerance: float
) -> None:
    problem = make_problem(kind, *shape, rows_dtype)
    n, _, n_components = shape
    weights = np.random.default_rng(0).integers(0, 3, n).astype(np.float64)
    expected = solve(kind, problem, weights)
    kernel = make_kernel(kind, problem, dtype)

    log_likelihood, statistics = kernel.statistics(problem.rows, weights)
    labels = np.empty(n, np.int64)
    kernel.labels(problem.rows, labels)
    log_density = np.empty(n, rows_dtype)
    kernel.log_density(problem.rows, log_density)
    resp = np.empty((n, n_components), rows_dtype)
    kernel.responsibilities(problem.rows, resp)

    storage = np.finfo(rows_dtype).eps  # predictions are rounded to the rows' dtype
    assert log_likelihood == pytest.approx(expected.log_likelihood, rel=tolerance, abs=tolerance * n)
    np.testing.assert_allclose(
        statistics, expected.statistics.astype(float), rtol=tolerance, atol=tolerance * n
    )
    np.testing.assert_allclose(resp, expected.resp.astype(float), rtol=0, atol=10 * tolerance + storage)
    np.testing.assert_allclose(
        log_density, expected.log_density.astype(float), rtol=tolerance + storage, atol=10 * tolerance
    )
    chosen = expected.resp[np.arange(n), labels]
    assert (chosen >= expected.resp.max(axis=1) * (1 - 100 * tolerance)).all()
