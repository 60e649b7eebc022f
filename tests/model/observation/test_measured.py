"""Rows with errors: the numbers of a row-by-row textbook, and of the plain mixture where there are none."""

from __future__ import annotations

from dataclasses import replace

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
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.holes import HOLES
from dask_gmm.model.observation.measured import MEASURED
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics
from tests.model.kernel_contract import KernelContract
from tests.model.mixtures import Weighted, mixture, rows_of
from tests.model.textbook import factor_steps

TYPES = pytest.mark.parametrize("covariance_type", covariance_types())
DOUBLE = np.dtype(np.float64)


class TestMeasuredRows(KernelContract):
    """Without errors beside them, rows are exact."""

    def kernel(self, density, dtype):
        return MEASURED.kernel(density, dtype)

    def summed(self, kernel, parts):
        return summed(kernel, parts)


def summed(kernel, parts):
    density = kernel.density
    more = MEASURED.more_shape(density)
    statistics = Statistics.zero(density.covariance_type, density.n_components, density.n_features, more)
    moments = Moments.zero(density.n_features, scatter=True)
    for rows, weights, *columns in parts:
        own = columns[0] if columns else {}
        kernel.accumulate(statistics, Weighted(rows, weights, own))
        errors = (
            np.array([own[f"error {j}"] for j in range(rows.shape[1])]).T if own else np.zeros(rows.shape)
        )
        known = np.where(np.isinf(errors), np.nan, rows)
        inexact = (np.where(np.isnan(known), 0.0, errors) > 0.0).any(axis=1)
        moments = moments.with_partial_rows(known, weights, inexact)
    return kernel.completed(statistics, moments)


def columns_of(errors, correlations=None):
    columns = {f"error {j}": errors[:, j].copy() for j in range(errors.shape[1])}
    for (i, j), values in (correlations or {}).items():
        columns[f"correlation {i} {j}"] = values
    return columns


def textbook(parameters, rows, errors, correlations=None):
    """Return each row's log-joint, expected distance from the means, and its covariance."""
    structure = parameters.structure
    (n, d), k_all = rows.shape, parameters.n_components
    matrices = structure.as_matrices(parameters.covariances, k_all, d)
    joint, expected, spread = np.zeros((n, k_all)), np.zeros((k_all, n, d)), np.zeros((k_all, n, d, d))
    for i, row in enumerate(rows):
        here = np.flatnonzero(~np.isnan(row) & np.isfinite(errors[i]))
        noise = np.diag(np.where(np.isfinite(errors[i]), errors[i], 0.0) ** 2)
        for (a, b), values in (correlations or {}).items():
            noise[a, b] = noise[b, a] = values[i] * errors[i, a] * errors[i, b]
        for k in range(k_all):
            total = (matrices[k] + noise)[np.ix_(here, here)]
            away = (row - parameters.means[k])[here]
            log = multivariate_normal(np.zeros(len(here)), total).logpdf(away) if len(here) else 0.0
            joint[i, k] = np.log(parameters.weights[k]) + log
            slope = np.linalg.solve(total, matrices[k][here]).T if len(here) else np.zeros((d, 0))
            expected[k, i] = slope @ away
            spread[k, i] = matrices[k] - slope @ matrices[k][here]
    return joint, expected, spread


def counted(rows, errors):
    """Return which values a type without correlations sums over: all but the holes of exact rows."""
    seen = ~np.isnan(rows) & np.isfinite(errors)
    exact = (~seen | (errors == 0.0)).all(axis=1, keepdims=True)
    return np.where(exact, seen, True)


