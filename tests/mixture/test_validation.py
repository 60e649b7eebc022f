"""What is refused: in scikit-learn's words, in its order, before rows are read, and without a trace."""

from __future__ import annotations

from functools import cache
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import scipy.sparse
from sklearn.exceptions import NotFittedError
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.errors import CollapsedComponentError

ROWS = np.random.default_rng(0).normal(size=(10, 2))
IDENTITIES = np.stack([np.eye(2)] * 2)


def error_of(estimator: Any, method: str, *arguments: Any) -> Exception:
    with pytest.raises(Exception) as caught:
        getattr(estimator, method)(*arguments)
    return caught.value


def assert_same_error(ours: Exception, theirs: Exception) -> None:
    assert str(ours) == str(theirs)
    assert isinstance(ours, type(theirs))


BAD_PARAMETERS = {
    "n_components": [0, -1, 1.5, "2", None],
    "covariance_type": ["bad", None, 1],
    "tol": [-1.0, "small", None],
    "reg_covar": [-1e-9, None],
    "max_iter": [-1, 1.5, None],
    "n_init": [0, 1.5],
    "init_params": ["bad", None],
    "weights_init": [1.0, "w"],
    "means_init": [0.0],
    "precisions_init": [1],
    "random_state": [-1, "seed", np.random.default_rng(0), 2**32],
    "warm_start": [1, "yes", None],
    "verbose": [-1, "yes", None],
    "verbose_interval": [0, 1.5],
}


@pytest.mark.parametrize(
    ("name", "value"), [(name, value) for name, values in BAD_PARAMETERS.items() for value in values]
)
def test_bad_parameters(name, value):
    ours, theirs = (error_of(kind(**{name: value}), "fit", ROWS) for kind in (GaussianMixture, Reference))
    if name in ("init_params", "covariance_type"):
        # Sets of choices, written in any order; of starts there is one more.
        assert isinstance(ours, type(theirs))
    else:
        assert_same_error(ours, theirs)
    assert f"The {name!r} parameter of GaussianMixture must be" in str(ours)


@pytest.mark.parametrize("name", ["n_components", "tol", "random_state"])
def test_parameters_are_checked_at_fit_only(name):
    GaussianMixture(**{name: -1}).set_params(**{name: -2})


PREDICTING = ["predict", "predict_proba", "score_samples", "score", "aic", "bic"]

BAD_ROWS = {
    "one dimension": ROWS[:, 0],
    "three dimensions": ROWS[np.newaxis],
    "scalar": 1.0,
    "one row": ROWS[:1],
    "no rows": ROWS[:0],
    "no features": ROWS[:, :0],
    "fewer rows than components": ROWS[:2],
    "nan": np.where(np.arange(20).reshape(10, 2) == 7, np.nan, ROWS),
    "infinity": np.where(np.arange(20).reshape(10, 2) == 7, np.inf, ROWS),
    "float32 infinity": np.where(np.arange(20).reshape(10, 2) == 7, -np.inf, ROWS).astype(np.float32),
    "complex": ROWS + 1j,
    "sparse": scipy.sparse.csr_array(ROWS),
    "strings": np.full((10, 2), "a"),
    "bytes": np.full((10, 2), b"a"),
    "objects": np.array([[object(), 1.0]] * 10, dtype=object),
    "ragged": [[1.0, 2.0], [3.0]],
    "mixed names": pd.DataFrame(ROWS, columns=["a", 1]),
    "nothing": None,
}


@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("method", ["fit", "fit_predict"])
def test_bad_rows(rows, method):
    ours, theirs = (error_of(kind(3), method, rows) for kind in (GaussianMixture, Reference))
    assert_same_error(ours, theirs)


@pytest.mark.parametrize("kind", [GaussianMixture, GaussianMixtureIC])
@pytest.mark.parametrize(
    "rows", ["one row", "no rows", "no features", "fewer rows than components", "mixed names"]
)
def test_lazy_rows_are_refused_in_the_same_words(kind, rows):
    rows = BAD_ROWS[rows]
    if isinstance(rows, pd.DataFrame):
        lazy = dd.from_pandas(rows, npartitions=2)
    else:
        lazy = da.from_array(rows, chunks=(max(1, len(rows)), max(1, rows.shape[1])))
    theirs = error_of(Reference(3), "fit", rows)
    for data in (rows, lazy):
        ours = error_of(kind(3), "fit", data)
        assert str(ours) == str(theirs).replace("GaussianMixture", kind.__name__)
        assert isinstance(ours, type(theirs))


