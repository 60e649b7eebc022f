"""Starts at scale: one pass draws a sample, starts are fitted to it in memory, the best race on all rows."""

from __future__ import annotations

from dataclasses import replace

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.em import Collapse, Iteration, Run
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.fitting.init.restarts import sample_size
from dask_gmm.fitting.loop import Candidate
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.model.parameters import Parameters

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(40_000, 3, 4, spread=2.5, seed=1)


@pytest.fixture
def small_budget():
    with dask.config.set({"dask-gmm.start-bytes": 20_000 * 3 * 8}):
        yield


def fit(X, **parameters):
    return GaussianMixture(4, **{"random_state": 0} | parameters).fit(X)


def lengths(fitted):
    return sorted(len(restart) for restart in fitted.history_.restarts)


def settings(**changes):
    start = StartSettings(4, "full", "kmeans", 1e-6, None, None, None)
    return replace(FitSettings(start, 1e-3, 100, 1, 10**6, True), **changes)


def test_the_size_of_the_sample():
    # 39 free parameters.
    assert sample_size(settings(), 3) == 500 * 39
    assert sample_size(settings(start_rows=1000), 3) == 1000


@pytest.mark.usefixtures("small_budget")
@pytest.mark.parametrize("init_params", ["kmeans", "random", "random_from_data", "k-means++", "sample"])
def test_the_best_of_three_goes_on(rows, make_source, init_params):
    source = make_source(np.array_split(rows, 8))
    fitted = fit(source, init_params=init_params)
    assert len(source.reads) == 8 * (1 + fitted.n_iter_)
    *outrun, best = lengths(fitted)
    assert best == fitted.n_iter_
    assert set(outrun) == {1}
    first = [restart[0].lower_bound for restart in fitted.history_.restarts]
    # Up to rounding, which must not choose.
    assert first[fitted.history_.best] >= max(first) - 1e-6
    assert fitted.converged_


@pytest.mark.usefixtures("small_budget")
def test_the_start_is_nearly_the_end(rows, make_source):
    deep = fit(rows, tol=1e-8, max_iter=2000, init_params="sample", n_init=3)
    fitted = fit(make_source(np.array_split(rows, 8)), n_init=3)
    # p / (2 m), and what was left to gain on the sample.
    assert fitted.lower_bounds_[0] > deep.lower_bound_ - 3e-3
    assert fitted.n_iter_ <= 6


@pytest.mark.usefixtures("small_budget")
def test_restarts_cost_no_passes(rows, make_source):
    one, many = (fit(make_source(np.array_split(rows, 8)), n_init=n_init) for n_init in (1, 4))
    assert len(many.history_.passes) <= 1.5 * len(one.history_.passes)
    assert many.lower_bound_ >= one.lower_bound_ - 1e-3


@pytest.mark.usefixtures("small_budget")
def test_the_chunking_does_not_matter(rows, make_source, assert_same_model):
    coarse, fine = (fit(make_source(np.array_split(rows, n))) for n in (3, 20))
    assert coarse.n_iter_ == fine.n_iter_
    assert_same_model(coarse, fine, 1e-9)


@pytest.mark.usefixtures("small_budget")
def test_nor_does_it_matter_whether_the_number_of_rows_is_known(rows, make_source, assert_same_model):
    known, unknown = (make_source(np.array_split(rows, 5)) for _ in range(2))
    unknown.sample_shape = (None,)
    assert_same_model(fit(unknown), fit(known), 0.0)


def test_on_request_for_rows_in_memory_too(rows, make_source, assert_same_model):
    in_memory = fit(rows, init_params="sample")
    stored = fit(make_source(np.array_split(rows, 8)), init_params="sample")
    assert lengths(in_memory) == lengths(stored)
    # No pass is needed to draw from rows at hand.
    assert len(in_memory.history_.passes) == len(stored.history_.passes) - 1
    assert_same_model(in_memory, stored, 1e-9)


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_all_rows_when_there_are_few(make_rows, covariance_type):
    fitted = fit(make_rows(500, 3, 4), init_params="sample", covariance_type=covariance_type)
    assert fitted.converged_


def test_weights_are_sampled_with_their_rows(rows):
    doubled = np.arange(len(rows)) % 2 * 2.0
    weighted = GaussianMixture(4, init_params="sample", random_state=0).fit(rows, sample_weight=doubled)
    half = fit(rows[1::2], init_params="sample")
    assert weighted.lower_bound_ == pytest.approx(half.lower_bound_, abs=2e-3)
    # A sample of the even rows, of no weight, would know nothing of the mixture.
    even = fit(rows[::2] + 5.0, init_params="sample")
    assert weighted.score(rows[1::2]) > even.score(rows[1::2]) + 1.0


@pytest.mark.usefixtures("small_budget")
def test_parts_that_are_given_stay_the_start(rows, make_source):
    means = rows[:4] + 0.5
    fitted = fit(make_source(np.array_split(rows, 8)), means_init=means, max_iter=0, n_init=3)
    np.testing.assert_array_equal(fitted.means_, means)


def test_a_sample_too_small_for_em_only_starts(rows, make_source):
    # Fewer than ten rows a parameter.
    with dask.config.set({"dask-gmm.start-bytes": 300 * 3 * 8}):
        fitted = fit(make_source(np.array_split(rows, 8)), n_init=2)
    assert min(lengths(fitted)) > 1


