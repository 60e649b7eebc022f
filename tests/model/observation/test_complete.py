"""Whatever kernel is chosen for complete rows, it says what the definition of a mixture says."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.density import Density
from dask_gmm.model.observation.complete import COMPLETE
from tests.model.kernel_contract import KernelContract
from tests.model.mixtures import Weighted, mixture, rows_of
from tests.model.reference import ReferenceKernel


class TestChosen(KernelContract):
    def kernel(self, density, dtype):
        return COMPLETE.kernel(density, dtype)


class TestReference(KernelContract):
    def kernel(self, density, dtype):
        return ReferenceKernel(density)


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_offsets_lose_nothing(covariance_type):
    parameters = mixture(covariance_type, offset=1e8)
    rows = rows_of(parameters)
    found, exact = np.empty(500), np.empty(500)
    COMPLETE.kernel(Density.of(parameters), rows.dtype).log_density(Weighted(rows), found)
    ReferenceKernel(Density.of(parameters)).log_density(Weighted(rows), exact)
    np.testing.assert_allclose(found, exact, rtol=1e-11)