@cache
def fitted_once(kind: Any) -> Any:
    return kind(2, random_state=0).fit(ROWS)


@pytest.mark.parametrize("kind", [GaussianMixture, GaussianMixtureIC])
@pytest.mark.parametrize("rows", BAD_ROWS.values(), ids=BAD_ROWS.keys())
@pytest.mark.parametrize("method", PREDICTING)
def test_bad_rows_to_predict(kind, rows, method):
    fitted, reference = fitted_once(kind), fitted_once(Reference)
    try:
        getattr(reference, method)(rows)
    except Exception as error:
        theirs = error
    else:
        getattr(fitted, method)(rows)
        return
    ours = error_of(fitted, method, rows)
    assert str(ours) == str(theirs).replace("GaussianMixture", kind.__name__)
    assert isinstance(ours, type(theirs))


@pytest.mark.parametrize("dtype", ["f2", "i4", "?", "O"])
def test_other_numbers_are_predicted_as_float64(dtype):
    rows = (4 * ROWS).astype("i4").astype(dtype)
    fitted = GaussianMixture(2, random_state=0).fit(ROWS)
    answer = fitted.score_samples(rows)
    assert answer.dtype == np.float64
    np.testing.assert_array_equal(answer, fitted.score_samples(rows.astype("f8")))


BAD_STARTS = [
    {"weights_init": [0.5, 0.3, 0.2]},
    {"weights_init": [[0.5, 0.5]]},
    {"weights_init": [-0.5, 1.5]},
    {"weights_init": [0.4, 0.4]},
    {"weights_init": [0.5, np.nan]},
    {"weights_init": np.array([0.5, 0.50001], dtype=np.float32)},
    {"means_init": ROWS[:1]},
    {"means_init": ROWS[:2, :1]},
    {"means_init": [[0.0, np.nan], [0.0, 1.0]]},
    {"precisions_init": IDENTITIES[:1]},
    {"precisions_init": IDENTITIES[0]},
    {"precisions_init": -IDENTITIES},
    {"precisions_init": IDENTITIES + np.triu(np.ones((2, 2)))},
    {"precisions_init": IDENTITIES[0] * [1, -1], "covariance_type": "tied"},
    {"precisions_init": IDENTITIES, "covariance_type": "tied"},
    {"precisions_init": np.zeros((2, 2)), "covariance_type": "diag"},
    {"precisions_init": np.ones((2, 3)), "covariance_type": "diag"},
    {"precisions_init": np.array([1.0, -1.0]), "covariance_type": "spherical"},
    {"precisions_init": np.ones((2, 1)), "covariance_type": "spherical"},
    # Two errors: the first in scikit-learn's order is told.
    {"weights_init": [0.4, 0.4], "means_init": ROWS[:1]},
    {"means_init": ROWS[:1], "precisions_init": -IDENTITIES},
]


@pytest.mark.parametrize("start", BAD_STARTS, ids=str)
def test_bad_starts(start):
    ours, theirs = (error_of(kind(2, **start), "fit", ROWS) for kind in (GaussianMixture, Reference))
    assert_same_error(ours, theirs)


def test_nearly_normalized_weights_are_accepted():
    for dtype, error in ((np.float64, 1e-9), (np.float32, 5e-7)):
        weights = np.array([0.5, 0.5 + error], dtype=dtype)
        GaussianMixture(2, weights_init=weights, random_state=0).fit(ROWS)


def test_parameters_are_checked_before_rows_and_rows_before_starts():
    for parameters, rows in (
        ({"tol": -1, "means_init": ROWS[:1]}, ROWS[0]),
        ({"means_init": ROWS[:1]}, ROWS[0]),
        ({"n_components": 12, "means_init": ROWS[:1]}, ROWS),
    ):
        ours, theirs = (error_of(kind(**parameters), "fit", rows) for kind in (GaussianMixture, Reference))
        assert_same_error(ours, theirs)


@pytest.mark.parametrize("method", PREDICTING)
def test_not_fitted(method):
    ours, theirs = (error_of(kind(), method, ROWS) for kind in (GaussianMixture, Reference))
    assert_same_error(ours, theirs)
    assert isinstance(ours, NotFittedError)
    assert_same_error(error_of(GaussianMixture(), "sample"), error_of(Reference(), "sample"))


def test_bad_numbers_of_samples():
    fitted = GaussianMixture(2, random_state=0).fit(ROWS)
    for n_samples in (0, -1):
        with pytest.raises(
            ValueError, match=f"Invalid value for 'n_samples': {n_samples} . The sampling requires"
        ):
            fitted.sample(n_samples)
    with pytest.raises(TypeError, match="n_samples must be an integer"):
        fitted.sample(2.5)