@pytest.mark.usefixtures("small_budget")
def test_without_iterations(rows, make_source):
    fitted = fit(make_source(np.array_split(rows, 8)), max_iter=0)
    assert (fitted.n_iter_, fitted.lower_bounds_) == (0, [])
    deep = fit(rows, tol=1e-6, max_iter=500)
    assert fitted.score(rows) > deep.lower_bound_ - 0.05


def test_restarts_that_collapse_on_the_sample_are_left_out(make_source):
    # Two clusters and one place far away: where k-means gives it a cluster of its own, that has no spread.
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [6.0, 0.0]])[rng.integers(0, 2, size=9000)]
    rows = np.concatenate([centres + rng.normal(size=(9000, 2)), np.full((200, 2), 12.0)])
    n_collapsed = 0
    for seed in range(8):
        mixture = GaussianMixture(2, reg_covar=0.0, random_state=seed)
        try:
            mixture.fit(rows)
        except CollapsedComponentError:
            n_collapsed += 1
        with dask.config.set({"dask-gmm.start-bytes": 5000 * 2 * 8}):
            assert np.isfinite(mixture.set_params(n_init=2).fit(make_source([rows])).lower_bound_)
    assert n_collapsed > 0


PARAMETERS = Parameters.from_covariances("spherical", [1.0], [[0.0]], [1.0])


def ran(number, *bounds, **changes):
    iterations = tuple(Iteration(bound, np.inf, np.nan, False, i) for i, bound in enumerate(bounds))
    return Run(number, PARAMETERS, iterations=iterations, **changes)


def test_the_race():
    candidate = Candidate(settings(), tuple(Run(number, PARAMETERS, racing=True) for number in range(3)))
    assert len(candidate.active) == 3
    after = candidate.following(
        [ran(0, -3.0, racing=True), ran(1, -1.0, racing=True), ran(2, -2.0, racing=True)]
    )
    assert [run.ending for run in after.runs] == ["outrun", None, "outrun"]
    assert after.best.number == 1


def test_a_third_of_many_stays_in_the_race():
    bounds = [-4.0, -8.0, -1.0, -5.0, -2.0, -7.0, -3.0, -6.0]
    candidate = Candidate(settings(), tuple(Run(number, PARAMETERS, racing=True) for number in range(8)))
    after = candidate.following([ran(number, bound, racing=True) for number, bound in enumerate(bounds)])
    assert [run.number for run in after.active] == [2, 4, 6]
    assert [run.racing for run in after.runs] == [number in (2, 4, 6) for number in range(8)]
    # What leads may change; one mixture in two orders is told apart by its number.
    after = after.following(
        [
            ran(2, -1.0, -0.9, racing=True),
            ran(4, -2.0, -0.5, racing=True),
            ran(6, -3.0, -0.5 + 1e-9, racing=True),
        ]
    )
    assert [run.number for run in after.active] == [4]
    assert not any(run.racing for run in after.runs)


def test_all_who_were_outrun_go_on_when_those_ahead_collapse():
    collapses = [Collapse(number, CollapsedComponentError("Gone.", 0)) for number in (0, 1)]
    ahead = tuple(ran(number, -1.0, racing=True) for number in (0, 1))
    behind = tuple(ran(number, -2.0 - number, ending="outrun") for number in (2, 3))
    after = Candidate(settings(), ahead + behind).following(collapses)
    assert [run.number for run in after.active] == [2, 3]


@pytest.mark.usefixtures("small_budget")
def test_many_restarts_race_in_two_passes(rows, make_source):
    source = make_source(np.array_split(rows, 8))
    # So many components that all starts end elsewhere.
    fitted = GaussianMixture(9, n_init=4, random_state=0).fit(source)
    assert lengths(fitted)[:3] == [1, 1, 2]
    assert len(source.reads) == 8 * (1 + fitted.n_iter_)
    raced = [restart[1] for restart in fitted.history_.restarts if len(restart) > 1]
    assert [iteration.leap for iteration in raced] == [True, True]
    best = fitted.history_.restarts[fitted.history_.best][1]
    assert best.lower_bound >= max(iteration.lower_bound for iteration in raced) - 1e-6


def test_rows_in_memory_race_together_too():
    one_by_one = settings(shared_passes=False)
    racing = Candidate(one_by_one, tuple(Run(number, PARAMETERS, racing=True) for number in range(3)))
    others = Candidate(one_by_one, tuple(Run(number, PARAMETERS) for number in range(3)))
    assert (len(racing.active), len(others.active)) == (3, 1)


def test_who_was_outrun_goes_on_when_the_winner_collapses():
    collapse = Collapse(1, CollapsedComponentError("Gone.", 0))
    candidate = Candidate(
        settings(), (ran(0, -3.0, ending="outrun"), ran(1, -1.0), ran(2, -2.0, ending="outrun"))
    )
    after = candidate.following([collapse])
    assert [run.number for run in after.active] == [0, 2]
    assert after.collapses == [collapse]


def test_a_racer_that_collapses_does_not_win():
    collapse = Collapse(0, CollapsedComponentError("Gone.", 0))
    candidate = Candidate(settings(), tuple(Run(number, PARAMETERS, racing=True) for number in range(3)))
    after = candidate.following([collapse, ran(1, -5.0, racing=True), ran(2, -4.0, racing=True)])
    assert [run.number for run in after.active] == [2]
