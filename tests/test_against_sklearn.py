"""Live comparison with scikit-learn's class: the same data, the same seed, the same model."""

from __future__ import annotations

import copy
import warnings
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
STARTS = ("kmeans", "k-means++", "random", "random_from_data")
PARTS = ("weights_init", "means_init", "precisions_init")

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def fit_both(X: Any, **parameters: Any) -> tuple[Any, Any]:
    """Fit both classes, each with its own copy of the parameters (a RandomState is used up)."""
    ours = GaussianMixture(**copy.deepcopy(parameters)).fit(X)
    theirs = Reference(**copy.deepcopy(parameters)).fit(X)
    return ours, theirs


def assert_same_iterations(ours: Any, theirs: Any, rtol: float = 1e-10) -> None:
    assert ours.n_iter_ == theirs.n_iter_
    assert ours.converged_ == theirs.converged_
    np.testing.assert_allclose(ours.lower_bounds_, theirs.lower_bounds_, rtol=rtol)
    np.testing.assert_allclose(ours.lower_bound_, theirs.lower_bound_, rtol=rtol)


def assert_same_predictions(ours: Any, theirs: Any, X: Any, rtol: float = 1e-10) -> None:
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.predict_proba(X), theirs.predict_proba(X), rtol=0, atol=10 * rtol)
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(X), rtol=10 * rtol)
    for criterion in ("score", "aic", "bic"):
        np.testing.assert_allclose(getattr(ours, criterion)(X), getattr(theirs, criterion)(X), rtol=rtol)


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("seed", [0, 1])
def test_the_same_model_from_the_same_seed(
    make_rows, assert_same_model, covariance_type, init_params, n_init, seed
):
    # More components than clusters: each restart has an end of its own; the best is no matter of rounding.
    X = make_rows(seed=seed)
    ours, theirs = fit_both(
        X,
        n_components=5,
        covariance_type=covariance_type,
        init_params=init_params,
        n_init=n_init,
        max_iter=40,
        random_state=seed,
    )
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)
    assert_same_predictions(ours, theirs, X)
    assert_same_predictions(ours, theirs, make_rows(seed=seed + 7))


@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_same_model_for_float32(make_rows, assert_same_model, covariance_type, init_params, n_init):
    # Clusters near zero: scikit-learn's own rounding must stay below what is compared.
    X = make_rows(400, seed=10).astype(np.float32)
    parameters = {"covariance_type": covariance_type, "init_params": init_params, "max_iter": 20}
    if covariance_type == "tied" and init_params in ("k-means++", "random_from_data") and n_init > 1:
        # Starting from single rows, the covariance is so wide that all restarts end with the same bound to
        # six digits: float32 rounding, scikit-learn's and ours, would choose. So take them one by one.
        stream = np.random.RandomState(4)
        for _ in range(n_init):
            _, theirs = pair = fit_both(X, n_components=3, random_state=stream, **parameters)
            stream = theirs.random_state
            assert_same_iterations(*pair, rtol=1e-5)
            assert_same_model(*pair, 1e-5)
        return
    ours, theirs = fit_both(X, n_components=3, n_init=n_init, random_state=4, **parameters)
    assert_same_iterations(ours, theirs, rtol=1e-5)
    assert_same_model(ours, theirs, 1e-5)
    assert_same_predictions(ours, theirs, X, rtol=1e-5)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    "given", [parts for n in (1, 2, 3) for parts in combinations(PARTS, n)], ids="+".join
)
def test_given_parts_of_the_start(make_rows, assert_same_model, covariance_type, given):
    X = make_rows(seed=2)
    first = Reference(3, covariance_type=covariance_type, random_state=0, max_iter=1).fit(X)
    parts = {
        "weights_init": [0.2, 0.3, 0.5],
        "means_init": first.means_.tolist(),
        "precisions_init": first.precisions_ * 0.7,
    }
    ours, theirs = fit_both(
        X,
        n_components=3,
        covariance_type=covariance_type,
        random_state=np.random.RandomState(1),
        tol=1e-5,
        **{part: parts[part] for part in given},
    )
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)
    assert ours.random_state.uniform() == theirs.random_state.uniform()
    for part in given:
        assert isinstance(getattr(ours, part), np.ndarray)
        np.testing.assert_array_equal(getattr(ours, part), getattr(theirs, part))


