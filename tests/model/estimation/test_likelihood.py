"""Maximum likelihood: the objective is the likelihood, and an iteration never lowers it."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.statistics import Statistics
from tests.model.mixtures import mixture, rows_of
from tests.model.reference import ReferenceKernel


def step(parameters, rows):
    """Return the objective of the parameters, and those of the next iteration."""
    kernel = ReferenceKernel(MAXIMUM_LIKELIHOOD.density(parameters))
    statistics = Statistics.zero(parameters.covariance_type, parameters.n_components, parameters.n_features)
    kernel.accumulate(statistics, rows, None)
    following = MAXIMUM_LIKELIHOOD.maximize(
        parameters, statistics, kernel.origins, reg_covar=0.0, dtype=rows.dtype
    )
    return MAXIMUM_LIKELIHOOD.objective(parameters, statistics), following


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_no_iteration_lowers_the_objective(covariance_type):
    parameters = mixture(covariance_type)
    rows = rows_of(mixture(covariance_type, distance=2.0, seed=11), 400)
    objectives = []
    for _ in range(30):
        objective, parameters = step(parameters, rows)
        objectives.append(objective)
    assert np.diff(objectives).min() > -1e-12
    assert objectives[-1] > objectives[0] + 0.1


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_the_objective_is_the_mean_log_density(covariance_type):
    parameters = mixture(covariance_type)
    rows = rows_of(parameters)
    density = np.empty(500)
    ReferenceKernel(MAXIMUM_LIKELIHOOD.density(parameters)).log_density(rows, density)
    assert step(parameters, rows)[0] == pytest.approx(density.mean(), rel=1e-12)
