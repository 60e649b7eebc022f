"""GaussianMixtureIC: each candidate as it would be alone, criteria as defined, and passes that all share."""

from __future__ import annotations

import warnings

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.datasets import load_iris
from sklearn.utils.estimator_checks import parametrize_with_checks

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.errors import ComparisonWarning
from dask_gmm.fitting.convergence import negligible_gap

TYPES = ("full", "tied", "diag", "spherical")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.fixture(scope="module")
def rows():
    """Three clusters, each of another shape."""
    rng = np.random.default_rng(0)
    labels = np.arange(3000) % 3
    centres = np.array([[0.0, 0.0], [5.0, 0.0], [0.0, 6.0]])
    shapes = np.array([[[1.0, 0.6], [0.0, 0.8]], [[0.7, -0.5], [0.0, 1.2]], [[1.3, 0.0], [0.4, 0.5]]])
    return centres[labels] + np.einsum("ij,ijk->ik", rng.normal(size=(3000, 2)), shapes[labels])


@pytest.fixture(scope="module")
def selected(rows):
    return GaussianMixtureIC(range(1, 6), covariance_type=TYPES, random_state=0).fit(rows)


def alone(X, index, results, **parameters):
    point = {name: results[name][index] for name in ("n_components", "covariance_type")}
    point = {"n_components": int(point["n_components"]), "covariance_type": str(point["covariance_type"])}
    return GaussianMixture(**point, random_state=0, **parameters).fit(X)


def test_the_known_number_of_components(selected):
    assert (selected.n_components_, selected.covariance_type_) == (3, "full")
    assert selected.best_estimator_.n_components == 3
    assert selected.best_estimator_.covariance_type == "full"


def test_a_table_of_all_candidates(selected):
    table = pd.DataFrame(selected.results_)
    assert len(table) == 20
    assert list(table.n_components) == 4 * [1, 2, 3, 4, 5]
    assert list(table.covariance_type.unique()) == list(TYPES)
    assert table.bic.argmin() == selected.best_index_
    assert table.converged.all()
    assert (table.error == "").all()
    allowed = [negligible_gap("bic", n_free, 3000) for n_free in table.n_parameters]
    assert (table.remaining < allowed).all()


def test_the_criteria_as_defined(selected, rows):
    results, best, index = selected.results_, selected.best_estimator_, selected.best_index_
    np.testing.assert_allclose(results["bic"][index], best.bic(rows), rtol=1e-12)
    np.testing.assert_allclose(results["aic"][index], best.aic(rows), rtol=1e-12)
    np.testing.assert_allclose(results["log_likelihood"][index], 3000 * best.score(rows), rtol=1e-12)
    resp = best.predict_proba(rows)
    entropy = -np.sum(resp * np.log(np.maximum(resp, 1e-300)))
    np.testing.assert_allclose(results["icl"][index], best.bic(rows) + 2 * entropy, rtol=1e-10)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_entropy(make_rows, covariance_type, weighted):
    rows = make_rows(2000, 3, 4, spread=1.5, seed=5) + 100.0
    weights = np.random.default_rng(0).uniform(size=len(rows)) if weighted else np.ones(len(rows))
    fitted = GaussianMixtureIC(4, covariance_type=covariance_type, tol=1e-3, random_state=0)
    fitted.fit(rows, sample_weight=weights if weighted else None)
    resp = fitted.predict_proba(rows)
    entropy = -np.sum(weights[:, np.newaxis] * resp * np.log(np.maximum(resp, 1e-300)))
    assert entropy > 500.0
    actual = (fitted.results_["icl"][0] - fitted.results_["bic"][0]) / 2
    np.testing.assert_allclose(actual, entropy, rtol=1e-9)


@pytest.mark.parametrize("criterion", ["bic", "aic", "icl"])
def test_each_criterion_chooses(rows, criterion):
    chosen = GaussianMixtureIC(range(1, 5), criterion=criterion, random_state=0).fit(rows)
    assert chosen.best_index_ == np.argmin(chosen.results_[criterion])


def test_overlapping_components_are_fewer_clusters():
    # Two components on one another describe a density of heavy tails, but are no two clusters.
    rng = np.random.default_rng(0)
    scales = np.where(rng.uniform(size=4000) < 0.5, 1.0, 2.0)
    rows = rng.normal(size=(4000, 2)) * scales[:, np.newaxis]
    n_components = {
        criterion: GaussianMixtureIC(range(1, 4), criterion=criterion, random_state=0).fit(rows).n_components_
        for criterion in ("bic", "icl")
    }
    assert n_components == {"bic": 2, "icl": 1}


