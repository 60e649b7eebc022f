"""Rows with holes: the numbers of a row-by-row textbook, and of the plain mixture where nothing is gone."""

from __future__ import annotations

from typing import Any

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.density import Density
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.kernels.conditional import ConditionalKernel as CompiledKernel
from dask_gmm.model.kernels.patterns import pattern_order
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.holes import HOLES
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics
from tests.model.kernel_contract import KernelContract
from tests.model.mixtures import Weighted, mixture, rows_of
from tests.model.textbook import factor_steps

TYPES = pytest.mark.parametrize("covariance_type", covariance_types())
DOUBLE = np.dtype(np.float64)


class TestHolesKernel(KernelContract):
    def kernel(self, density: Density, dtype: np.dtype[Any]):
        return HOLES.kernel(density, dtype)

    def summed(self, kernel, parts):
        density = kernel.density
        more = HOLES.more_shape(density)
        statistics = Statistics.zero(density.covariance_type, density.n_components, density.n_features, more)
        moments = Moments.zero(density.n_features, scatter=True)
        for rows, weights in parts:
            kernel.accumulate(statistics, Weighted(rows, weights))
            moments = moments.with_partial_rows(rows, weights)
        return kernel.completed(statistics, moments)


def with_holes(rows, share=0.3, seed=0):
    rows = rows.copy()
    rows[np.random.default_rng(seed).random(rows.shape) < share] = np.nan
    return rows


def matrices(parameters: Parameters):
    """Return the covariance matrix of each component."""
    structure, d = parameters.structure, parameters.n_features
    roots = [
        structure.whitened(np.eye(d), np.zeros(d), parameters.precisions_cholesky, k)
        for k in range(parameters.n_components)
    ]
    return np.array([np.linalg.inv(root @ root.T) for root in roots])


def textbook(parameters: Parameters, rows, weights):
    """Return each row's log-joint, expected values and their covariance, row by row."""
    n, (k_all, d) = len(rows), parameters.means.shape
    joint = np.empty((n, k_all))
    expected, spread = np.zeros((k_all, n, d)), np.zeros((k_all, n, d, d))
    covariances = matrices(parameters)
    for i, row in enumerate(rows):
        here = np.flatnonzero(~np.isnan(row))
        gone = np.flatnonzero(np.isnan(row))
        for k in range(k_all):
            mean, covariance = parameters.means[k], covariances[k]
            own = covariance[np.ix_(here, here)]
            log = multivariate_normal(mean[here], own).logpdf(row[here]) if len(here) else 0.0
            joint[i, k] = np.log(parameters.weights[k]) + log
            expected[k, i, here] = row[here]
            expected[k, i, gone] = mean[gone]
            if len(here):
                slope = np.linalg.solve(own, covariance[np.ix_(here, gone)])
                expected[k, i, gone] += (row[here] - mean[here]) @ slope
                spread[k, i][np.ix_(gone, gone)] = (
                    covariance[np.ix_(gone, gone)] - covariance[np.ix_(gone, here)] @ slope
                )
            else:
                spread[k, i] = covariance
    told = ~np.isnan(rows).all(axis=1)
    factor = told * (np.ones(n) if weights is None else weights)
    log_density = np.where(told, logsumexp(joint, axis=1), 0.0)
    resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    return log_density, resp, factor, expected, spread


def textbook_step(parameters: Parameters, rows, weights):
    """Return the next iterate: full and tied by filled-in moments, the others by what is there."""
    log_density, resp, factor, expected, spread = textbook(parameters, rows, weights)
    r = resp * factor[:, np.newaxis]
    nk = r.sum(axis=0)
    if parameters.covariance_type in ("full", "tied", "factor"):
        means = np.einsum("nk,knd->kd", r, expected) / nk[:, np.newaxis]
        away = expected - means[:, np.newaxis]
        sums = np.einsum("nk,kni,knj->kij", r, away, away) + np.einsum("nk,knij->kij", r, spread)
        if parameters.covariance_type == "full":
            covariances = sums / nk[:, np.newaxis, np.newaxis]
        elif parameters.covariance_type == "factor":
            covariances = factor_steps(sums / nk[:, np.newaxis, np.newaxis], parameters.covariances)
        else:
            covariances = sums.sum(axis=0) / nk.sum()
    else:
        seen, values = ~np.isnan(rows), np.nan_to_num(rows)
        counts = r.T @ seen
        means = (r.T @ values) / counts
        squares = np.array([r[:, k] @ (seen * (values - mean) ** 2) for k, mean in enumerate(means)])
        covariances = squares / counts
        if parameters.covariance_type == "spherical":
            covariances = squares.sum(axis=1) / counts.sum(axis=1)
    found = Parameters.from_covariances(parameters.covariance_type, nk / nk.sum(), means, covariances)
    return log_density @ factor / factor.sum(), found