COLLAPSING = np.repeat([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]], 10, axis=0)


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_collapse_tells_what_happened(covariance_type, dtype):
    rows = COLLAPSING.astype(dtype)
    parameters = {"covariance_type": covariance_type, "reg_covar": 0.0, "random_state": 0}
    # For 'tied', scikit-learn's rounding leaves a positive variance of 1e-16; its words are the same for all.
    theirs = error_of(Reference(3, **{**parameters, "covariance_type": "full"}), "fit", rows)
    ours = error_of(GaussianMixture(3, **parameters), "fit", rows)
    assert isinstance(ours, CollapsedComponentError)
    assert isinstance(ours, type(theirs))
    assert str(ours).startswith(str(theirs))
    assert "smallest eigenvalue is 0" in str(ours)
    if covariance_type == "tied":
        assert ours.component is None
    else:
        assert ours.component == 0
        assert "Component 0 has weight 0.333" in str(ours)


def test_collapse_names_the_component_that_collapsed():
    rows = np.concatenate([np.random.default_rng(0).normal(size=(20, 2)), np.full((10, 2), 50.0)])
    means = [[50.0, 50.0], [0.0, 0.0]]
    for order in ([0, 1], [1, 0]):
        error = error_of(
            GaussianMixture(
                2,
                reg_covar=0.0,
                means_init=np.array(means)[order],
                init_params="random_from_data",
                weights_init=[0.5, 0.5],
                precisions_init=IDENTITIES,
            ),
            "fit",
            rows,
        )
        assert isinstance(error, CollapsedComponentError)
        assert error.component == order.index(0)


def test_another_restart_wins_where_one_collapses():
    # scikit-learn gives up on all of them.
    rng = np.random.default_rng(0)
    corners = 10 * np.array([[0, 0], [1, 0], [0.5, 0.87]])
    spread = [corner + rng.normal(size=(40, 2)) for corner in corners[:2]]
    rows = np.concatenate([*spread, np.repeat(corners[2:], 20, axis=0)])
    parameters = {"init_params": "random", "reg_covar": 0.0}
    stream = np.random.RandomState(1)
    alone = [_fitted_or_none(GaussianMixture(2, random_state=stream, **parameters), rows) for _ in range(6)]
    survivors = [estimator for estimator in alone if estimator is not None]
    assert 0 < len(survivors) < 6
    best = max(survivors, key=lambda estimator: estimator.lower_bound_)
    with pytest.warns(UserWarning, match=f"Restart {alone.index(None)} was left out. Fitting the mixture"):
        together = GaussianMixture(2, n_init=6, random_state=1, **parameters).fit(rows)
    np.testing.assert_array_equal(together.means_, best.means_)


def _fitted_or_none(estimator: Any, rows: Any) -> Any:
    try:
        return estimator.fit(rows)
    except CollapsedComponentError:
        return None


@pytest.mark.parametrize(
    ("parameters", "rows"),
    [
        ({"tol": -1}, ROWS),
        ({}, ROWS[:, 0]),
        ({}, BAD_ROWS["nan"][:, [1, 0, 1]]),
        ({"n_components": 11}, ROWS),
        ({"means_init": [[0.0]]}, ROWS),
        ({"weights_init": [0.5, 0.5], "means_init": [[0.0]]}, ROWS),
        ({"reg_covar": 0.0, "n_components": 3}, COLLAPSING),
    ],
    ids=["parameter", "shape", "nan", "too few rows", "start", "second part of the start", "collapse"],
)
def test_a_failed_fit_changes_nothing(parameters, rows):
    fresh = GaussianMixture(**{"n_components": 2, "random_state": 0, **parameters})
    given = dict(vars(fresh))
    error_of(fresh, "fit", rows)
    assert vars(fresh) == given

    fitted = GaussianMixture(2, random_state=0).fit(pd.DataFrame(ROWS, columns=["a", "b"]))
    fitted.set_params(**parameters)
    before = dict(vars(fitted))
    error_of(fitted, "fit", rows)
    assert vars(fitted).keys() == before.keys()
    for name, value in before.items():
        assert vars(fitted)[name] is value, name


def test_warm_start_with_other_features():
    fitted = GaussianMixture(2, warm_start=True, random_state=0).fit(ROWS)
    with pytest.raises(ValueError, match=r"warm_start=True.*X had 2 features and has 3 now"):
        fitted.fit(np.column_stack([ROWS, ROWS[:, 0]]))