def textbook_step(parameters, rows, errors, weights=None, correlations=None):
    joint, expected, spread = textbook(parameters, rows, errors, correlations)
    bound = logsumexp(joint, axis=1)
    factor = np.ones(len(rows)) if weights is None else weights
    r = np.exp(joint - bound[:, np.newaxis]) * factor[:, np.newaxis]
    nk = r.sum(axis=0)
    shift = np.einsum("nk,knd->kd", r, expected) / nk[:, np.newaxis]
    away = expected - shift[:, np.newaxis]
    sums = np.einsum("nk,kni,knj->kij", r, away, away) + np.einsum("nk,knij->kij", r, spread)
    kind = parameters.covariance_type
    if kind == "full":
        covariances = sums / nk[:, np.newaxis, np.newaxis]
    elif kind == "factor":
        covariances = factor_steps(sums / nk[:, np.newaxis, np.newaxis], parameters.covariances)
    elif kind == "tied":
        covariances = sums.sum(axis=0) / nk.sum()
    else:
        # Holes of exact rows are not filled in: only their component is missing.
        counts = r.T @ counted(rows, errors)
        shift = np.einsum("nk,knd,nd->kd", r, expected, counted(rows, errors)) / counts
        away = expected - shift[:, np.newaxis]
        squares = away**2 + np.diagonal(spread, axis1=2, axis2=3)
        sums = np.einsum("nk,knd,nd->kd", r, squares, counted(rows, errors))
        covariances = sums / counts if kind == "diag" else sums.sum(axis=1) / counts.sum(axis=1)
    found = Parameters.from_covariances(kind, nk / nk.sum(), parameters.means + shift, covariances)
    return bound @ factor / factor.sum(), found


def step(parameters, rows, errors, weights=None, correlations=None, parts=1):
    kernel = MEASURED.kernel(Density.of(parameters), DOUBLE)
    blocks = []
    for part in np.array_split(np.arange(len(rows)), parts):
        own = {pair: values[part] for pair, values in (correlations or {}).items()}
        columns = columns_of(errors[part], own)
        blocks.append((rows[part], None if weights is None else weights[part], columns))
    statistics = summed(kernel, blocks)
    return statistics.mean_log_likelihood, MAXIMUM_LIKELIHOOD.maximize(
        parameters, statistics, kernel.origins, reg_covar=0.0, dtype=DOUBLE
    )


def assert_same(found, expected, rtol=1e-10):
    for name in ("weights", "means", "covariances"):
        assert_allclose(getattr(found, name), getattr(expected, name), rtol=rtol, atol=rtol)


def noisy(covariance_type, n=250, d=3, seed=0, distance=2.0):
    parameters = mixture(covariance_type, distance, n_features=d)
    rng = np.random.default_rng(seed)
    errors = rng.uniform(0.2, 1.5, size=(n, d))
    return parameters, rows_of(parameters, n) + errors * rng.normal(size=(n, d)), errors


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("correlated", [False, True])
@TYPES
def test_iterates_of_the_textbook(covariance_type, weighted, correlated):
    parameters, rows, errors = noisy(covariance_type)
    rng = np.random.default_rng(1)
    weights = rng.uniform(size=250) if weighted else None
    correlations = {(0, 1): rng.uniform(-0.6, 0.6, 250), (1, 2): rng.uniform(-0.6, 0.6, 250)}
    correlations = correlations if correlated else None
    ours = theirs = parameters
    for _ in range(5):
        bound, theirs = textbook_step(theirs, rows, errors, weights, correlations)
        found, ours = step(ours, rows, errors, weights, correlations, parts=3)
        assert found == pytest.approx(bound, rel=1e-11)
        assert_same(ours, theirs)


@pytest.mark.parametrize("d", [1, 2, 5, 12])
def test_any_number_of_features(d):
    parameters, rows, errors = noisy("full", 80, d)
    bound, expected = textbook_step(parameters, rows, errors)
    found, ours = step(parameters, rows, errors)
    assert found == pytest.approx(bound, rel=1e-11)
    assert_same(ours, expected, 1e-9)


