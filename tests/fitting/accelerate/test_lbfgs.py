"""Acceleration: fewer passes where EM creeps, none more where it is fast, and never a bound that falls."""

from __future__ import annotations

import json

import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.fitting.accelerate.lbfgs import Acceleration, is_creeping, newton_step
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.methods import Accelerated, PlainEM
from dask_gmm.fitting.state import from_plain, to_plain
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.parameters import Parameters

TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(scope="module")
def creeping_rows(make_rows):
    """Rows on which EM needs hundreds of passes."""
    return make_rows(4000, 3, 5, spread=1.5, seed=1)


def fit(rows, accelerate, sample_weight=None, **parameters):
    parameters = {"n_components": 5, "tol": 1e-8, "max_iter": 3000, "random_state": 0} | parameters
    return GaussianMixture(accelerate=accelerate, **parameters).fit(rows, sample_weight=sample_weight)


def passes_to(fitted, bound):
    return int(np.argmax(np.array(fitted.lower_bounds_) >= bound)) + 1


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_fewer_passes_to_the_same_place(creeping_rows, covariance_type, weighted):
    weights = np.random.default_rng(0).uniform(size=len(creeping_rows)) if weighted else None
    plain, fast = (
        fit(creeping_rows, accelerate, weights, covariance_type=covariance_type)
        for accelerate in (False, True)
    )
    assert fast.converged_
    near = plain.lower_bound_ - 1e-6 * abs(plain.lower_bound_)
    assert fast.lower_bound_ >= near
    assert plain.n_iter_ > 50
    assert passes_to(fast, near) < 0.5 * passes_to(plain, near)
    assert fast.n_iter_ < 0.5 * plain.n_iter_
    assert np.diff(fast.lower_bounds_).min() >= 0.0


def test_not_one_pass_more_where_em_is_fast(make_rows):
    for seed in range(5):
        rows = make_rows(2000, 3, 4, spread=9.0, seed=seed)
        plain, fast = (fit(rows, accelerate, n_components=4) for accelerate in (False, True))
        assert fast.n_iter_ <= plain.n_iter_


@pytest.mark.parametrize("tol", [1e-2, 1e-3])
def test_nor_at_a_loose_tolerance(creeping_rows, tol):
    plain, fast = (fit(creeping_rows, accelerate, tol=tol) for accelerate in (False, True))
    assert fast.n_iter_ <= plain.n_iter_
    assert fast.lower_bound_ > plain.lower_bound_ - tol


@pytest.mark.parametrize(
    ("gains", "tol", "expected"),
    [
        ([4e-3, 3.9e-3], 1e-8, True),
        ([4e-3, 3.9e-3], 0.0, True),
        # They grow: EM leaves a saddle.
        ([1e-3, 2e-3], 1e-8, True),
        # Done in four passes.
        ([1e-3, 1e-4], 1e-8, False),
        ([4e-3, 3.9e-3], 3e-3, False),
        ([4e-3, 3.9e-3], 4e-3, False),
        # Far away, a model of the neighbourhood is of no use.
        ([0.4, 0.39], 1e-8, False),
        ([np.inf, 1e-3], 1e-8, False),
        ([-1e-3, 1e-3], 1e-8, False),
        ([1e-3], 1e-8, False),
    ],
)
def test_what_creeping_is(gains, tol, expected):
    assert is_creeping(gains, tol) == expected


def test_rejected_steps_are_counted_and_undone(creeping_rows):
    # A large enough family of starts that some trial fails.
    rejected = 0
    for seed in range(6):
        fast = fit(creeping_rows, True, random_state=seed, init_params="random")
        iterations = fast.history_.to_dicts()
        assert len(iterations) == fast.n_iter_ == len(fast.lower_bounds_)
        assert np.diff(fast.lower_bounds_).min() >= 0.0
        for before, row, after in zip(iterations, iterations[1:], iterations[2:], strict=False):
            if row["rejected"]:
                rejected += 1
                assert row["lower_bound"] == before["lower_bound"]
                # EM's own step comes next: it succeeds.
                assert not after["rejected"]
                assert after["gain"] > 0.0
    assert rejected > 0


def test_a_bound_that_em_itself_lowers_ends_the_acceleration(creeping_rows):
    plain, fast = (fit(creeping_rows, accelerate, reg_covar=1.0, tol=1e-10) for accelerate in (False, True))
    # With so large a constant on the diagonal EM does not climb.
    assert np.diff(plain.lower_bounds_).min() < 0.0
    assert fast.converged_
    np.testing.assert_allclose(fast.means_, plain.means_, atol=0.05)


def test_float32_rows(creeping_rows):
    plain, fast = (
        fit(creeping_rows.astype(np.float32), accelerate, tol=1e-6) for accelerate in (False, True)
    )
    assert fast.n_iter_ < plain.n_iter_
    assert fast.lower_bound_ > plain.lower_bound_ - 1e-5
    assert fast.means_.dtype == np.float32


def test_the_newton_step_of_a_quadratic_is_exact():
    rng = np.random.default_rng(0)
    curvature = rng.normal(size=(6, 6))
    curvature = curvature @ curvature.T + np.eye(6)
    # Conjugate moves, as exact line searches would make them.
    moves = np.linalg.inv(np.linalg.cholesky(curvature))
    residual = rng.normal(size=6)
    step = newton_step(residual, moves, moves @ curvature)
    np.testing.assert_allclose(step, np.linalg.solve(curvature, residual), rtol=1e-10)


def test_without_memory_the_step_is_that_of_em():
    residual = np.arange(3.0)
    np.testing.assert_array_equal(newton_step(residual, np.zeros((0, 3)), np.zeros((0, 3))), residual)


def spherical(mean):
    return Parameters.from_covariances("spherical", [1.0], [[mean]], [1.0])


def test_three_rejections_in_a_row_end_it():
    begun = Acceleration.begin(spherical(0.0), spherical(0.5))
    run = Run(0, spherical(0.5), method=Accelerated(begun))
    bound, stopping = -5.0, Stopping(100, 0.0)
    for number in range(3):
        # EM's step, half of what is left each time, and then a trial.
        mean = run.parameters.means[0, 0]
        run = run.advance(bound, spherical(mean + (1.0 - mean) / 2), 2 * number, stopping)
        assert run.method.on_trial
        assert not run.rejects(bound + 1.0)
        assert run.rejects(bound - 1.0)
        assert run.rejects(np.nan)
        em_step = run.method.state.em_step
        run = run.undo_trial(2 * number + 1, stopping)
        assert run.parameters is em_step
        assert (run.lower_bound, run.iterations[-1].rejected) == (bound, True)
        bound += 1.0
    assert run.method == PlainEM(may_accelerate=False)


def test_the_state_goes_through_a_file(creeping_rows, tmp_path, fit_interrupted, assert_same_model):
    whole = fit(creeping_rows, True)
    path = tmp_path / "fit.checkpoint"
    resumed, n_interruptions = fit_interrupted(lambda: fit(creeping_rows, True, checkpoint=path), 20)
    assert n_interruptions > 1
    assert resumed.lower_bounds_ == whole.lower_bounds_
    assert_same_model(resumed, whole, 0.0)


def test_plain_state_is_json(creeping_rows):
    arrays = {}
    state = Acceleration.begin(spherical(0.0), spherical(0.5))
    plain = json.loads(json.dumps(to_plain(state, arrays)))
    again = from_plain(plain, arrays)
    assert type(again) is type(state)
    np.testing.assert_array_equal(again.residual, state.residual)