def step(parameters: Parameters, rows, weights=None, parts=1):
    """Return our objective and next iterate, with the rows in several blocks."""
    density = Density.of(parameters)
    kernel = HOLES.kernel(density, rows.dtype)
    statistics = Statistics.zero(
        density.covariance_type, density.n_components, density.n_features, HOLES.more_shape(density)
    )
    moments = Moments.zero(density.n_features, scatter=True)
    for part in np.array_split(np.arange(len(rows)), parts):
        own = None if weights is None else weights[part]
        kernel.accumulate(statistics, Weighted(rows[part], own))
        moments = moments.with_partial_rows(rows[part], own)
    statistics = kernel.completed(statistics, moments)
    following = MAXIMUM_LIKELIHOOD.maximize(
        parameters, statistics, kernel.origins, reg_covar=0.0, dtype=DOUBLE
    )
    return statistics.mean_log_likelihood, following


def assert_same(found: Parameters, expected: Parameters, rtol=1e-10, scale=1.0):
    assert_allclose(found.weights, expected.weights, rtol=rtol, atol=rtol)
    assert_allclose(found.means, expected.means, rtol=rtol, atol=rtol * scale)
    assert_allclose(found.covariances, expected.covariances, rtol=rtol, atol=rtol * scale)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("distance", [1.0, 300.0])
@TYPES
def test_iterates_of_the_textbook(covariance_type, distance, weighted):
    parameters = mixture(covariance_type, distance, n_features=4)
    rows = with_holes(rows_of(parameters, 300))
    rows[7] = np.nan
    weights = np.random.default_rng(3).uniform(size=300) if weighted else None
    ours = theirs = parameters
    for _ in range(4):
        bound, theirs = textbook_step(theirs, rows, weights)
        found, ours = step(ours, rows, weights, parts=3)
        assert found == pytest.approx(bound, rel=1e-10)
        assert_same(ours, theirs, 1e-9, distance)


@TYPES
def test_predictions_of_the_textbook(covariance_type):
    parameters = mixture(covariance_type, 2.0, n_features=5)
    rows = with_holes(rows_of(parameters, 400), 0.4)
    rows[3] = np.nan
    log_density, resp, _, expected, _ = textbook(parameters, rows, None)
    kernel = HOLES.kernel(Density.of(parameters), DOUBLE)
    found, own, labels = np.empty(400), np.empty((400, 4)), np.empty(400, np.int64)
    kernel.log_density(Weighted(rows), found)
    kernel.responsibilities(Weighted(rows), own)
    kernel.labels(Weighted(rows), labels)
    assert_allclose(found, log_density, rtol=1e-10)
    assert_allclose(own, resp, atol=1e-10)
    assert_array_equal(labels, resp.argmax(axis=1))
    filled = np.empty_like(rows)
    kernel.impute(Weighted(rows), filled)
    there = np.isnan(rows)
    assert_array_equal(filled[~there], rows[~there])
    assert_allclose(filled[there], np.einsum("nk,knd->nd", resp, expected)[there], rtol=1e-9, atol=1e-9)
    assert_array_equal(kernel.told(Weighted(rows)), ~np.isnan(rows).all(axis=1))


@TYPES
def test_complete_rows_have_the_bits_of_a_plain_pass(covariance_type):
    parameters = mixture(covariance_type, 2.0)
    rows = rows_of(parameters, 1000)
    both = []
    for observation in (HOLES, COMPLETE):
        kernel = observation.kernel(Density.of(parameters), DOUBLE)
        statistics = Statistics.zero(covariance_type, 4, 3, observation.more_shape(kernel.density))
        kernel.accumulate(statistics, Weighted(rows))
        moments = Moments.zero(3, scatter=True).with_rows(rows, None)
        statistics = kernel.completed(statistics, moments)
        both.append([array.tobytes() for array in (statistics.nk, statistics.first, statistics.second)])
    assert both[0] == both[1]


@TYPES
def test_weights_are_repetitions(covariance_type):
    parameters = mixture(covariance_type, 2.0)
    rows = with_holes(rows_of(parameters, 200))
    weights = np.random.default_rng(1).integers(0, 4, size=200)
    bound, found = step(parameters, rows, weights.astype(float))
    expected_bound, expected = step(parameters, np.repeat(rows, weights, axis=0))
    assert bound == pytest.approx(expected_bound, rel=1e-12)
    assert_same(found, expected, 1e-11)


@TYPES
def test_the_bound_never_falls(covariance_type):
    parameters = mixture(covariance_type, 1.0)
    rows = with_holes(rows_of(mixture(covariance_type, 2.0, seed=11), 300), 0.35)
    bounds = []
    for _ in range(200):
        bound, parameters = step(parameters, rows)
        bounds.append(bound)
    assert np.diff(bounds).min() > -1e-12


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(covariance_types()), st.integers(0, 10**6), st.integers(1, 7), st.booleans())
def test_any_patterns_chunks_and_weights(covariance_type, seed, parts, weighted):
    rng = np.random.default_rng(seed)
    parameters = mixture(covariance_type, 2.0, seed=seed % 97)
    rows = rows_of(parameters, 120)
    patterns = rng.random((int(rng.integers(1, 30)), 3)) < rng.uniform(0.0, 0.8)
    rows[patterns[rng.integers(len(patterns), size=120)]] = np.nan
    rows[:30] = rows_of(parameters, 30)
    weights = rng.uniform(size=120) * (rng.random(120) < 0.9) if weighted else None
    bound, once = step(parameters, rows, weights)
    again_bound, again = step(parameters, rows, weights, parts)
    assert again_bound == pytest.approx(bound, rel=1e-12)
    assert_same(again, once, 1e-11)
    assert step(once, rows, weights)[0] > bound - 1e-12


