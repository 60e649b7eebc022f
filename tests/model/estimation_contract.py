"""What every way to estimate parameters must hold to: subclass `EstimationContract` for a new one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics
from tests.model.mixtures import Weighted, mixture, rows_of
from tests.model.reference import ReferenceKernel


class EstimationContract:
    """The promises of `dask_gmm.model.estimation.estimation.Estimation`.

    Attributes
    ----------
    estimation : Estimation
    n_iter : int
        Iterations after which the objective has risen by a tenth of a nat a row.
    """

    estimation: Estimation
    n_iter = 30

    @pytest.fixture(params=covariance_types())
    def covariance_type(self, request: Any) -> str:
        """Each type that it is for."""
        return str(request.param)

    def e_step(self, parameters: Parameters, rows: NDArray[Any]) -> tuple[Statistics, NDArray[np.float64]]:
        """Return the statistics of rows under `parameters`, and what their moments are about."""
        kernel = ReferenceKernel(self.estimation.density(parameters))
        statistics = Statistics.zero(
            parameters.covariance_type, parameters.n_components, parameters.n_features
        )
        kernel.accumulate(statistics, Weighted(rows))
        return statistics, kernel.origins

    def step(self, parameters: Parameters, rows: NDArray[Any]) -> tuple[float, Parameters]:
        """Return the objective of the parameters, and those of the next iteration."""
        statistics, origins = self.e_step(parameters, rows)
        following = self.estimation.maximize(parameters, statistics, origins, reg_covar=0.0, dtype=rows.dtype)
        return self.estimation.objective(parameters, statistics), following

    def test_no_iteration_lowers_the_objective(self, covariance_type: str) -> None:
        parameters = mixture(covariance_type)
        rows = rows_of(mixture(covariance_type, distance=2.0, seed=11), 400)
        objectives = []
        for _ in range(self.n_iter):
            objective, parameters = self.step(parameters, rows)
            objectives.append(objective)
        assert np.diff(objectives).min() > -1e-12
        assert objectives[-1] > objectives[0] + 0.1

    def test_the_density_is_of_the_same_mixture(self, covariance_type: str) -> None:
        parameters = mixture(covariance_type)
        density = self.estimation.density(parameters)
        assert density.covariance_type == covariance_type
        assert density.weights.shape == parameters.weights.shape
        assert density.means.shape == parameters.means.shape
        assert density.precisions_cholesky.shape == parameters.precisions_cholesky.shape

    def test_what_comes_in_stays_as_it_is(self, covariance_type: str) -> None:
        """A step that is rejected later goes on from the same statistics and parameters."""
        parameters = mixture(covariance_type)
        statistics, origins = self.e_step(parameters, rows_of(parameters))
        arrays = [
            *(statistics.nk, statistics.first, statistics.second, origins),
            *(parameters.weights, parameters.means, parameters.covariances, parameters.precisions_cholesky),
        ]
        before = [array.copy() for array in arrays]
        objectives = {self.estimation.objective(parameters, statistics) for _ in range(2)}
        self.estimation.maximize(parameters, statistics, origins, reg_covar=1e-6, dtype=np.dtype(np.float64))
        objectives.add(self.estimation.objective(parameters, statistics))
        assert len(objectives) == 1
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)

    def test_weights_sum_to_one(self, covariance_type: str) -> None:
        parameters = mixture(covariance_type)
        _, following = self.step(parameters, rows_of(parameters))
        assert following.weights.sum() == pytest.approx(1.0, rel=1e-12)
        assert (following.weights >= 0.0).all()