@pytest.mark.parametrize("kind", ["in memory", "stored", "sampled"])
@pytest.mark.parametrize("accelerate", [False, True])
def test_each_candidate_ends_as_it_would_alone(make_rows, make_source, kind, accelerate):
    rows = make_rows(4000, 2, 3, spread=2.5, seed=2)
    X = rows if kind == "in memory" else make_source(np.array_split(rows, 4))
    parameters = {"tol": 1e-4, "max_iter": 300, "accelerate": accelerate}
    with dask.config.set({"dask-gmm.start-bytes": 3500 * 16 if kind == "sampled" else "64 MiB"}):
        selection = GaussianMixtureIC(
            [2, 4], covariance_type=("full", "tied", "diag"), random_state=0, **parameters
        ).fit(X)
        for index in range(6):
            fitted = alone(X, index, selection.results_, **parameters)
            assert fitted.lower_bound_ == selection.results_["lower_bound"][index]
            assert fitted.n_iter_ == selection.results_["n_iter"][index]


def test_with_the_automatic_tolerance_too(rows, selected):
    for index in (0, 4, 7, 13, 19):
        line = {name: selected.results_[name][index] for name in selected.results_}
        one = GaussianMixtureIC(
            int(line["n_components"]), covariance_type=str(line["covariance_type"]), random_state=0
        ).fit(rows)
        assert one.lower_bound_ == line["lower_bound"]
        assert one.results_["bic"][0] == line["bic"]


def test_passes_are_shared(make_rows, make_source):
    source = make_source(np.array_split(make_rows(2000, 2, 3, spread=3.0, seed=2), 5))
    chosen = GaussianMixtureIC(range(1, 6), covariance_type=("full", "diag"), random_state=0).fit(source)
    most = chosen.results_["n_iter"].max()
    # The survey, the slowest candidate's iterations, the evaluation of all.
    assert len(chosen.history_.passes) == most + 2
    assert len(source.reads) == 5 * (most + 2)


def test_predictions_are_those_of_the_best(selected, rows):
    best = selected.best_estimator_
    np.testing.assert_array_equal(selected.predict(rows), best.predict(rows))
    np.testing.assert_array_equal(selected.predict_proba(rows), best.predict_proba(rows))
    np.testing.assert_array_equal(selected.score_samples(rows), best.score_samples(rows))
    assert selected.score(rows) == best.score(rows)
    assert selected.bic(rows) == best.bic(rows)
    lazy = selected.predict(da.from_array(rows, chunks=(1000, -1)))
    np.testing.assert_array_equal(lazy.compute(), best.predict(rows))
    assert len(selected.sample(5)[0]) == 5


def test_candidates_that_collapse_are_reported():
    # Twelve places: with as many components none has any spread.
    rows = np.repeat(np.random.default_rng(0).normal(size=(12, 2)), 50, axis=0)
    with pytest.warns(UserWarning, match=r"12 components \(full\) collapsed.*ill-defined"):
        chosen = GaussianMixtureIC([1, 2, 12], reg_covar=0.0, random_state=0).fit(rows)
    table = pd.DataFrame(chosen.results_)
    assert chosen.n_components_ in (1, 2)
    assert np.isnan(table.bic[2])
    assert "ill-defined" in table.error[2]
    assert not table.converged[2]
    with pytest.raises(ValueError, match="ill-defined"):
        GaussianMixtureIC([12], reg_covar=0.0, random_state=0).fit(rows)


def test_a_tolerance_that_leaves_too_much_is_told(make_rows):
    rows = make_rows(50_000, 2, 3, spread=1.5, seed=2)
    with pytest.warns(
        ComparisonWarning, match=r"with tol=0.001 up to \d.* nats .* 3 components .*tol='auto'"
    ):
        GaussianMixtureIC([1, 3], tol=1e-3, random_state=0).fit(rows)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        GaussianMixtureIC([1, 3], accelerate=True, random_state=0).fit(rows)


def test_a_restart_that_collapses_ends_neither_its_candidate_nor_the_others():
    # Two clusters and one place far away: with a cluster of its own, that has no spread.
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0.0], [6.0, 0.0]])[rng.integers(0, 2, size=900)]
    rows = np.concatenate([centres + rng.normal(size=(900, 2)), np.full((20, 2), 12.0)])
    with pytest.warns(UserWarning, match=r"2 components \(full\): restart \d was left out\..*ill-defined"):
        chosen = GaussianMixtureIC([1, 2], n_init=8, reg_covar=0.0, random_state=0).fit(rows)
    assert chosen.n_components_ == 2
    assert np.isfinite(chosen.results_["bic"]).all()


def test_candidates_that_do_not_converge_are_named(rows):
    with pytest.warns(UserWarning, match=r"2 of 2 candidates did not converge: 4 components \(full\), 5 "):
        GaussianMixtureIC([4, 5], max_iter=2, random_state=0).fit(rows)