@pytest.mark.parametrize("some_exact", [False, True])
@TYPES
def test_holes_and_errors_together(covariance_type, some_exact):
    parameters, rows, errors = noisy(covariance_type)
    rng = np.random.default_rng(2)
    rows[rng.random(rows.shape) < 0.2] = np.nan
    rows = np.where(np.isnan(rows).all(axis=1, keepdims=True), 0.0, rows)
    if some_exact:
        errors[:120] = 0.0
        errors[100:150, 1] = 0.0
        errors[rng.random(errors.shape) < 0.1] = np.inf
        errors[np.isinf(errors).all(axis=1), 0] = 0.5
        rows[~np.isfinite(np.where(np.isinf(errors), np.nan, rows)).any(axis=1)] = 1.0
        errors[~np.isfinite(np.where(np.isinf(errors), np.nan, rows)).any(axis=1)] = 0.5
    ours = theirs = parameters
    for _ in range(4):
        bound, theirs = textbook_step(theirs, rows, errors)
        found, ours = step(ours, rows, errors, parts=3)
        assert found == pytest.approx(bound, rel=1e-11)
        assert_same(ours, theirs)
    bound, expected = textbook_step(parameters, rows, errors)
    found, ours = step(parameters, rows, errors)
    assert found == pytest.approx(bound, rel=1e-11)
    assert_same(ours, expected)
    infinite = np.where(np.isnan(rows), np.inf, errors)
    again, same = step(parameters, np.nan_to_num(rows, nan=123.0), infinite)
    assert again == pytest.approx(bound, rel=1e-12)
    assert_same(same, ours, 1e-12)


@TYPES
def test_no_errors_are_the_mixture_itself(covariance_type):
    """To the last bit, with holes or without."""
    parameters, rows, errors = noisy(covariance_type)
    rows[::3, 1] = np.nan
    kernel, plain = (one.kernel(Density.of(parameters), DOUBLE) for one in (MEASURED, HOLES))
    found = summed(kernel, [(rows, None, columns_of(np.zeros_like(errors)))])
    expected = summed(plain, [(rows, None)])
    for name in ("nk", "first", "second"):
        assert_array_equal(getattr(found, name), getattr(expected, name))


@TYPES
def test_infinite_errors_are_holes(covariance_type):
    """To the last bit, beside exact values as beside others."""
    parameters, rows, errors = noisy(covariance_type)
    errors[:100] = 0.0
    gone = np.random.default_rng(4).random(rows.shape) < 0.3
    gone[5] = True
    kernel = MEASURED.kernel(Density.of(parameters), DOUBLE)
    infinite = columns_of(np.where(gone, np.inf, errors))
    found = summed(kernel, [(rows, None, infinite)])
    holes = np.where(gone, np.nan, rows)
    expected = summed(kernel, [(holes, None, columns_of(np.where(gone, np.nan, errors)))])
    for name in ("nk", "first", "second", "more"):
        assert_array_equal(getattr(found, name), getattr(expected, name))
    assert found.totals == expected.totals
    exact = summed(HOLES.kernel(kernel.density, DOUBLE), [(holes[:100], None)])
    again = summed(kernel, [(rows[:100], None, {name: each[:100] for name, each in infinite.items()})])
    for name in ("nk", "first", "second", "more"):
        assert_array_equal(getattr(again, name), getattr(exact, name))
    clean, filled = np.empty_like(rows), np.empty_like(rows)
    kernel.denoise(Weighted(rows, None, infinite), clean)
    kernel.denoise(Weighted(holes, None, columns_of(errors)), filled)
    assert_array_equal(clean, filled)


@TYPES
def test_small_errors_hardly_matter(covariance_type):
    parameters, rows, errors = noisy(covariance_type)
    _, expected = step(parameters, rows, np.zeros_like(errors))
    _, found = step(parameters, rows, 1e-9 * errors)
    assert_same(found, expected, 1e-9)


