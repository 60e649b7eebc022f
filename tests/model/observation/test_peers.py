"""Other people's engines, from the same start: the same iterates. Figures are printed (``pytest -s``)."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from dask_gmm.model.parameters import Parameters
from tests.model.mixtures import mixture, rows_of
from tests.model.observation import test_holes, test_measured


def largest_difference(found: Parameters, expected: Parameters) -> float:
    names = ("weights", "means", "covariances")
    return max(float(np.abs(getattr(found, name) - getattr(expected, name)).max()) for name in names)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
@pytest.mark.parametrize("covariance_type", ["diag", "spherical"])
def test_stepmix(covariance_type, share):
    """Its Gaussians for missing values have no covariances between features."""
    gaussian = pytest.importorskip("stepmix.emission.gaussian")
    kind = {"diag": gaussian.GaussianDiagNan, "spherical": gaussian.GaussianSphericalNan}[covariance_type]
    start = mixture(covariance_type, 2.0, n_features=5)
    rows = test_holes.with_holes(rows_of(start, 2000), share)
    rows = rows[~np.isnan(rows).all(axis=1)]
    theirs = kind(n_components=4, random_state=0)
    covariances = start.structure.by_feature(start.covariances, 5) * np.ones((4, 5))
    theirs.set_parameters({"means": start.means.copy(), "covariances": covariances})
    weights, ours, bounds = start.weights, start, []
    for _ in range(20):
        joint = theirs.log_likelihood(rows) + np.log(weights)
        bound = logsumexp(joint, axis=1, keepdims=True)
        resp = np.exp(joint - bound)
        theirs.m_step(rows, resp)
        weights = resp.mean(axis=0)
        found, ours = test_holes.step(ours, rows)
        bounds.append(abs(found - bound.mean()))
    found = theirs.get_parameters()
    covariances = found["covariances"] if covariance_type == "diag" else found["covariances"][:, 0]
    expected = Parameters.from_covariances(covariance_type, weights, found["means"], covariances)
    difference = largest_difference(ours, expected)
    print(f"StepMix, {covariance_type}, {share:.0%}: bounds {max(bounds):.1e}, parameters {difference:.1e}")
    assert max(bounds) < 1e-10
    assert difference < 1e-10


@pytest.mark.parametrize("correlated", [False, True])
@pytest.mark.parametrize("d", [2, 3, 6])
def test_astroml(d, correlated):
    deconvolution = pytest.importorskip("astroML.density_estimation")
    start, rows, errors = test_measured.noisy("full", 400, d)
    noise = errors[:, :, np.newaxis] ** 2 * np.eye(d)
    correlations = None
    if correlated:
        rho = np.random.default_rng(1).uniform(-0.9, 0.9, 400)
        correlations = {(0, 1): rho}
        noise[:, 0, 1] = noise[:, 1, 0] = rho * errors[:, 0] * errors[:, 1]
    theirs = deconvolution.XDGMM(n_components=start.n_components)
    theirs.alpha, theirs.mu, theirs.V = start.weights, start.means, start.covariances
    ours, bounds = start, []
    for _ in range(5):
        bound = theirs.logL(rows, noise) / len(rows)
        theirs._EMstep(rows, noise)
        found, ours = test_measured.step(ours, rows, errors, correlations=correlations)
        bounds.append(abs(found - bound))
    expected = Parameters.from_covariances("full", theirs.alpha, theirs.mu, theirs.V)
    difference = largest_difference(ours, expected)
    print(f"XDGMM, d = {d}, {correlated=}: bounds {max(bounds):.1e}, parameters {difference:.1e}")
    assert max(bounds) < 1e-10
    assert difference < 1e-10
    assert_allclose(ours.means, theirs.mu, rtol=1e-10, atol=1e-10)
