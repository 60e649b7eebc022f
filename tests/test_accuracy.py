"""Accuracy on awkward data, against EM in extended precision: offsets, scales, distances, many features.

The errors are printed as a table at the end of the run: covariances relative to their largest entry, means in
deviations, bounds in nats a row.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm import GaussianMixture

Array = NDArray[Any]
Long = np.longdouble

TYPES = ("full", "tied", "diag", "spherical")
N_ITER = 2


@dataclass(frozen=True)
class Mixture:
    """Parameters in extended precision; a precision matrix for each component whatever the type."""

    weights: Array
    means: Array
    precisions: Array


def cholesky(matrix: Array) -> Array:
    """Return the lower factor; LAPACK has no extended precision."""
    lower = np.zeros_like(matrix)
    rest = matrix.copy()
    for j in range(len(matrix)):
        lower[j:, j] = rest[j:, j] / np.sqrt(rest[j, j])
        rest[j:, j:] -= np.outer(lower[j:, j], lower[j:, j])
    return lower


def inverse(matrix: Array) -> Array:
    """Return the inverse of a positive definite matrix by forward and backward substitution."""
    lower = cholesky(matrix)
    solved = np.eye(len(matrix), dtype=Long)
    for i in range(len(matrix)):
        solved[i] = (solved[i] - lower[i, :i] @ solved[:i]) / lower[i, i]
    return solved.T @ solved


def log_joint(rows: Array, mixture: Mixture) -> Array:
    columns = []
    for weight, mean, precision in zip(mixture.weights, mixture.means, mixture.precisions, strict=True):
        whitened = (rows - mean) @ cholesky(precision)
        log_det = np.log(np.diagonal(cholesky(precision))).sum()
        constant = np.log(weight) + log_det - len(mean) * np.log(2 * Long(np.pi)) / 2
        columns.append(constant - (whitened**2).sum(axis=1) / 2)
    return np.stack(columns, axis=1)


def iteration(rows: Array, mixture: Mixture, covariance_type: str) -> tuple[Mixture, Array, Long]:
    """Return the next mixture, its covariances as the estimator shapes them, and the bound before."""
    joint = log_joint(rows, mixture)
    largest = joint.max(axis=1, keepdims=True)
    log_density = largest + np.log(np.exp(joint - largest).sum(axis=1, keepdims=True))
    resp = np.exp(joint - log_density)
    nk = resp.sum(axis=0)
    means = resp.T @ rows / nk[:, np.newaxis]
    matrices = np.stack(
        [(resp[:, k, np.newaxis] * (rows - mean)).T @ (rows - mean) for k, mean in enumerate(means)]
    )
    covariances, full = shaped(matrices, nk, covariance_type)
    precisions = np.stack([inverse(matrix) for matrix in full])
    return Mixture(nk / len(rows), means, precisions), covariances, log_density.mean()


def shaped(matrices: Array, nk: Array, covariance_type: str) -> tuple[Array, Array]:
    """Return covariances in the shape of the type, and as full matrices, from scatter matrices."""
    n_components, n_features, _ = matrices.shape
    identity = np.eye(n_features, dtype=Long)
    if covariance_type == "full":
        covariances = full = matrices / nk[:, np.newaxis, np.newaxis]
    elif covariance_type == "tied":
        covariances = matrices.sum(axis=0) / nk.sum()
        full = np.stack([covariances] * n_components)
    else:
        covariances = np.diagonal(matrices, axis1=1, axis2=2) / nk[:, np.newaxis]
        full = covariances[:, :, np.newaxis] * identity
        if covariance_type == "spherical":
            covariances = covariances.mean(axis=1)
            full = covariances[:, np.newaxis, np.newaxis] * identity
    return covariances, full


@dataclass(frozen=True)
class Case:
    """Rows of a mixture in three features unless said otherwise, with deviations of about `scale`."""

    n_features: int = 3
    n_components: int = 3
    offset: float = 0.0
    scale: float = 1.0
    distance: float = 3.0
    dtype: Any = np.float64
    sorted_rows: bool = False

    def draw(self, covariance_type: str) -> tuple[Array, Mixture]:
        """Return rows, and the truth as far as the covariance type can say it, means moved a little."""
        n_components, n_features = self.n_components, self.n_features
        rng = np.random.default_rng(1)
        centres = self.distance * self.scale * rng.normal(size=(n_components, n_features))
        roots = rng.normal(size=(n_components, n_features, n_features))
        roots = self.scale * (np.eye(n_features) + 0.3 / np.sqrt(n_features) * roots)
        labels = rng.integers(n_components, size=2000)
        noise = rng.normal(size=(2000, n_features))
        rows = self.offset + centres[labels] + np.einsum("ij,ijk->ik", noise, roots[labels])
        if self.sorted_rows:
            rows = rows[np.argsort(rows[:, 0])]
        scatter = np.einsum("kij,kil->kjl", roots, roots).astype(Long)
        _, matrices = shaped(scatter, np.ones(n_components, dtype=Long), covariance_type)
        # Rounded to float64, so that the estimator and the reference start from the same numbers.
        precisions = np.stack([inverse(matrix) for matrix in matrices]).astype(np.float64)
        weights = np.full(n_components, 1.0 / n_components)
        return rows.astype(self.dtype), Mixture(
            weights, centres + self.offset + 0.05 * self.scale, precisions
        )


CASES = {
    "offset 0": Case(),
    "offset 1e4": Case(offset=1e4),
    "offset 1e8": Case(offset=1e8),
    "deviations 1e-3": Case(scale=1e-3),
    "deviations 1e3": Case(scale=1e3),
    "clusters 1e2 deviations apart": Case(distance=1e2),
    "clusters 1e6 deviations apart": Case(distance=1e6),
    "rows sorted by a feature, 9 chunks": Case(sorted_rows=True),
    "24 features": Case(n_features=24, n_components=2),
    "40 features": Case(n_features=40, n_components=2),
    "100 features": Case(n_features=100, n_components=2),
    "float32, offset 0": Case(dtype=np.float32),
    "float32, offset 1e4": Case(offset=1e4, dtype=np.float32),
}


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("name", CASES)
def test_against_extended_precision(name, covariance_type, relative_distance, note_accuracy):
    case = CASES[name]
    rows, start = case.draw(covariance_type)
    exact = Mixture(*(getattr(start, part).astype(Long) for part in ("weights", "means", "precisions")))
    bounds = []
    for _ in range(N_ITER):
        exact, covariances, bound = iteration(rows.astype(Long), exact, covariance_type)
        bounds.append(bound)
    fitted = GaussianMixture(
        case.n_components,
        covariance_type=covariance_type,
        reg_covar=0.0,
        tol=0.0,
        max_iter=N_ITER,
        weights_init=start.weights,
        means_init=start.means,
        precisions_init=_given(start.precisions, covariance_type),
    ).fit(da.from_array(rows, chunks=(230, -1)) if case.sorted_rows else rows)
    # Float32 rows are multiplied in float32, and give parameters in float32.
    tolerance = 1e-8 if case.dtype == np.float64 else 5e-6
    # At an offset of 1e8 neighbouring float64 numbers are 1.5e-8 apart.
    spacing = float(np.spacing(np.abs(fitted.means_).max())) / case.scale
    errors = {
        covariance_type: relative_distance(fitted.covariances_, covariances),
        "means": float(np.max(np.abs(fitted.means_ - exact.means))) / case.scale,
        "bounds": float(np.max(np.abs(np.array(fitted.lower_bounds_) - bounds))),
    }
    for column, error in errors.items():
        note_accuracy(name, column, error)
        assert error <= tolerance + spacing * (column == "means"), column


def _given(precisions: Array, covariance_type: str) -> Array:
    """Return matrices, one a component, in the shape of the covariance type."""
    match covariance_type:
        case "full":
            return precisions
        case "tied":
            return precisions[0]
        case "diag":
            return np.diagonal(precisions, axis1=1, axis2=2)
    return precisions[:, 0, 0]


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_start_of_our_own_does_not_feel_offsets(make_rows, relative_distance, covariance_type, init_params):
    # Multiples of 2**-20 stay what they are when 2**26 is added.
    rows = np.round(make_rows() * 2**20) / 2**20
    parameters = {
        "covariance_type": covariance_type,
        "init_params": init_params,
        "random_state": 0,
        "tol": 1e-4,
    }
    near, far = (GaussianMixture(3, **parameters).fit(rows + offset) for offset in (0.0, 2.0**26))
    assert near.n_iter_ == far.n_iter_
    assert relative_distance(far.covariances_, near.covariances_) <= 1e-8
    np.testing.assert_array_equal(far.predict(rows + 2.0**26), near.predict(rows))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_power_of_two_as_unit_changes_no_digit(make_rows, covariance_type):
    rows = make_rows()
    small, large = (
        GaussianMixture(3, covariance_type=covariance_type, random_state=0, reg_covar=1e-6 * unit**2).fit(
            rows * unit
        )
        for unit in (1.0, 1024.0)
    )
    assert small.n_iter_ == large.n_iter_
    np.testing.assert_allclose(large.means_, 1024.0 * small.means_, rtol=1e-13, atol=1e-10)
    np.testing.assert_allclose(large.covariances_, 1024.0**2 * small.covariances_, rtol=1e-12)
