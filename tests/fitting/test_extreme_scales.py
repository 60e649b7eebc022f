"""Rows so large or small that squares leave their dtype: right numbers, or an error that says to scale."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bound_")
STARTS = ("kmeans", "random", "sample")


def base():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(60, 2)), rng.normal(size=(60, 2)) + 8.0])


def as_kind(kind, rows):
    return da.from_array(rows, chunks=(50, 2)) if kind == "lazy" else rows


def fit(rows, kind, **parameters):
    return GaussianMixture(2, random_state=0, max_iter=300, **parameters).fit(as_kind(kind, rows))


@pytest.mark.parametrize("kind", ["array", "lazy"])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("init_params", STARTS)
@pytest.mark.parametrize(
    ("dtype", "scale"),
    [("f4", 2.0**k) for k in (-40, 54, 60, 61)] + [("f8", 2.0**k) for k in (-200, 400, 490)],
)
def test_a_scale_changes_nothing_while_the_results_can_be_held(
    kind, covariance_type, init_params, dtype, scale
):
    parameters = {"covariance_type": covariance_type, "init_params": init_params, "reg_covar": 0.0}
    rows = base().astype(dtype)
    expected, fitted = fit(rows, kind, **parameters), fit(rows * rows.dtype.type(scale), kind, **parameters)
    rtol = 1e-4 if dtype == "f4" else 1e-8
    # Among starts of one bound rounding chooses, and so the order of the components.
    order, expected_order = np.argsort(fitted.means_[:, 0]), np.argsort(expected.means_[:, 0])
    np.testing.assert_allclose(fitted.weights_[order], expected.weights_[expected_order], rtol=rtol)
    means = fitted.means_[order] / scale
    np.testing.assert_allclose(means, expected.means_[expected_order], rtol=rtol, atol=rtol)
    covariances = fitted.covariances_.astype("f8") / scale / scale
    same = (lambda array, order: array) if covariance_type == "tied" else (lambda array, order: array[order])
    np.testing.assert_allclose(
        same(covariances, order), same(expected.covariances_, expected_order), rtol=rtol, atol=rtol
    )
    scaled = as_kind(kind, rows * rows.dtype.type(scale))
    ranks, expected_ranks = np.argsort(order), np.argsort(expected_order)
    labels, expected_labels = np.asarray(fitted.predict(scaled)), expected.predict(rows)
    np.testing.assert_array_equal(ranks[labels], expected_ranks[expected_labels])
    difference = fitted.score(scaled) + 2.0 * np.log(scale) - expected.score(rows)
    assert abs(difference) < (1e-3 if dtype == "f4" else 1e-8)


@pytest.mark.parametrize("kind", ["array", "lazy"])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize("init_params", ["kmeans", "random", "k-means++", "given"])
@pytest.mark.parametrize(("dtype", "scale"), [("f4", 1e20), ("f4", 1e36), ("f8", 1e155), ("f8", 1e307)])
def test_what_cannot_be_held_is_refused(kind, covariance_type, init_params, dtype, scale):
    parameters = {"covariance_type": covariance_type}
    if init_params == "given":
        start = Reference(2, covariance_type=covariance_type, random_state=0).fit(base())
        given = ("weights", "means", "precisions")
        parameters |= {f"{name}_init": getattr(start, f"{name}_") for name in given}
    else:
        parameters["init_params"] = init_params
    gm = GaussianMixture(2, random_state=0, **parameters)
    with pytest.raises(ValueError, match=r"(?i)scale the input data"):
        gm.fit(as_kind(kind, (base() * scale).astype(dtype)))
    assert not hasattr(gm, "means_")


@pytest.mark.parametrize("covariance_type", TYPES)
def test_float64_holds_what_float32_cannot(covariance_type):
    rows = (base() * 1e20).astype("f4")
    with pytest.raises(
        ValueError, match=r"covariances_ are beyond what float32 can hold.* or pass float64 data"
    ):
        fit(rows, "array", covariance_type=covariance_type)
    fitted = fit(rows.astype("f8"), "array", covariance_type=covariance_type)
    assert all(np.isfinite(getattr(fitted, name)).all() for name in PARAMETERS)


def test_inverses_too_large_for_float32_are_refused():
    with pytest.raises(ValueError, match=r"fitted precisions_ are beyond what float32 can.* or pass float64"):
        fit((base() * 1e-21).astype("f4"), "array", reg_covar=0.0)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
@pytest.mark.parametrize("kind", ["array", "lazy"])
@pytest.mark.parametrize("covariance_type", TYPES)
@pytest.mark.parametrize(
    ("dtype", "far"), [("f4", 1e18), ("f4", 1e25), ("f4", 1e38), ("f8", 1e100), ("f8", 1e155), ("f8", 1e300)]
)
def test_rows_far_from_every_component(kind, covariance_type, dtype, far):
    rows = np.array([[far, 0], [far, far], [-far, far], [0, 0]], dtype=dtype)
    ours, theirs = (
        kind_of(2, covariance_type=covariance_type, random_state=0).fit(base().astype(dtype))
        for kind_of in (GaussianMixture, Reference)
    )
    # In float64, where their numbers last longer; the answer is of the dtype of the rows.
    reference = Reference(2, covariance_type=covariance_type, random_state=0).fit(base())
    expected = reference.score_samples(rows.astype("f8"))
    expected[np.isnan(expected)] = -np.inf
    lazy = as_kind(kind, rows)
    np.testing.assert_allclose(ours.score_samples(lazy), expected.astype(dtype), rtol=1e-3)
    np.testing.assert_allclose(ours.predict_proba(lazy)[3], theirs.predict_proba(rows)[3], rtol=1e-3)
    # `score` is the mean in float64 where rows are summed chunk by chunk.
    assert ours.score(lazy) in (-np.inf, pytest.approx(float(expected.mean()), rel=1e-3))