@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("n_init", [1, 3])
def test_a_shared_random_state_ends_at_the_same_place(make_rows, assert_same_model, init_params, n_init):
    X = make_rows()
    ours, theirs = fit_both(
        X, n_components=3, init_params=init_params, n_init=n_init, random_state=np.random.RandomState(3)
    )
    assert ours.random_state.uniform() == theirs.random_state.uniform()
    ours.fit(X)
    theirs.fit(X)
    assert_same_model(ours, theirs, 1e-10)
    np.testing.assert_allclose(ours.sample(9)[0], theirs.sample(9)[0], rtol=1e-8)
    assert ours.random_state.uniform() == theirs.random_state.uniform()


@pytest.mark.parametrize("covariance_type", TYPES)
def test_warm_start_goes_on(make_rows, assert_same_model, covariance_type):
    X = make_rows(seed=5)
    ours, theirs = fit_both(
        X,
        n_components=3,
        covariance_type=covariance_type,
        init_params="random",
        warm_start=True,
        max_iter=3,
        n_init=2,
        tol=1e-5,
        random_state=0,
    )
    for max_iter in (1, 0, 4, 200, 200):
        assert_same_iterations(ours, theirs)
        assert_same_model(ours, theirs, 1e-10)
        if max_iter == 0:
            continue  # scikit-learn cannot go on from a fit without iterations
        ours.set_params(max_iter=max_iter).fit(X)
        theirs.set_params(max_iter=max_iter).fit(X)
    assert ours.converged_
    assert ours.n_iter_ == 1


def test_warm_start_on_other_rows(make_rows, assert_same_model):
    ours, theirs = fit_both(make_rows(seed=5), n_components=3, warm_start=True, random_state=0)
    for n_more in (3, 2):
        X = make_rows(seed=5, n_rows=450 + n_more)
        ours.fit(X)
        theirs.fit(X)
        assert_same_iterations(ours, theirs)
        assert_same_model(ours, theirs, 1e-10)


@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize("covariance_type", TYPES)
def test_without_iterations_the_start_is_the_answer(
    make_rows, assert_same_model, covariance_type, init_params
):
    X = make_rows(seed=1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        ours, theirs = fit_both(
            X,
            n_components=3,
            covariance_type=covariance_type,
            init_params=init_params,
            max_iter=0,
            n_init=2,
            random_state=2,
        )
    assert_same_model(ours, theirs, 1e-10)
    assert (ours.n_iter_, ours.converged_, ours.lower_bounds_) == (0, False, [])
    assert ours.lower_bound_ == theirs.lower_bound_ == -np.inf
    assert_same_predictions(ours, theirs, X)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_without_iterations_a_given_start_is_the_answer(make_rows, relative_distance, covariance_type):
    # scikit-learn fails here: it has no covariances yet.
    rows = make_rows()
    start = Reference(3, covariance_type=covariance_type, random_state=0).fit(rows)
    unmoved = GaussianMixture(
        3,
        covariance_type=covariance_type,
        weights_init=start.weights_,
        means_init=start.means_,
        precisions_init=start.precisions_,
        max_iter=0,
    ).fit(rows)
    for name in ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_"):
        assert relative_distance(getattr(unmoved, name), getattr(start, name)) <= 1e-12, name
    assert_same_predictions(unmoved, start, rows)


@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize(
    ("n_rows", "n_features", "n_components"), [(60, 1, 2), (9, 2, 3), (50, 3, 1), (2, 4, 1), (300, 9, 5)]
)
def test_small_and_narrow_data(
    make_rows, assert_same_model, covariance_type, init_params, n_rows, n_features, n_components
):
    X = make_rows(n_rows, n_features, n_components, spread=5.0, seed=2)
    ours, theirs = fit_both(
        X,
        n_components=n_components,
        covariance_type=covariance_type,
        init_params=init_params,
        reg_covar=0.05,
        random_state=0,
    )
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)


@pytest.mark.parametrize("reg_covar", [0.0, 1e-6, 0.3])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_reg_covar(make_rows, assert_same_model, covariance_type, reg_covar):
    ours, theirs = fit_both(
        make_rows(), n_components=2, covariance_type=covariance_type, reg_covar=reg_covar, random_state=0
    )
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)


@pytest.mark.parametrize("tol", [0.0, 1e-9, 1e-2, 10.0])
@pytest.mark.parametrize("max_iter", [1, 2, 25])
def test_when_to_stop(make_rows, assert_same_model, tol, max_iter):
    ours, theirs = fit_both(make_rows(), n_components=3, tol=tol, max_iter=max_iter, random_state=0)
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)
    assert len(ours.lower_bounds_) == ours.n_iter_