@TYPES
def test_predictions(covariance_type):
    parameters, rows, errors = noisy(covariance_type)
    errors[:100] = 0.0
    joint, expected, _ = textbook(parameters, rows, errors)
    resp = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    kernel, block = MEASURED.kernel(Density.of(parameters), DOUBLE), Weighted(rows, None, columns_of(errors))
    density, own, labels = np.empty(250), np.empty((250, 4)), np.empty(250, np.int64)
    kernel.log_density(block, density)
    kernel.responsibilities(block, own)
    kernel.labels(block, labels)
    assert_allclose(density, logsumexp(joint, axis=1), rtol=1e-10)
    assert_allclose(own, resp, atol=1e-10)
    assert_array_equal(labels, joint.argmax(axis=1))
    clean = np.empty_like(rows)
    kernel.denoise(block, clean)
    assert_array_equal(clean[:100], rows[:100])
    truth = np.einsum("nk,knd->nd", resp, parameters.means[:, np.newaxis] + expected)
    assert_allclose(clean[100:], truth[100:], rtol=1e-9, atol=1e-9)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(covariance_types()), st.integers(0, 10**6), st.integers(1, 6), st.booleans())
def test_the_bound_never_falls_in_any_chunks(covariance_type, seed, parts, weighted):
    rng = np.random.default_rng(seed)
    parameters, rows, errors = noisy(covariance_type, 120, 3, seed)
    errors[rng.random(errors.shape) < 0.3] = 0.0
    errors[rng.random(120) < 0.3] = 0.0
    rows[rng.random(rows.shape) < 0.1] = np.nan
    rows[0] = rows_of(parameters, 1)[0]
    errors[rng.random(errors.shape) < 0.05] = np.inf
    errors[0] = 0.5
    weights = rng.uniform(size=120) * (rng.random(120) < 0.9) if weighted else None
    correlations = {(0, 2): rng.uniform(-0.9, 0.9, 120)}
    bound, once = step(parameters, rows, errors, weights, correlations)
    again, same = step(parameters, rows, errors, weights, correlations, parts)
    assert again == pytest.approx(bound, rel=1e-12)
    assert_same(same, once, 1e-11)
    assert step(once, rows, errors, weights, correlations)[0] > bound - 1e-12


@TYPES
def test_the_bound_never_falls(covariance_type):
    """Over two hundred iterations, some rows exact, some with holes."""
    _, rows, errors = noisy(covariance_type)
    rng = np.random.default_rng(3)
    errors[:80] = 0.0
    rows[rng.random(rows.shape) < 0.15] = np.nan
    weights, parameters, bounds = rng.uniform(size=250), mixture(covariance_type, 1.0, seed=11), []
    for _ in range(200):
        bound, parameters = step(parameters, rows, errors, weights)
        bounds.append(bound)
    assert np.diff(bounds).min() > -1e-12


