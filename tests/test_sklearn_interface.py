"""What else users of scikit-learn's class see: printed text, warnings, attributes, names, tags, copies."""

from __future__ import annotations

import copy
import inspect
import pickle
import re
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import get_tags

from dask_gmm import GaussianMixture

OWN_PARAMETERS = GaussianMixture().get_params().keys() - Reference().get_params().keys()


def outcome(estimator: Any, X: Any) -> list[tuple[type[Warning], str]]:
    """Fit, and return the warnings."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        estimator.fit(X)
    return [(warning.category, str(warning.message)) for warning in caught]


@pytest.mark.parametrize("max_iter", [0, 1, 6, 100])
@pytest.mark.parametrize("n_init", [1, 3])
@pytest.mark.parametrize("interval", [1, 2, 10])
@pytest.mark.parametrize("verbose", [0, 1, True, 2, 3])
@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_verbose_text(make_rows, capsys, verbose, interval, n_init, max_iter):
    parameters = {"verbose": verbose, "verbose_interval": interval, "n_init": n_init, "max_iter": max_iter}
    texts = []
    for kind in (GaussianMixture, Reference):
        kind(5, random_state=0, **parameters).fit(make_rows())
        texts.append(re.sub(r"time lapse \d+\.\d{5}s", "time lapse T", capsys.readouterr().out))
    assert texts[0] == texts[1]
    assert bool(texts[0]) == bool(verbose)


@pytest.mark.parametrize("verbose", [0, 1, 2])
def test_verbose_text_of_a_warm_start(make_rows, capsys, verbose):
    texts = []
    for kind in (GaussianMixture, Reference):
        estimator = kind(3, random_state=0, n_init=2, warm_start=True, verbose=verbose, verbose_interval=1)
        estimator.fit(make_rows()).fit(make_rows(seed=1))
        texts.append(re.sub(r"time lapse \d+\.\d{5}s", "time lapse T", capsys.readouterr().out))
    assert texts[0] == texts[1]


@pytest.mark.parametrize(
    "parameters",
    [{"max_iter": 2}, {"tol": 0, "max_iter": 3}, {"tol": 1e-9, "max_iter": 30}, {"max_iter": 0}, {}],
)
def test_convergence_warning(make_rows, parameters):
    X = make_rows()
    ours = outcome(GaussianMixture(5, random_state=0, **parameters), X)
    theirs = outcome(Reference(5, random_state=0, **parameters), X)
    assert [category for category, _ in ours] == [category for category, _ in theirs]
    # Advice on what is left to gain may follow.
    assert all(text.startswith(expected) for (_, text), (_, expected) in zip(ours, theirs, strict=True))
    assert bool(ours) == (0 < parameters.get("max_iter", 100) < 100)


def test_few_distinct_rows_warn_as_k_means_does(make_rows):
    X = np.repeat(make_rows(2), 10, axis=0)
    ours = outcome(GaussianMixture(3, random_state=0), X)
    assert ours == outcome(Reference(3, random_state=0), X)
    assert ours[0][0] is ConvergenceWarning
    assert "Number of distinct clusters" in ours[0][1]


def test_the_warning_points_at_the_caller(make_rows):
    with pytest.warns(ConvergenceWarning) as caught:
        GaussianMixture(3, max_iter=1).fit(make_rows())
    assert caught[0].filename == __file__
    with pytest.warns(ConvergenceWarning) as caught:
        GaussianMixture(3, max_iter=1).fit_predict(make_rows())
    assert caught[0].filename == __file__


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_attributes(make_rows, covariance_type):
    X = make_rows()
    parameters = {"n_components": 3, "covariance_type": covariance_type, "random_state": 0}
    ours, theirs = vars(GaussianMixture(**parameters).fit(X)), vars(Reference(**parameters).fit(X))
    assert ours.keys() - theirs.keys() == OWN_PARAMETERS | {"history_", "covariance_type_", "statistics_"}
    for name in theirs:
        assert type(ours[name]) is type(theirs[name]), name
        assert np.shape(ours[name]) == np.shape(theirs[name]), name


def test_constructor():
    ours, theirs = (inspect.signature(kind.__init__).parameters for kind in (GaussianMixture, Reference))
    assert list(ours)[: len(theirs)] == list(theirs)
    for name, expected in theirs.items():
        assert (ours[name].default, ours[name].kind) == (expected.default, expected.kind)
    shared = {name: GaussianMixture().get_params()[name] for name in theirs if name != "self"}
    assert shared == Reference().get_params()
    assert repr(GaussianMixture(3, tol=1e-4)) == repr(Reference(3, tol=1e-4))


def test_tags_and_html():
    ours, theirs = get_tags(GaussianMixture()), get_tags(Reference())
    for name in ("estimator_type", "target_tags", "transformer_tags", "classifier_tags", "requires_fit"):
        assert getattr(ours, name) == getattr(theirs, name)
    assert ours.input_tags == theirs.input_tags
    assert "GaussianMixture" in GaussianMixture()._repr_html_()


def test_feature_names(make_rows):
    X = pd.DataFrame(make_rows(), columns=["a", "b", "c"])
    fitted = [kind(2, random_state=0).fit(X) for kind in (GaussianMixture, Reference)]
    assert [list(estimator.feature_names_in_) for estimator in fitted] == [["a", "b", "c"]] * 2
    for misnamed in (X[["b", "a", "c"]], X.rename(columns={"a": "z"})):
        messages = []
        for estimator in fitted:
            with pytest.raises(ValueError) as caught:
                estimator.predict(misnamed)
            messages.append(str(caught.value))
        assert messages[0] == messages[1]
    for estimator in fitted:
        with pytest.warns(UserWarning, match="X does not have valid feature names, but GaussianMixture was"):
            estimator.score(X.to_numpy())
    refitted = fitted[0].fit(X.to_numpy())
    assert not hasattr(refitted, "feature_names_in_")
    assert refitted.n_features_in_ == 3
    unnamed = GaussianMixture(2).fit(pd.DataFrame(make_rows()))
    assert not hasattr(unnamed, "feature_names_in_")


def test_clone_has_parameters_only(make_rows):
    fitted = GaussianMixture(3, random_state=0, means_init=make_rows(3)).fit(make_rows())
    copied = clone(fitted)
    assert copied.get_params().keys() == fitted.get_params().keys()
    assert not [name for name in vars(copied) if name.endswith("_")]


@pytest.mark.parametrize("duplicate", [lambda model: pickle.loads(pickle.dumps(model)), copy.deepcopy])
def test_pickles_are_the_same_model(make_rows, duplicate):
    X = make_rows()
    fitted = GaussianMixture(3, random_state=0).fit(X)
    copied = duplicate(fitted)
    np.testing.assert_array_equal(copied.predict_proba(X), fitted.predict_proba(X))
    np.testing.assert_array_equal(copied.sample(5)[0], fitted.sample(5)[0])
    assert copied.fit(X).lower_bounds_ == fitted.lower_bounds_


def test_a_pickle_holds_parameters_only(make_rows):
    small, large = (
        len(pickle.dumps(GaussianMixture(3, random_state=0, max_iter=2, tol=100).fit(make_rows(n))))
        for n in (300, 30_000)
    )
    # The history has the bytes of a pass, a number of more digits.
    assert abs(small - large) < 10


def test_in_a_pipeline(make_rows):
    X = make_rows()
    ours, theirs = (
        make_pipeline(StandardScaler(), kind(3, random_state=0)).fit(X)
        for kind in (GaussianMixture, Reference)
    )
    np.testing.assert_array_equal(ours.predict(X), theirs.predict(X))
    np.testing.assert_allclose(ours.score(X), theirs.score(X), rtol=1e-12)


def test_targets_are_ignored(make_rows):
    X, y = make_rows(), np.arange(600)
    with_targets, without = (
        GaussianMixture(3, random_state=0).fit(X, y),
        GaussianMixture(3, random_state=0).fit(X),
    )
    np.testing.assert_array_equal(with_targets.means_, without.means_)
    assert with_targets.score(X, y) == without.score(X)
    np.testing.assert_array_equal(GaussianMixture(3, random_state=0).fit_predict(X, y), without.predict(X))


def test_random_states_of_all_kinds(make_rows):
    X = make_rows()
    for random_state in (0, np.int64(3), 2**32 - 1, np.random.RandomState(1)):
        ours = GaussianMixture(3, random_state=copy.deepcopy(random_state)).fit(X)
        theirs = Reference(3, random_state=copy.deepcopy(random_state)).fit(X)
        np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-10)
    np.random.seed(5)  # noqa: NPY002 - None means NumPy's global state
    ours = GaussianMixture(3, init_params="random").fit(X)
    np.random.seed(5)  # noqa: NPY002
    theirs = Reference(3, init_params="random").fit(X)
    np.testing.assert_allclose(ours.means_, theirs.means_, rtol=1e-10)