@pytest.mark.parametrize("n_init", [1, 4])
def test_labels_of_fit_predict_are_those_of_predict(make_rows, n_init):
    X = make_rows(spread=1.0)
    parameters = {"n_components": 4, "init_params": "random", "max_iter": 2, "n_init": n_init}
    ours = GaussianMixture(**parameters, random_state=0)
    labels = ours.fit_predict(X)
    np.testing.assert_array_equal(labels, Reference(**parameters, random_state=0).fit_predict(X))
    np.testing.assert_array_equal(labels, ours.predict(X))


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_first_of_equal_components(make_rows, covariance_type):
    X = make_rows()
    twins = Reference(1, covariance_type=covariance_type).fit(X)
    start = {
        "covariance_type": covariance_type,
        "weights_init": [0.5, 0.5],
        "means_init": np.repeat(twins.means_, 2, axis=0),
        "precisions_init": twins.precisions_
        if covariance_type == "tied"
        else np.repeat(twins.precisions_, 2, axis=0),
    }
    ours, theirs = fit_both(X, n_components=2, max_iter=1, **start)
    np.testing.assert_array_equal(theirs.predict(X), 0)
    np.testing.assert_array_equal(ours.predict(X), 0)


@pytest.mark.parametrize("random_state", [0, 7])
@pytest.mark.parametrize("covariance_type", TYPES)
def test_sample(make_rows, covariance_type, random_state):
    ours, theirs = fit_both(
        make_rows(), n_components=3, covariance_type=covariance_type, random_state=random_state
    )
    for n_samples in (1, 50, np.int64(7)):
        (X, y), (expected_X, expected_y) = ours.sample(n_samples), theirs.sample(n_samples)
        np.testing.assert_allclose(X, expected_X, rtol=1e-8, atol=1e-8)
        np.testing.assert_array_equal(y, expected_y)
        assert (X.dtype, y.dtype) == (expected_X.dtype, expected_y.dtype)
        np.testing.assert_array_equal(y, np.sort(y))
    assert ours.sample()[0].shape == (1, 3)


@pytest.mark.parametrize(
    "kind", ["frame", "list", "fortran", "read_only", "strided", "int", "bool", "float16"]
)
def test_kinds_of_rows_in_memory(make_rows, assert_same_model, kind):
    X = {
        "frame": lambda rows: pd.DataFrame(rows, columns=["a", "b", "c"]),
        "list": lambda rows: rows.tolist(),
        "fortran": np.asfortranarray,
        "read_only": _read_only,
        "strided": lambda rows: np.repeat(rows, 2, axis=1)[:, ::2],
        "int": lambda rows: np.round(10 * rows).astype(np.int32),
        "bool": lambda rows: rows > 0,
        "float16": lambda rows: rows.astype(np.float16),
    }[kind](make_rows())
    ours, theirs = fit_both(X, n_components=3, reg_covar=1e-3, random_state=0)
    assert_same_iterations(ours, theirs)
    assert_same_model(ours, theirs, 1e-10)
    # scikit-learn itself truncates the densities of rows that are not floats.
    as_float = X if kind in ("frame", "list") else np.asarray(X, dtype=np.float64)
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(as_float))
    np.testing.assert_allclose(ours.score_samples(X), theirs.score_samples(as_float), rtol=1e-9)


def _read_only(rows: Any) -> Any:
    rows = rows.copy()
    rows.flags.writeable = False
    return rows


@pytest.mark.parametrize("rows_dtype", [np.float32, np.float64])
@pytest.mark.parametrize("model_dtype", [np.float32, np.float64])
def test_dtypes(make_rows, model_dtype, rows_dtype):
    X = make_rows(spread=3.0)
    ours, theirs = fit_both(X.astype(model_dtype), n_components=3, random_state=0)
    for name, expected in vars(theirs).items():
        if isinstance(expected, np.ndarray):
            assert getattr(ours, name).dtype == expected.dtype, name
    assert type(ours.lower_bound_) is type(theirs.lower_bound_)
    assert [type(bound) for bound in ours.lower_bounds_] == [type(bound) for bound in theirs.lower_bounds_]
    rows = X.astype(rows_dtype)
    for method in ("predict", "predict_proba", "score_samples"):
        assert getattr(ours, method)(rows).dtype == getattr(theirs, method)(rows).dtype, method
    for method in ("score", "aic", "bic"):
        assert type(getattr(ours, method)(rows)) is float
