"""The surrogate step after a race: nearly to the optimum on all rows, undone where they think otherwise."""

from __future__ import annotations

from dataclasses import replace

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting import iteration
from dask_gmm.fitting.accelerate import surrogate
from dask_gmm.fitting.accelerate.coordinates import Coordinates
from dask_gmm.fitting.accelerate.surrogate import surrogate_step
from dask_gmm.fitting.em import Collapse, Run
from dask_gmm.fitting.methods import BeforeSurrogateStep, PlainEM, SurrogateTrial
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.parameters import Parameters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture(scope="module")
def rows(make_rows):
    """Rows on which EM creeps."""
    return make_rows(40_000, 3, 4, spread=2.0, seed=1)


def fit(X, sample_weight=None, share=0.5, **parameters):
    """Fit with a start on a share of the rows."""
    with dask.config.set({"dask-gmm.start-bytes": int(share * 40_000 * 3 * 8)}):
        return GaussianMixture(4, **{"random_state": 0} | parameters).fit(X, sample_weight=sample_weight)


def without_steps(monkeypatch):
    monkeypatch.setattr(surrogate, "surrogate_step", lambda *args: None)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_it_nears_the_optimum_on_all_rows(rows, make_source, monkeypatch, covariance_type, weighted):
    weights = np.random.default_rng(0).uniform(size=len(rows)) if weighted else None
    source = make_source(np.array_split(rows, 8))
    options = {"covariance_type": covariance_type, "max_iter": 2, "tol": 0}
    stepped = fit(source, weights, **options)
    assert [iteration.leap for iteration in stepped.history_.restarts[stepped.history_.best]] == [False, True]
    end = fit(
        rows, weights, 1.0, **options | {"tol": 1e-9, "max_iter": 5000, "accelerate": True}, **given(stepped)
    )
    with monkeypatch.context() as patched:
        without_steps(patched)
        crept = fit(source, weights, **options)
    assert crept.lower_bounds_[0] == stepped.lower_bounds_[0]
    assert end.lower_bound_ - stepped.lower_bound_ < 0.3 * (end.lower_bound_ - crept.lower_bound_)


def given(fitted):
    """Return what starts another fit where this one ended."""
    return {
        "weights_init": fitted.weights_,
        "means_init": fitted.means_,
        "precisions_init": fitted.precisions_,
    }


def test_a_step_too_far_is_undone(rows, make_source, monkeypatch):
    source = make_source(np.array_split(rows, 8))
    with monkeypatch.context() as patched:
        without_steps(patched)
        plain = fit(source, tol=0, max_iter=5)

    def too_far(at, em_step, em_on_sample):
        coordinates = Coordinates(at)
        return coordinates.parameters(-20.0 * coordinates.vector(em_step))

    monkeypatch.setattr(surrogate, "surrogate_step", too_far)
    undone = fit(source, tol=0, max_iter=6)
    iterations = undone.history_.restarts[undone.history_.best]
    assert [iteration.rejected for iteration in iterations] == [False, True, False, False, False, False]
    assert np.diff(undone.lower_bounds_).min() >= 0.0
    # One pass later, EM as if nothing had happened.
    assert undone.lower_bounds_[2:] == plain.lower_bounds_[1:]
    np.testing.assert_array_equal(undone.means_, plain.means_)


@pytest.mark.parametrize("tol", [1e-3, 1e-6])
def test_no_pass_more(rows, make_source, monkeypatch, tol):
    source = make_source(np.array_split(rows, 8))
    stepped = fit(source, tol=tol, max_iter=500)
    without_steps(monkeypatch)
    crept = fit(source, tol=tol, max_iter=500)
    assert stepped.n_iter_ <= crept.n_iter_
    assert stepped.lower_bound_ >= crept.lower_bound_ - tol


