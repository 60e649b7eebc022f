"""Estimators changed between a fit and what is asked of it: what was fitted stays, or the change is named."""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import xarray as xr
import zarr

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_zarr, read_parquet

TYPES = ("full", "tied", "diag", "spherical")


@pytest.fixture
def rows(make_rows):
    return make_rows(90, 2, 2)


def lazy(kind, rows, folder):
    frame = pd.DataFrame(rows, columns=["a", "b"])
    match kind:
        case "zarr":
            zarr.create_array(folder / "x.zarr", data=rows, chunks=(40, 2))
            return from_zarr(folder / "x.zarr")
        case "parquet":
            frame.to_parquet(folder / "x.parquet", row_group_size=40)
            return read_parquet(folder / "x.parquet")
        case "frame":
            return dd.from_pandas(frame, npartitions=2)
        case "xarray":
            return xr.DataArray(rows, dims=("s", "f")).chunk({"s": 40})
    return da.from_array(rows, chunks=(40, 2))


@pytest.mark.parametrize("kind", ["zarr", "parquet", "frame", "xarray", "dask"])
@pytest.mark.parametrize("method", ["score_samples", "predict", "predict_proba"])
def test_a_lazy_answer_keeps_the_model_that_it_was_asked_of(kind, method, rows, tmp_path):
    data = lazy(kind, rows, tmp_path)
    fitted = GaussianMixture(2, random_state=0).fit(data)
    if kind in ("parquet", "frame"):
        rows = pd.DataFrame(rows, columns=["a", "b"])
    expected = getattr(fitted, method)(rows)
    before = getattr(fitted, method)(data)
    for name in ("means_", "weights_", "precisions_cholesky_"):
        getattr(fitted, name)[...] = getattr(fitted, name)[::-1].copy() * 2.0
    after = getattr(fitted, method)(data)
    # Computed together: the two have names of their own.
    answers = [np.asarray(answer) for answer in dask.compute(before, after)]
    np.testing.assert_allclose(answers[0], expected, rtol=1e-12)
    np.testing.assert_allclose(answers[1], getattr(fitted, method)(rows), rtol=1e-12)
    assert not np.allclose(*answers)


def test_a_choice_and_its_estimator_are_changed_apart(rows):
    chosen = GaussianMixtureIC((2,), random_state=0).fit(rows)
    means = chosen.best_estimator_.means_.copy()
    chosen.means_[:] = 0.0
    np.testing.assert_array_equal(chosen.best_estimator_.means_, means)


@pytest.mark.parametrize(
    "change",
    [{"n_components": 3}, {"n_components": 1}, *({"covariance_type": kind} for kind in TYPES[1:])],
)
def test_a_warm_start_names_what_changed(change, rows):
    fitted = GaussianMixture(2, warm_start=True, random_state=0).fit(rows)
    before = fitted.means_.copy()
    (name,) = change
    fitted.set_params(**change)
    with pytest.raises(
        ValueError, match=rf"warm_start=True continues the last fit, but {name} was .* and is"
    ):
        fitted.fit(rows)
    np.testing.assert_array_equal(fitted.means_, before)
    # Both ways out that the message names.
    fitted.set_params(warm_start=False).fit(rows)
    assert (len(fitted.means_), fitted.covariance_type_) == (fitted.n_components, fitted.covariance_type)


def test_types_whose_covariances_have_the_same_shape_are_told_apart(rows):
    # Two components of two features: the shared matrix of 'tied' has the shape of the variances of 'diag'.
    for one, other in (("tied", "diag"), ("diag", "tied")):
        fitted = GaussianMixture(2, covariance_type=one, warm_start=True, random_state=0).fit(rows)
        with pytest.raises(ValueError, match="covariance_type was"):
            fitted.set_params(covariance_type=other).fit(rows)


def test_a_warm_start_names_other_features(rows):
    frame = pd.DataFrame(rows, columns=["a", "b"])
    fitted = GaussianMixture(2, warm_start=True, random_state=0).fit(frame)
    with pytest.raises(ValueError, match=r"the features were \['a', 'b'\] and are now \['b', 'a'\]"):
        fitted.fit(frame[["b", "a"]])
    with pytest.raises(ValueError, match="X had 2 features and has 1 now"):
        fitted.fit(frame[["a"]])
    # Rows without names may be the same ones.
    fitted.fit(rows)


@pytest.mark.parametrize(("before", "now"), [("f4", "f8"), ("f8", "f4")])
def test_a_warm_start_on_another_dtype_goes_on(before, now, rows):
    fitted = GaussianMixture(2, warm_start=True, random_state=0).fit(rows.astype(before))
    ended = fitted.lower_bound_
    fitted.fit(rows.astype(now))
    assert fitted.means_.dtype == np.dtype(now)
    assert fitted.n_iter_ <= 2
    assert fitted.lower_bound_ == pytest.approx(ended, abs=1e-3)


def test_a_warm_start_does_not_look_at_the_start_again(rows):
    fitted = GaussianMixture(2, warm_start=True, random_state=0).fit(rows)
    again = GaussianMixture(2, warm_start=True, random_state=0).fit(rows)
    again.set_params(means_init=np.zeros((2, 2)), init_params="random", n_init=5)
    np.testing.assert_array_equal(again.fit(rows).means_, fitted.fit(rows).means_)


def test_a_warm_start_with_a_checkpoint_names_what_changed(rows, tmp_path):
    fitted = GaussianMixture(2, warm_start=True, random_state=0, checkpoint=tmp_path / "fit").fit(rows)
    written = (tmp_path / "fit").read_bytes()
    with pytest.raises(ValueError, match="n_components was 2 and is now 3"):
        fitted.set_params(n_components=3).fit(rows)
    assert (tmp_path / "fit").read_bytes() == written
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


@pytest.mark.parametrize("covariance_type", TYPES)
def test_predictions_are_of_what_was_fitted(covariance_type, rows):
    fitted = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows)
    answers = fitted.score_samples(rows), fitted.bic(rows), fitted.sample(3)[0].shape
    fitted.set_params(n_components=5, covariance_type="diag" if covariance_type != "diag" else "tied")
    np.testing.assert_array_equal(fitted.score_samples(rows), answers[0])
    assert (fitted.bic(rows), fitted.sample(3)[0].shape) == answers[1:]


@pytest.mark.parametrize("covariance_type", TYPES[1:])
def test_a_changed_type_is_neither_saved_nor_converted(covariance_type, rows, tmp_path):
    fitted = GaussianMixture(2, random_state=0).fit(rows).set_params(covariance_type=covariance_type)
    for convert in (lambda: fitted.save(tmp_path / "model"), fitted.to_sklearn):
        with pytest.raises(ValueError, match=f"covariance_type is '{covariance_type}'.*fitted with 'full'"):
            convert()
    assert not list(tmp_path.iterdir())


def test_attributes_that_make_no_mixture_are_named(rows):
    fitted = GaussianMixture(2, random_state=0).fit(rows)
    fitted.precisions_cholesky_ = np.ones((2, 2))
    with pytest.raises(ValueError, match=r"precisions_cholesky_ has shape \(2, 2\), but means_ of shape"):
        fitted.predict(rows)
    fitted.weights_ = np.ones(3) / 3
    with pytest.raises(ValueError, match=r"weights_ has shape \(3,\)"):
        fitted.score(rows)
