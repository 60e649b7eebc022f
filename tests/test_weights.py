"""What a sample weight means: a row of weight two is two rows, a row of weight zero is none."""

from __future__ import annotations

import math
from typing import Any

import dask.array as da
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def given_start(rows: Any, covariance_type: str) -> dict[str, Any]:
    start = Reference(3, covariance_type=covariance_type, max_iter=1, random_state=0).fit(rows)
    return {
        "covariance_type": covariance_type,
        "weights_init": start.weights_,
        "means_init": start.means_,
        "precisions_init": start.precisions_,
        "max_iter": 4,
        "tol": 0.0,
    }


def drawn_weights(n_rows: int) -> Any:
    return np.random.default_rng(3).integers(0, 4, size=n_rows).astype(float)


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_weight_is_a_number_of_rows(make_rows, assert_same_model, covariance_type, lazy):
    rows, weights = make_rows(), drawn_weights(600)
    repeated = np.repeat(rows, weights.astype(int), axis=0)
    start = given_start(rows, covariance_type)
    weighted = GaussianMixture(3, **start)
    if lazy:
        weighted.fit(da.from_array(rows, chunks=(130, 2)), sample_weight=da.from_array(weights, chunks=200))
    else:
        weighted.fit(rows, sample_weight=weights)
    plain = GaussianMixture(3, **start).fit(repeated)
    assert_same_model(weighted, plain, 1e-11)
    np.testing.assert_allclose(weighted.lower_bounds_, plain.lower_bounds_, rtol=1e-12)
    # ... as scikit-learn sees the repeated rows.
    assert_same_model(weighted, Reference(3, **start).fit(repeated), 1e-10)


@pytest.mark.parametrize("method", ["score", "aic", "bic"])
def test_criteria_count_weights(make_rows, method):
    rows, weights = make_rows(), drawn_weights(600)
    fitted = GaussianMixture(3, random_state=0).fit(rows)
    expected = getattr(fitted, method)(np.repeat(rows, weights.astype(int), axis=0))
    for X in (rows, da.from_array(rows, chunks=(70, -1))):
        assert getattr(fitted, method)(X, sample_weight=weights) == pytest.approx(expected, rel=1e-12)
    assert getattr(fitted, method)(rows, sample_weight=np.ones(600)) == pytest.approx(
        getattr(fitted, method)(rows), rel=1e-12
    )


def test_bic_takes_the_sum_of_weights_for_n(make_rows):
    rows, weights = make_rows(), np.full(600, 0.25)
    fitted = GaussianMixture(2, random_state=0).fit(rows)
    total = 0.25 * fitted.score_samples(rows).sum()
    n_parameters = 2 * 6 + 2 * 3 + 1
    assert fitted.bic(rows, sample_weight=weights) == pytest.approx(
        -2 * total + n_parameters * math.log(150), rel=1e-12
    )
    assert fitted.aic(rows, sample_weight=weights) == pytest.approx(-2 * total + 2 * n_parameters, rel=1e-12)
    assert fitted.score(rows, sample_weight=weights) == pytest.approx(fitted.score(rows), rel=1e-12)


# NumPy's draw of rows from the data is another one where rows have probabilities.
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random"])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_unit_weights_change_nothing(make_rows, assert_same_model, covariance_type, init_params):
    rows = make_rows()
    parameters = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
    plain = GaussianMixture(3, **parameters).fit(rows)
    weighted = GaussianMixture(3, **parameters).fit(rows, sample_weight=np.ones(600))
    assert weighted.n_iter_ == plain.n_iter_
    assert_same_model(weighted, plain, 1e-11)


@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_unit_of_weights_does_not_matter(make_rows, assert_same_model, covariance_type, init_params):
    # But for the tiny number that is added to a component's weight; starts from single rows magnify it.
    rows, weights = make_rows(), drawn_weights(600) + 0.5
    parameters = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
    light, heavy = (
        GaussianMixture(3, **parameters).fit(rows, sample_weight=scale * weights) for scale in (1.0, 4.0)
    )
    assert light.n_iter_ == heavy.n_iter_
    np.testing.assert_allclose(light.lower_bounds_, heavy.lower_bounds_, rtol=1e-8)
    assert_same_model(light, heavy, 1e-8)