@pytest.mark.parametrize(
    ("parameters", "text"),
    [
        ({"n_components": [1, 0]}, "n_components of GaussianMixtureIC must be integers"),
        ({"n_components": [1.5]}, "n_components of GaussianMixtureIC must be integers"),
        ({"n_components": []}, "n_components of GaussianMixtureIC must be integers"),
        ({"covariance_type": ("full", "bad")}, "must be one or more of full, tied, diag, spherical"),
        ({"covariance_type": "bad"}, "'covariance_type' parameter of GaussianMixtureIC"),
        ({"criterion": "dic"}, "'criterion' parameter of GaussianMixtureIC"),
        ({"tol": "none"}, "'tol' parameter of GaussianMixtureIC"),
        ({"n_components": range(1, 4000)}, "Expected n_samples >= n_components"),
    ],
)
def test_bad_parameters(rows, parameters, text):
    with pytest.raises(ValueError, match=text):
        GaussianMixtureIC(**parameters).fit(rows)


def test_a_failed_fit_changes_nothing(rows, selected):
    before = vars(selected).copy()
    with pytest.raises(ValueError):
        selected.fit(np.full((10, 2), np.nan))
    assert vars(selected) == before


def test_the_chosen_estimator_can_be_fitted_again(rows, assert_same_model):
    selection = GaussianMixtureIC([2, 3], tol=1e-4, random_state=0, accelerate=True).fit(rows)
    again = clone(selection.best_estimator_).fit(rows)
    assert_same_model(again, selection.best_estimator_, 0.0)


def test_verbose_tells_what_is_done(rows, capsys):
    GaussianMixtureIC([1, 2], verbose=1, random_state=0).fit(rows)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith("full, 1 components, restart 0: converged in 2 iterations. lower bound -")


def test_a_sweep_goes_on_from_its_checkpoint(rows, tmp_path, fit_interrupted):
    parameters = {"covariance_type": ("full", "tied"), "tol": 1e-7, "random_state": 0, "accelerate": True}
    whole = GaussianMixtureIC([2, 5], **parameters).fit(rows)
    resumed, n_interruptions = fit_interrupted(
        lambda: GaussianMixtureIC([2, 5], checkpoint=tmp_path / "sweep", **parameters).fit(rows), 5
    )
    assert n_interruptions > 1
    for name, column in whole.results_.items():
        np.testing.assert_array_equal(resumed.results_[name], column)


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1])
def test_the_default_tolerance_leaves_too_much(seed):
    # n = 1e6: what tol = 1e-3 leaves is thousands of nats, BIC's penalty for a component is forty.
    rng = np.random.default_rng(seed)
    labels = rng.choice(4, size=1_000_000, p=[0.4, 0.3, 0.2, 0.1])
    centres = np.array([[0.0, 0.0], [0.0, 0.0], [2.5, 0.0], [0.0, 2.5]])
    deviations = np.array([0.6, 2.0, 1.0, 1.2])
    rows = centres[labels] + rng.normal(size=(1_000_000, 2)) * deviations[labels, np.newaxis]
    stopped, done = (
        GaussianMixtureIC(range(3, 7), tol=tol, accelerate=True, random_state=0).fit(rows)
        for tol in (1e-3, "auto")
    )
    assert (stopped.n_components_, done.n_components_) == (5, 4)


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_a_sweep_ends_where_its_own_criterion_is_decided(criterion, rows):
    # On iris EM with five components rests on a plateau, from which it climbs by forty in AIC.
    flowers = load_iris().data
    ended, done = (
        GaussianMixtureIC(range(1, 6), criterion=criterion, tol=tol, max_iter=5000, random_state=0).fit(
            flowers
        )
        for tol in ("auto", 1e-9)
    )
    assert ended.n_components_ == done.n_components_ == (5 if criterion == "aic" else 2)
    # AIC charges less than BIC for as many parameters, so less may be left to gain.
    results = GaussianMixtureIC((3, 4), criterion=criterion, random_state=0).fit(rows).results_
    allowed = [negligible_gap(criterion, n_free, 3000) for n_free in results["n_parameters"]]
    assert (results["remaining"] < allowed).all()


@pytest.mark.parametrize("criterion", ["aic", "bic", "icl"])
def test_what_a_tolerance_leaves_is_weighed_by_the_criterion(criterion, rows):
    with pytest.warns(
        ComparisonWarning, match=f"for 6 components .* a tenth of the penalty of {criterion.upper()}"
    ):
        GaussianMixtureIC(6, criterion=criterion, tol=5e-3, random_state=0).fit(rows)
    # Some four nats: too much for AIC, which charges a third of what BIC does.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        GaussianMixtureIC(5, criterion=criterion, tol=1e-2, random_state=0).fit(rows)
    assert bool(caught) == (criterion == "aic")


@parametrize_with_checks([GaussianMixture(), GaussianMixtureIC(n_components=(1, 2), max_iter=20)])
def test_scikit_learns_checks(estimator, check):
    check(estimator)


@pytest.mark.long
@parametrize_with_checks([GaussianMixtureIC()])
def test_scikit_learns_checks_with_the_defaults(estimator, check):
    check(estimator)
