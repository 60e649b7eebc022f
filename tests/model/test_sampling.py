"""Rows drawn from a mixture have its weights, means and covariances."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.model.parameters import Parameters
from dask_gmm.model.sampling import draw

MATRICES = np.array([[[2.0, 0.8], [0.8, 1.0]], [[0.5, -0.3], [-0.3, 3.0]]])
COVARIANCES = {
    "full": MATRICES,
    "tied": MATRICES[0],
    "diag": np.array([[1.0, 4.0], [9.0, 0.25]]),
    "spherical": np.array([1.0, 16.0]),
}


def mixture(covariance_type: str, weights: tuple[float, ...] = (0.3, 0.7)) -> Parameters:
    return Parameters.from_covariances(
        covariance_type, weights, [[-50.0, 0.0], [50.0, 7.0]], COVARIANCES[covariance_type]
    )


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_moments_of_the_draws(covariance_type):
    parameters = mixture(covariance_type)
    X, y = draw(parameters, 40_000, np.random.RandomState(0))
    np.testing.assert_allclose(np.bincount(y) / 40_000, [0.3, 0.7], atol=0.01)
    for k in range(2):
        # Sampling errors are about one over the root of the number of draws.
        np.testing.assert_allclose(X[y == k].mean(axis=0), parameters.means[k], atol=0.2)
        expected = {
            "full": lambda k: MATRICES[k],
            "tied": lambda k: MATRICES[0],
            "diag": lambda k: np.diag(COVARIANCES["diag"][k]),
            "spherical": lambda k: COVARIANCES["spherical"][k] * np.eye(2),
        }[covariance_type](k)
        np.testing.assert_allclose(np.cov(X[y == k].T), expected, atol=0.05 * expected.max())


@pytest.mark.parametrize("covariance_type", COVARIANCES)
def test_component_by_component(covariance_type):
    X, y = draw(mixture(covariance_type), 500, np.random.RandomState(1))
    assert (X.shape, X.dtype, y.shape, y.dtype) == ((500, 2), np.float64, (500,), np.int64)
    np.testing.assert_array_equal(y, np.sort(y))
    np.testing.assert_array_equal(X[:, 0] > 0, y == 1)


def test_weights_that_were_rounded_up_still_draw():
    X, _ = draw(mixture("full", (0.3, 0.7 + 1e-7)), 10, np.random.RandomState(0))
    assert len(X) == 10


def test_a_component_without_weight_is_never_drawn():
    _, y = draw(mixture("diag", (0.0, 1.0)), 1000, np.random.RandomState(0))
    assert set(y) == {1}
