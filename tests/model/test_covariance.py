"""What every covariance structure must hold to."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.model.covariance import covariance_structure


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_factors_lead_back_to_the_covariances(covariance_type):
    rng = np.random.default_rng(0)
    structure = covariance_structure(covariance_type)
    shape = structure.shape(3, 4)
    covariances = rng.uniform(0.5, 2.0, size=shape)
    if covariance_type in ("full", "tied"):
        covariances = covariances @ np.swapaxes(covariances, -1, -2) + np.eye(4)
    factors = structure.cholesky(covariances)
    np.testing.assert_allclose(structure.inverse(factors), covariances, rtol=1e-12)
    np.testing.assert_allclose(
        structure.cholesky_of_precisions(structure.precisions(factors)), factors, rtol=1e-10, atol=1e-12
    )