@pytest.mark.parametrize("covariance_type", TYPES)
def test_step_after_step_where_em_may_be_accelerated(rows, make_source, monkeypatch, covariance_type):
    source = make_source(np.array_split(rows, 8))
    options = {"covariance_type": covariance_type, "tol": 1e-8, "max_iter": 500, "accelerate": True}
    stepped = fit(source, **options)
    without_steps(monkeypatch)
    crept = fit(source, **options)
    assert sum(iteration.leap for iteration in stepped.history_.restarts[stepped.history_.best]) > 1
    assert stepped.n_iter_ < crept.n_iter_
    assert stepped.lower_bound_ == pytest.approx(crept.lower_bound_, abs=1e-6)
    assert np.diff(stepped.lower_bounds_).min() >= 0.0


ONE = Parameters.from_covariances("spherical", [1.0], [[0.0]], [1.0])


def moved(by):
    return replace(ONE, means=np.array([[by]]))


def test_the_fixed_point():
    """Both creep, by half of what is left to their optimum each: at 0 on the sample, at 0.2 on all rows."""

    def em(optimum):
        return lambda parameters: moved(optimum + 0.5 * (float(parameters.means[0, 0]) - optimum))

    reached = surrogate_step(ONE, em(0.2)(ONE), em(0.0))
    assert reached.means[0, 0] == pytest.approx(0.2, abs=1e-4)


def test_no_further_than_the_sample_can_tell():
    reached = surrogate_step(ONE, moved(0.2), lambda parameters: parameters)
    assert reached is None
    # Steps of 1/8 that never end, and a limit of 0.3.
    reached = surrogate_step(ONE, moved(0.125), lambda parameters: parameters)
    assert reached.means[0, 0] == 0.25


def test_none_where_em_is_done():
    assert surrogate_step(ONE, moved(1e-5), lambda parameters: moved(0.1)) is None


def test_none_where_the_sample_collapses():
    assert surrogate_step(ONE, moved(0.1), lambda parameters: None) is None


def test_who_goes_on_after_a_collapse_steps_after_its_own_pass(rows, make_source, monkeypatch):
    """The winner collapses after its first surrogate step, and those that it outran go on."""
    collapsed = []

    def collapse(run, *rest):
        if isinstance(run.method, SurrogateTrial) and not collapsed:
            collapsed.append(run.number)
            return Collapse(run.number, CollapsedComponentError("Gone.", 0))
        return advance(run, *rest)

    advance = iteration._advance
    monkeypatch.setattr(iteration, "_advance", collapse)
    with pytest.warns(UserWarning, match="was left out"):
        fitted = fit(make_source(np.array_split(rows, 8)), accelerate=True, tol=1e-6)
    assert fitted.history_.best not in collapsed
    iterations = fitted.history_.restarts[fitted.history_.best]
    assert [iteration.leap for iteration in iterations][:3] == [False, False, True]
    assert fitted.converged_


STOPPING = Stopping(max_iter=10, tol=1e-3)


def on_trial():
    """Return a run whose surrogate step, from EM's at 0.1 to 0.4, the next pass evaluates."""
    run = Run(0, ONE, method=BeforeSurrogateStep(may_accelerate=False))
    return run.advance(-2.0, moved(0.1), 0, STOPPING).try_surrogate_step(moved(0.4))


def test_gains_of_a_surrogate_step_are_not_those_of_em():
    run = on_trial()
    assert run.method.on_trial
    after = run.advance(-1.5, moved(0.5), 1, STOPPING)
    assert (after.change, after.iterations[-1].leap, after.method) == (0.5, True, PlainEM())
    assert after.last_gains(leaps=False) == []
    for bound in (-1.4, -1.36):
        after = after.advance(bound, moved(0.6), 2, STOPPING)
    np.testing.assert_allclose(after.last_gains(leaps=False), [0.1, 0.04])
    # Aitken's estimate of those two: 0.04 * 0.4 / 0.6.
    assert after.remaining == pytest.approx(0.04 * 0.4 / 0.6)


def test_back_to_where_em_would_be():
    run = on_trial()
    assert run.rejects(-2.1)
    assert not run.rejects(-1.9)
    after = run.undo_trial(1, STOPPING)
    assert (after.parameters.means[0, 0], after.method, after.lower_bound) == (0.1, PlainEM(), -2.0)
    assert not after.method.on_trial
    assert after.iterations[-1].leap
    assert after.iterations[-1].rejected
