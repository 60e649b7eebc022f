"""A uniform background: monotone, and the iterates of the textbook."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.special import logsumexp

from dask_gmm.errors import DataError
from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.density import Density
from dask_gmm.model.estimation.background import OverBackground, log_volume_of
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.statistics import Statistics
from tests.model.estimation_contract import EstimationContract
from tests.model.mixtures import Weighted, log_joint, mixture, rows_of

LOG_VOLUME = 5.0
TYPES = pytest.mark.parametrize("covariance_type", covariance_types())
DOUBLE = np.dtype(np.float64)


def over_background(parameters):
    return OverBackground(MAXIMUM_LIKELIHOOD, LOG_VOLUME, 1).as_given(parameters)


class TestOverBackground(EstimationContract):
    """The reference kernel knows no background: statistics are those of the compiled ones."""

    estimation = OverBackground(MAXIMUM_LIKELIHOOD, LOG_VOLUME, 1)

    def e_step(self, parameters, rows):
        parameters = parameters if parameters.background else over_background(parameters)
        return statistics_of(parameters, rows)

    def step(self, parameters, rows):
        return super().step(parameters if parameters.background else over_background(parameters), rows)

    def test_weights_sum_to_one(self, covariance_type):
        parameters = over_background(mixture(covariance_type))
        for _ in range(3):
            _, parameters = self.step(parameters, rows_of(mixture(covariance_type), 300))
            assert parameters.weights.sum() + parameters.background.weight == pytest.approx(1.0, abs=1e-12)

    def test_what_comes_in_stays_as_it_is(self, covariance_type):
        parameters = over_background(mixture(covariance_type))
        statistics, origins = self.e_step(parameters, rows_of(parameters))
        arrays = [statistics.nk, statistics.first, statistics.second, origins, parameters.weights]
        before = [array.copy() for array in arrays]
        self.estimation.maximize(parameters, statistics, origins, reg_covar=0.0, dtype=DOUBLE)
        for array, copy in zip(arrays, before, strict=True):
            np.testing.assert_array_equal(array, copy)


def statistics_of(parameters, rows, weights=None, dtype=DOUBLE):
    kernel = COMPLETE.kernel(Density.of(parameters), dtype)
    statistics = Statistics.zero(parameters.covariance_type, parameters.n_components, parameters.n_features)
    kernel.accumulate(statistics, Weighted(rows, weights))
    return kernel.completed(statistics, Moments.zero(parameters.n_features, scatter=True)), kernel.origins


@pytest.mark.parametrize("distance", [1.0, 300.0])
@TYPES
def test_statistics_of_the_textbook(covariance_type, distance):
    """Both compiled kernels, and that of factor analysers."""
    parameters = over_background(mixture(covariance_type, distance))
    rng = np.random.default_rng(1)
    rows = np.concatenate([rows_of(parameters, 300), rng.uniform(-5, 5, size=(50, 3)) * distance])
    rows[7] = 1e30  # belongs to nothing else
    weights = rng.uniform(size=len(rows))
    statistics, origins = statistics_of(parameters, rows, weights)
    with np.errstate(over="ignore", invalid="ignore"):
        joint = log_joint(parameters, rows)
    joint[7] = -np.inf
    background = np.full((len(rows), 1), np.log(parameters.background.weight) - LOG_VOLUME)
    total = logsumexp(np.hstack([joint, background]), axis=1)
    resp = np.exp(joint - total[:, np.newaxis]) * weights[:, np.newaxis]
    assert statistics.totals.log_likelihood == pytest.approx(total @ weights, rel=1e-10)
    assert_allclose(statistics.nk, resp.sum(axis=0), rtol=1e-8, atol=1e-9)
    there = np.flatnonzero(np.arange(len(rows)) != 7)
    second = np.zeros_like(statistics.second)
    for k, origin in enumerate(origins):
        parameters.structure.add_second(
            second, rows[there] - origin, resp[there, k], k, parameters.precisions_cholesky
        )
    assert_allclose(statistics.second, second, rtol=1e-7, atol=1e-8 * np.abs(second).max())


@TYPES
def test_predictions_of_the_textbook(covariance_type):
    parameters = over_background(mixture(covariance_type, 4.0))
    rows = np.concatenate(
        [rows_of(parameters, 200), np.random.default_rng(2).uniform(-20, 20, size=(100, 3))]
    )
    joint = log_joint(parameters, rows)
    everything = np.hstack([joint, np.full((300, 1), np.log(0.05) - LOG_VOLUME)])
    total = logsumexp(everything, axis=1)
    kernel = COMPLETE.kernel(Density.of(parameters), DOUBLE)
    density, resp, labels = np.empty(300), np.empty((300, 4)), np.empty(300, np.int64)
    kernel.log_density(Weighted(rows), density)
    kernel.responsibilities(Weighted(rows), resp)
    kernel.labels(Weighted(rows), labels)
    assert_allclose(density, total, rtol=1e-10)
    assert_allclose(resp, np.exp(joint - total[:, np.newaxis]), atol=1e-10)
    expected = everything.argmax(axis=1)
    np.testing.assert_array_equal(labels, np.where(expected == 4, -1, expected))
    assert (labels == -1).sum() > 50


def test_the_box_of_the_rows():
    rows = np.random.default_rng(3).normal(size=(100, 3))
    moments = Moments.zero(3, scatter=False, box=True)
    parts = [moments.with_rows(part, None).with_box_of(part) for part in np.array_split(rows, 3)]
    merged = parts[0].merged(parts[1]).merged(moments).merged(parts[2])
    assert log_volume_of(merged) == pytest.approx(np.log(np.ptp(rows, axis=0)).sum(), rel=1e-14)
    rows[:, 1] = 4.0
    with pytest.raises(DataError, match="Feature 1 of X has the same value in all rows"):
        log_volume_of(moments.with_rows(rows, None).with_box_of(rows))
