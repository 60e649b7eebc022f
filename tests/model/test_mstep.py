"""The M-step against direct estimates from rows and responsibilities."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.mstep import guarded, maximize
from dask_gmm.model.statistics import Statistics, Totals
from tests.model.mixtures import mixture

TYPES = ("full", "tied", "diag", "spherical")
RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(80, 3))
RESP = RNG.dirichlet(np.ones(2), size=80)
DOUBLE = np.dtype(np.float64)


def before(covariance_type):
    return mixture(covariance_type, n_components=2)


def statistics_about(origins, covariance_type, rows=ROWS, resp=RESP):
    statistics = Statistics.zero(covariance_type, 2, 3)
    statistics.nk[:] = resp.sum(axis=0)
    for k, origin in enumerate(origins):
        statistics.first[k] = resp[:, k] @ (rows - origin)
        covariance_structure(covariance_type).add_second(statistics.second, rows - origin, resp[:, k], k)
    statistics.totals.add(Totals(0.0, float(len(rows)), len(rows)))
    return statistics


def expected_covariances(covariance_type, means):
    matrices = np.stack([((ROWS - means[k]).T * RESP[:, k]) @ (ROWS - means[k]) for k in range(2)])
    nk = RESP.sum(axis=0)
    if covariance_type == "tied":
        return matrices.sum(axis=0) / nk.sum()
    matrices /= nk[:, np.newaxis, np.newaxis]
    variances = np.diagonal(matrices, axis1=1, axis2=2)
    return {"full": matrices, "diag": variances, "spherical": variances.mean(axis=1)}[covariance_type]


@pytest.mark.parametrize("origin", [0.0, 0.3, 10.0])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_whatever_the_moments_are_about(covariance_type, origin):
    origins = np.array([[origin] * 3, [-origin] * 3])
    statistics = statistics_about(origins, covariance_type)
    found = maximize(before(covariance_type), statistics, origins, reg_covar=0.0, dtype=DOUBLE)
    means = (RESP.T @ ROWS) / RESP.sum(axis=0)[:, np.newaxis]
    np.testing.assert_allclose(found.weights, RESP.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.means, means, rtol=1e-12, atol=1e-14)
    expected = expected_covariances(covariance_type, means)
    np.testing.assert_allclose(found.covariances, expected, rtol=1e-11, atol=1e-13)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_reg_covar_is_added_to_the_variances(covariance_type):
    origins = np.zeros((2, 3))
    plain, more = (
        maximize(
            before(covariance_type),
            statistics_about(origins, covariance_type),
            origins,
            reg_covar=r,
            dtype=DOUBLE,
        )
        for r in (0.0, 0.25)
    )
    added = more.covariances - plain.covariances
    expected = 0.25 * np.eye(3) if covariance_type in ("full", "tied") else 0.25
    np.testing.assert_allclose(added, np.broadcast_to(expected, added.shape), atol=1e-14)


def test_weights_add_up_to_one_whatever_the_unit_of_rows():
    statistics = statistics_about(np.zeros((2, 3)), "full", resp=1e-3 * RESP)
    found = maximize(before("full"), statistics, np.zeros((2, 3)), reg_covar=0.0, dtype=DOUBLE)
    assert found.weights.sum() == pytest.approx(1.0, abs=1e-15)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_an_empty_component_stays_where_it_is(dtype):
    resp = np.stack([np.ones(80), np.zeros(80)], axis=1)
    origins = np.array([[0.0] * 3, [5.0] * 3])
    found = maximize(
        before("full"),
        statistics_about(origins, "full", resp=resp),
        origins,
        reg_covar=1e-6,
        dtype=np.dtype(dtype),
    )
    np.testing.assert_array_equal(found.means[1], origins[1])
    np.testing.assert_allclose(found.covariances[1], 1e-6 * np.eye(3))
    assert found.weights[1] == pytest.approx(10 * np.finfo(dtype).eps / 80, rel=1e-3)
    assert guarded(np.zeros(1), np.dtype(dtype))[0] == 10 * np.finfo(dtype).eps


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_collapse_names_the_component(covariance_type):
    flat = np.where(RESP[:, :1] > 0.5, ROWS, [[1.0, 2.0, 3.0]])
    resp = np.stack([RESP[:, 0] > 0.5, RESP[:, 0] <= 0.5], axis=1).astype(float)
    origins = np.array([[0.0] * 3, [1.0, 2.0, 3.0]])
    statistics = statistics_about(origins, covariance_type, flat, resp)
    if covariance_type == "tied":
        maximize(
            before("tied"), statistics, origins, reg_covar=0.0, dtype=DOUBLE
        )  # The other component has spread.
        return
    with pytest.raises(CollapsedComponentError, match="Component 1 has weight") as caught:
        maximize(before(covariance_type), statistics, origins, reg_covar=0.0, dtype=DOUBLE)
    assert caught.value.component == 1
    assert "float64 data" not in str(caught.value)
    with pytest.raises(CollapsedComponentError, match="passing float64 data instead of float32"):
        maximize(before(covariance_type), statistics, origins, reg_covar=0.0, dtype=np.dtype(np.float32))