@TYPES
def test_an_offset_costs_no_digits(covariance_type):
    parameters = mixture(covariance_type, 2.0)
    rows = np.round(with_holes(rows_of(parameters, 400)) * 2**20) / 2**20
    _, near = step(parameters, rows)
    from dataclasses import replace

    offset = 2.0**27
    _, far = step(replace(parameters, means=parameters.means + offset), rows + offset)
    assert_allclose(far.covariances, near.covariances, rtol=1e-8, atol=1e-8)
    assert_allclose(far.means - offset, near.means, atol=1e-7)


@pytest.mark.parametrize("condition", [1e2, 1e4, 1e8])
def test_log_densities_to_fifty_digits(condition):
    """Correlations of any condition, features of any scale."""
    d, rng = 6, np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    matrix = q @ np.diag(np.geomspace(1.0, 1.0 / condition, d)) @ q.T
    scales = np.geomspace(1e-6, 1e6, d)
    covariance = matrix * np.outer(scales, scales)
    parameters = Parameters.from_covariances("full", [1.0], np.zeros((1, d)), covariance[np.newaxis])
    rows = with_holes(rng.multivariate_normal(np.zeros(d), matrix, 60) * scales, 0.4)
    rows = rows[~np.isnan(rows).all(axis=1)]
    kernel = HOLES.kernel(Density.of(parameters), DOUBLE)
    found = np.empty(len(rows))
    kernel.log_density(Weighted(rows), found)
    mpmath.mp.dps, away = 50, []
    for row, value in zip(rows, found, strict=True):
        here = np.flatnonzero(~np.isnan(row))
        own = mpmath.matrix(covariance[np.ix_(here, here)].tolist())
        u = mpmath.matrix(row[here].tolist())
        distance = (u.T * mpmath.lu_solve(own, u))[0]
        exact = -(distance + mpmath.log(mpmath.det(own)) + len(here) * mpmath.log(2 * mpmath.pi)) / 2
        away.append(abs(float(exact - value)))
    assert np.mean(away) < 1e-9
    assert max(away) < 1e-8


@pytest.mark.parametrize("least_squares", [False, True])
@pytest.mark.parametrize(("n_components", "n_features"), [(1, 1), (3, 2), (2, 11), (5, 20)])
def test_both_ways_to_solve(n_components, n_features, least_squares):
    parameters = mixture("full", 1.0, n_components, n_features)
    density = Density.of(parameters)
    components = density.components
    kernel = CompiledKernel(
        components.means, components.factors, components.peaks, least_squares=least_squares
    )
    rows = with_holes(rows_of(parameters, 150), 0.5)
    rows[:60, 0] = np.nan
    log_density, resp, _, _, _ = textbook(parameters, rows, None)
    found, own = np.empty(150), np.empty((150, n_components))
    kernel.log_density(rows, found)
    kernel.responsibilities(rows, own)
    told = ~np.isnan(rows).all(axis=1)
    assert_allclose(found[told], log_density[told], rtol=1e-10, atol=1e-10)
    assert_allclose(own, resp, atol=1e-10)
    single = np.empty(150, np.float32)
    kernel.log_density(rows.astype(np.float32), single)
    assert_allclose(single[told], log_density[told], rtol=1e-4, atol=1e-4)


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 200), st.integers(1, 20), st.integers(0, 1000), st.integers(1, 40))
def test_tiles_are_of_one_pattern_or_sorted(n, d, seed, n_tile):
    rng = np.random.default_rng(seed)
    patterns = rng.random((3, d)) < 0.5
    rows = np.zeros((n, d))
    rows[np.where(rng.random((n, 1)) < 0.7, patterns[rng.integers(3, size=n)], rng.random((n, d)) < 0.3)] = (
        np.nan
    )
    order = pattern_order(rows, n_tile, 8)
    assert_array_equal(np.sort(order.rows), np.arange(n))
    holes = np.isnan(rows)[order.rows]
    assert order.most == holes.sum(axis=1).max()
    assert order.starts[0] == 0
    assert order.starts[-1] == n
    for start, end, same in zip(order.starts[:-1], order.starts[1:], order.same, strict=True):
        assert 0 < end - start <= n_tile
        if same:
            assert (holes[start:end] == holes[start]).all()
    mixed = order.starts[:-1][~order.same]
    if len(mixed):
        assert np.diff(holes[mixed[0] :].sum(axis=1)).min(initial=0) >= 0
