"""Maximum likelihood: the objective is the likelihood, and an iteration never lowers it."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from tests.model.estimation_contract import EstimationContract
from tests.model.mixtures import Weighted, mixture, rows_of
from tests.model.reference import ReferenceKernel


class TestMaximumLikelihood(EstimationContract):
    estimation = MAXIMUM_LIKELIHOOD

    @pytest.mark.parametrize("covariance_type", covariance_types())
    def test_the_objective_is_the_mean_log_density(self, covariance_type):
        parameters = mixture(covariance_type)
        rows = rows_of(parameters)
        density = np.empty(500)
        ReferenceKernel(self.estimation.density(parameters)).log_density(Weighted(rows), density)
        assert self.step(parameters, rows)[0] == pytest.approx(density.mean(), rel=1e-12)

    @pytest.mark.parametrize("covariance_type", covariance_types())
    def test_a_component_without_spread_is_an_error(self, covariance_type):
        with pytest.raises(CollapsedComponentError):
            self.step(mixture(covariance_type), np.zeros((50, 3)))
