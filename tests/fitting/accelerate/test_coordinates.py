"""Parameters as a vector: there and back, and a length that is the distance of distributions."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.fitting.accelerate.coordinates import Coordinates
from dask_gmm.model.parameters import Parameters

TYPES = ("full", "tied", "diag", "spherical")


def mixture(covariance_type, seed):
    rng = np.random.default_rng(seed)
    shape = {"full": (3, 4, 4), "tied": (4, 4), "diag": (3, 4), "spherical": (3,)}[covariance_type]
    covariances = rng.uniform(0.5, 2.0, size=shape)
    if covariance_type in ("full", "tied"):
        covariances = covariances @ np.swapaxes(covariances, -1, -2) + np.eye(4)
    weights = rng.dirichlet(np.ones(3))
    return Parameters.from_covariances(covariance_type, weights, rng.normal(size=(3, 4)), covariances)


def divergence(one, other):
    """Kullback-Leibler divergence of the joint distributions of component and row."""
    total = one.weights @ np.log(one.weights / other.weights)
    for k in range(3):
        ours, theirs = matrix(one, k), matrix(other, k)
        distance = other.means[k] - one.means[k]
        inner = np.trace(np.linalg.solve(theirs, ours)) - 4 + distance @ np.linalg.solve(theirs, distance)
        logs = np.linalg.slogdet(theirs)[1] - np.linalg.slogdet(ours)[1]
        total += one.weights[k] * 0.5 * (inner + logs)
    return total


def matrix(parameters, k):
    match parameters.covariance_type:
        case "full":
            return parameters.covariances[k]
        case "tied":
            return parameters.covariances
        case "diag":
            return np.diag(parameters.covariances[k])
        case _:
            return parameters.covariances[k] * np.eye(4)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_there_and_back(covariance_type):
    coordinates = Coordinates(mixture(covariance_type, 0))
    there = mixture(covariance_type, 1)
    back = coordinates.parameters(coordinates.vector(there))
    for name in ("weights", "means", "covariances", "precisions_cholesky"):
        np.testing.assert_allclose(getattr(back, name), getattr(there, name), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_origin_is_zero(covariance_type):
    origin = mixture(covariance_type, 0)
    np.testing.assert_allclose(Coordinates(origin).vector(origin), 0.0, atol=1e-14)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_lengths_are_distances_of_distributions(covariance_type):
    coordinates = Coordinates(mixture(covariance_type, 0))
    rng = np.random.default_rng(2)
    for _ in range(5):
        step = rng.normal(size=len(coordinates.lengths))
        # The weights sum to one: their logs have one direction less.
        roots = np.sqrt(coordinates.origin.weights)
        step[:3] -= roots * (roots @ step[:3])
        step *= 1e-4 / np.linalg.norm(step)
        other = coordinates.parameters(step)
        np.testing.assert_allclose(divergence(coordinates.origin, other), 0.5e-8, rtol=1e-3)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_every_point_is_a_mixture(covariance_type):
    coordinates = Coordinates(mixture(covariance_type, 0))
    far = coordinates.parameters(5.0 * np.random.default_rng(3).normal(size=len(coordinates.lengths)))
    assert far.weights.min() > 0
    np.testing.assert_allclose(far.weights.sum(), 1.0)
    assert min(np.linalg.eigvalsh(matrix(far, k))[0] for k in range(3)) > 0