@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("n_init", [1, 2])
def test_rows_of_weight_zero_are_not_there(make_rows, assert_same_model, init_params, n_init):
    rows = make_rows()
    weights = np.ones(600)
    weights[::7] = 0.0
    nonsense = np.where(weights[:, np.newaxis] > 0, rows, 1e3)
    with_nonsense = GaussianMixture(3, init_params=init_params, n_init=n_init, random_state=0)
    with_nonsense.fit(nonsense, sample_weight=weights)
    assert np.abs(with_nonsense.means_).max() < 10
    assert with_nonsense.lower_bound_ > -10
    assert with_nonsense.weights_.sum() == pytest.approx(1.0)
    start = given_start(rows, "full")
    zero, removed = GaussianMixture(3, **start), GaussianMixture(3, **start)
    zero.fit(nonsense, sample_weight=weights)
    removed.fit(rows[weights > 0])
    assert_same_model(zero, removed, 1e-11)


@pytest.mark.parametrize("init_params", STARTS)
def test_the_start_counts_weights(init_params):
    # One cluster weighs next to nothing: a start that looked at rows alone would give it a third.
    rng = np.random.default_rng(0)
    rows = np.concatenate([rng.normal(size=(200, 2)), rng.normal(size=(100, 2)) + 50])
    weights = np.concatenate([np.ones(200), np.full(100, 1e-6)])
    start = GaussianMixture(1, init_params=init_params, max_iter=0, random_state=0).fit(
        rows, sample_weight=weights
    )
    assert np.abs(start.means_).max() < 5


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(
    ("weights", "message"),
    [
        (np.full(60, -1.0), "Negative values in data passed to `sample_weight`"),
        (np.where(np.arange(60) == 31, -1e-9, 1.0), "Negative values in data passed to `sample_weight`"),
        (np.where(np.arange(60) == 31, np.nan, 1.0), "NaN"),
        (np.where(np.arange(60) == 31, np.inf, 1.0), "infinity"),
        (np.zeros(60), "at least one non-zero|zero for every row"),
        (np.ones(59), "59"),
        (np.ones((60, 1)), r"1D|shape \(60, 1\)"),
    ],
    ids=["negative", "one negative", "nan", "infinite", "all zero", "too few", "two dimensions"],
)
def test_bad_weights(make_rows, weights, message, lazy):
    rows = make_rows(60)
    X = da.from_array(rows, chunks=(25, -1)) if lazy else rows
    fresh = GaussianMixture(2, random_state=0)
    with pytest.raises(ValueError, match=message):
        fresh.fit(X, sample_weight=weights)
    assert not hasattr(fresh, "converged_")
    with pytest.raises(ValueError):
        GaussianMixture(2, random_state=0).fit(rows).score(X, sample_weight=weights)


def test_a_bad_weight_is_found_in_its_row(make_rows):
    weights = np.where(np.arange(60) == 31, -1.0, 1.0)
    with pytest.raises(ValueError, match=r"-1.0 in row 31 \("):
        GaussianMixture(2).fit(da.from_array(make_rows(60), chunks=(25, -1)), sample_weight=weights)


def test_kinds_of_weights(make_rows, assert_same_model):
    rows, weights = make_rows(90), drawn_weights(90)
    expected = GaussianMixture(2, random_state=0).fit(rows, sample_weight=weights)
    for kind in (
        list,
        lambda w: w.astype(np.float32),
        lambda w: w.astype(int),
        lambda w: da.from_array(w, chunks=20),
    ):
        fitted = GaussianMixture(2, random_state=0).fit(rows, sample_weight=kind(weights))
        np.testing.assert_array_equal(fitted.means_, expected.means_)
    doubled = GaussianMixture(2, random_state=0).fit(rows, sample_weight=2)
    assert_same_model(doubled, GaussianMixture(2, random_state=0).fit(rows), 1e-9)