@TYPES
def test_an_offset_costs_no_digits(covariance_type):
    parameters, rows, errors = noisy(covariance_type)
    rows, offset = np.round(rows * 2**20) / 2**20, 2.0**20
    _, near = step(parameters, rows, errors)
    _, far = step(replace(parameters, means=parameters.means + offset), rows + offset, errors)
    assert_allclose(far.covariances, near.covariances, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("d", [3, 8, 11])
@pytest.mark.parametrize("unit", [1e-60, 1e-20, 1e20, 1e60])
def test_units_do_not_matter(unit, d):
    """Not even those in which the product of all variances is no number."""
    parameters, rows, errors = noisy("full", 100, d)
    rows[::5, 1] = np.nan
    weights = np.random.default_rng(1).uniform(size=100)
    bound, expected = step(parameters, rows, errors, weights)
    far = Parameters.from_covariances(
        "full", parameters.weights, unit * parameters.means, unit**2 * parameters.covariances
    )
    found, ours = step(far, unit * rows, unit * errors, weights)
    n_seen = weights @ (~np.isnan(rows)).sum(axis=1) / weights.sum()
    assert found == pytest.approx(bound - n_seen * np.log(unit), rel=1e-12)
    assert_allclose(ours.means / unit, expected.means, rtol=1e-10, atol=1e-12)
    assert_allclose(ours.covariances / unit**2, expected.covariances, rtol=1e-10, atol=1e-12)
    kernels = [MEASURED.kernel(Density.of(one), DOUBLE) for one in (parameters, far)]
    clean, cleaned = np.empty_like(rows), np.empty_like(rows)
    kernels[0].denoise(Weighted(rows, None, columns_of(errors)), clean)
    kernels[1].denoise(Weighted(unit * rows, None, columns_of(unit * errors)), cleaned)
    assert_allclose(cleaned / unit, clean, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("d", [3, 8, 11])
@pytest.mark.parametrize("huge", [1e20, 1e40, 1e99, 1e200, 1e300])
def test_errors_without_bound_are_those_of_missing_values(huge, d):
    """But for the density of the values themselves."""
    parameters, rows, errors = noisy("full", 100, d)
    rng = np.random.default_rng(2)
    gone = rng.random(rows.shape) < 0.5
    gone[:, 0] = False
    size = huge * rng.uniform(1.0, 2.0, size=rows.shape)
    values = np.where(gone, size * rng.normal(size=rows.shape), rows)
    bound, expected = step(parameters, np.where(gone, np.nan, rows), errors)
    found, ours = step(parameters, values, np.where(gone, size, errors))
    own = -0.5 * (values / size) ** 2 - np.log(size) - 0.5 * np.log(2.0 * np.pi)
    assert found == pytest.approx(bound + np.where(gone, own, 0.0).sum() / 100, rel=1e-11)
    assert_same(ours, expected, 1e-9)


@pytest.mark.parametrize("size", [1e-4, 0.1, 3.0])
@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_log_densities_to_fifty_digits(condition, size):
    """Errors that are small beside some directions and large beside others, features of any scale."""
    d, n, rng = 5, 40, np.random.default_rng(5)
    q, _ = np.linalg.qr(rng.normal(size=(d, d)))
    matrix = q @ np.diag(np.geomspace(1.0, 1.0 / condition, d)) @ q.T
    scales = np.geomspace(1e-3, 1e3, d)
    covariance = matrix * np.outer(scales, scales)
    parameters = Parameters.from_covariances("full", [1.0], np.zeros((1, d)), covariance[np.newaxis])
    errors = size * scales * rng.uniform(0.5, 1.5, size=(n, d))
    errors[::3, :2] = 0.0
    rows = rng.multivariate_normal(np.zeros(d), matrix, n) * scales + errors * rng.normal(size=(n, d))
    rows[::4, 3] = np.nan
    rho = rng.uniform(-0.9, 0.9, n)
    found = np.empty(n)
    kernel = MEASURED.kernel(Density.of(parameters), DOUBLE)
    kernel.log_density(Weighted(rows, None, columns_of(errors, {(1, 4): rho})), found)
    mpmath.mp.dps, away = 50, []
    for row, error, r, value in zip(rows, errors, rho, found, strict=True):
        here = np.flatnonzero(~np.isnan(row))
        total = mpmath.matrix(covariance.tolist())
        for j in range(d):
            total[j, j] += mpmath.mpf(error[j]) ** 2
        total[1, 4] += mpmath.mpf(r) * mpmath.mpf(error[1]) * mpmath.mpf(error[4])
        total[4, 1] = total[1, 4]
        own = mpmath.matrix([[total[int(i), int(j)] for j in here] for i in here])
        u = mpmath.matrix(row[here].tolist())
        distance = (u.T * mpmath.lu_solve(own, u))[0]
        exact = -(distance + mpmath.log(mpmath.det(own)) + len(here) * mpmath.log(2 * mpmath.pi)) / 2
        away.append(abs(float(exact - value)))
    assert np.mean(away) < 1e-9
    assert max(away) < 1e-8


@TYPES
def test_weights_are_repetitions(covariance_type):
    parameters, rows, errors = noisy(covariance_type)
    weights = np.random.default_rng(1).integers(0, 4, size=250)
    bound, found = step(parameters, rows, errors, weights.astype(float))
    expected_bound, expected = step(
        parameters, np.repeat(rows, weights, axis=0), np.repeat(errors, weights, axis=0)
    )
    assert bound == pytest.approx(expected_bound, rel=1e-12)
    assert_same(found, expected, 1e-11)
