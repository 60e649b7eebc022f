"""The centred kernels against the same sums written out in extended precision."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.model.kernels.centred import CentredKernel

KINDS = ["matrices", "one_matrix", "vectors"]


class Problem(NamedTuple):
    rows: NDArray[Any]
    means: NDArray[np.float64]
    factors: NDArray[np.float64]
    peaks: NDArray[np.float64]

    def kernel(self, dtype: Any = np.float64) -> CentredKernel:
        return CentredKernel(self.means, self.factors, self.peaks, dtype)


class Answer(NamedTuple):
    log_density: NDArray[Any]
    resp: NDArray[Any]
    statistics: NDArray[Any]


def make_problem(
    kind: str,
    n: int,
    d: int,
    n_components: int,
    *,
    dtype: Any = np.float64,
    offset: float = 0.0,
    spread: float = 1.0,
) -> Problem:
    """Rows around each of some components that are `spread` times their size apart, `offset` from zero."""
    rng = np.random.default_rng(d * 1000 + n_components)
    means = offset + spread * rng.normal(size=(n_components, d))
    matrices = np.triu(np.eye(d) + rng.normal(size=(n_components, d, d)) / (2 * d))
    factors = {
        "matrices": matrices,
        "one_matrix": matrices[:1],
        "vectors": 0.5 + rng.random((n_components, d)),
    }[kind]
    rows = means[rng.integers(n_components, size=n)] + rng.normal(size=(n, d))
    peaks = rng.normal(size=n_components)
    return Problem(rows.astype(dtype), means, factors, peaks)


def solve(problem: Problem, weights: NDArray[Any]) -> Answer:
    rows, means, _, peaks = problem
    v = rows.astype(np.longdouble)[:, np.newaxis, :] - means
    factors = problem.factors.astype(np.longdouble)
    matrices = factors.ndim == 3
    z = (
        np.einsum("nkd,kde->nke", v, np.broadcast_to(factors, (len(means), *factors.shape[1:])))
        if matrices
        else v * factors
    )
    log_joint = peaks - (z**2).sum(axis=2) / 2
    largest = log_joint.max(axis=1, keepdims=True)
    likelihood = np.exp(log_joint - largest)
    total = likelihood.sum(axis=1, keepdims=True)
    resp = likelihood / total
    i, j = np.triu_indices(rows.shape[1])
    second = v[:, :, i] * v[:, :, j] if matrices else v**2
    features = np.concatenate([np.ones((*v.shape[:2], 1)), v, second], axis=2)
    statistics = np.einsum("nk,nkp->kp", resp * weights[:, np.newaxis], features)
    return Answer((largest + np.log(total))[:, 0], resp, statistics)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "shape", [(1, 1, 1), (5, 1, 70), (701, 2, 3), (1001, 8, 6), (133, 17, 5), (60, 100, 3)]
)
@pytest.mark.parametrize(
    ("rows_dtype", "dtype", "tolerance"),
    [(np.float64, np.float64, 1e-14), (np.float32, np.float64, 1e-14), (np.float32, np.float32, 5e-6)],
)
def test_matches_extended_precision(
    kind: str, shape: tuple[int, int, int], rows_dtype: Any, dtype: Any, tolerance: float
) -> None:
    n, d, n_components = shape
    problem = make_problem(kind, n, d, n_components, dtype=rows_dtype)
    weights = np.random.default_rng(0).integers(0, 3, n).astype(np.float64)
    expected = solve(problem, weights)
    kernel = problem.kernel(dtype)

    log_likelihood, statistics = kernel.statistics(problem.rows, weights)
    labels = np.empty(n, np.int64)
    kernel.labels(problem.rows, labels)
    log_density = np.empty(n, rows_dtype)
    kernel.log_density(problem.rows, log_density)
    resp = np.empty((n, n_components), rows_dtype)
    kernel.responsibilities(problem.rows, resp)

    storage = np.finfo(rows_dtype).eps  # predictions are rounded to the rows' dtype
    assert log_likelihood == pytest.approx(
        float(weights @ expected.log_density), rel=2 * tolerance, abs=tolerance * n
    )
    np.testing.assert_allclose(
        statistics, expected.statistics.astype(float), rtol=tolerance, atol=tolerance * n
    )
    np.testing.assert_allclose(resp, expected.resp.astype(float), rtol=0, atol=10 * d * tolerance + storage)
    np.testing.assert_allclose(
        log_density, expected.log_density.astype(float), rtol=tolerance + storage, atol=10 * tolerance
    )
    chosen = expected.resp[np.arange(n), labels]
    assert (chosen >= expected.resp.max(axis=1) * (1 - 100 * d * tolerance)).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("offset", "spread"), [(1e8, 1.0), (0.0, 1e6), (1e8, 1e6)])
def test_loses_nothing_to_offsets_and_distant_components(kind: str, offset: float, spread: float) -> None:
    problem = make_problem(kind, 1000, 5, 4, offset=offset, spread=spread)
    expected = solve(problem, np.ones(1000))

    log_likelihood, statistics = problem.kernel().statistics(problem.rows, None)

    assert log_likelihood == pytest.approx(float(expected.log_density.sum()), rel=1e-14)
    np.testing.assert_allclose(statistics, expected.statistics.astype(float), rtol=1e-13, atol=1e-11)


def test_float32_arithmetic_keeps_its_accuracy_with_distant_components() -> None:
    problem = make_problem("matrices", 1000, 5, 4, dtype=np.float32, spread=1e4)
    expected = solve(problem, np.ones(1000))

    _, statistics = problem.kernel(np.float32).statistics(problem.rows, None)

    np.testing.assert_allclose(statistics, expected.statistics.astype(float), rtol=1e-5, atol=1e-3)
