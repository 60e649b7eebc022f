"""xarray in, xarray out: the numbers are those of the arrays inside, with dimensions and coordinates."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import numpy as np
import pytest
import xarray as xr

from dask_gmm import DataError, GaussianMixture, from_array, from_xarray, write_predictions
from tests.data.source_contract import SourceContract

TIMES = np.array(["2020-01-01", "2020-02-01"], dtype="datetime64[ns]")


@pytest.fixture
def rows(make_rows: Any) -> Any:
    return make_rows()


@pytest.fixture
def image(rows: Any) -> xr.DataArray:
    return xr.DataArray(
        rows.reshape(2, 300, 3),
        dims=("time", "place", "band"),
        coords={
            "time": TIMES,
            "band": ["red", "green", "blue"],
            "height": ("place", np.arange(300.0)),
            "gain": ("band", [1.0, 2.0, 3.0]),
        },
    )


@pytest.fixture
def gm(rows: Any) -> GaussianMixture:
    return GaussianMixture(3, random_state=0, max_iter=5, tol=0.1).fit(rows)


def _fit(X: Any) -> GaussianMixture:
    return GaussianMixture(3, random_state=0, max_iter=5, tol=0.1).fit(X)


def _assert_labels(labels: xr.DataArray, expected: Any) -> None:
    assert labels.dims == ("time", "place")
    np.testing.assert_array_equal(labels.values.reshape(-1), expected)
    np.testing.assert_array_equal(labels["time"], TIMES)
    np.testing.assert_array_equal(labels["height"], np.arange(300.0))
    assert "band" not in labels.coords
    assert "gain" not in labels.coords


def test_a_data_array_in_memory(
    image: xr.DataArray, rows: Any, gm: GaussianMixture, assert_same_model: Any
) -> None:
    fitted = _fit(image)
    assert_same_model(fitted, gm, rtol=1e-12)
    assert list(fitted.feature_names_in_) == ["red", "green", "blue"]
    labels = fitted.predict(image)
    assert labels.chunks is None
    _assert_labels(labels, gm.predict(rows))
    probabilities = fitted.predict_proba(image)
    assert probabilities.dims == ("time", "place", "component")
    np.testing.assert_allclose(probabilities.values.reshape(-1, 3), gm.predict_proba(rows), atol=1e-12)


def test_a_lazy_data_array_stays_lazy(image: xr.DataArray, rows: Any, gm: GaussianMixture) -> None:
    lazy = image.chunk({"time": 1, "place": 120, "band": 2})
    fitted = _fit(lazy)
    labels = fitted.predict(lazy)
    assert labels.chunks == ((1, 1), (120, 120, 60))
    assert labels.dtype == np.int64
    assert labels.name == "labels"
    _assert_labels(labels.compute(), gm.predict(rows))


def test_the_bits_are_those_of_the_array_inside(image: xr.DataArray, assert_same_model: Any) -> None:
    values = da.from_array(image.values, chunks=(1, 120, 3))
    lazy = image.chunk({"time": 1, "place": 120})
    assert_same_model(_fit(lazy), _fit(from_array(values)), rtol=0)


def test_the_feature_dimension_may_be_any(
    image: xr.DataArray, rows: Any, gm: GaussianMixture, assert_same_model: Any
) -> None:
    turned = image.transpose("band", "time", "place")
    fitted = _fit(from_xarray(turned, "band"))
    assert_same_model(fitted, gm, rtol=1e-12)
    _assert_labels(fitted.predict(from_xarray(turned, "band")), gm.predict(rows))


@pytest.mark.parametrize("chunks", [None, {"place": 100}])
def test_the_variables_of_a_dataset_are_the_features(
    image: xr.DataArray, rows: Any, gm: GaussianMixture, assert_same_model: Any, chunks: Any
) -> None:
    dataset = image.drop_vars("gain").to_dataset("band")
    dataset = dataset if chunks is None else dataset.chunk(chunks)
    fitted = _fit(dataset)
    assert_same_model(fitted, gm, rtol=1e-12)
    assert list(fitted.feature_names_in_) == ["red", "green", "blue"]
    labels = fitted.predict(dataset)
    assert (labels.chunks is None) == (chunks is None)
    _assert_labels(labels, gm.predict(rows))


def test_variables_may_be_chunked_differently(image: xr.DataArray, rows: Any, gm: GaussianMixture) -> None:
    dataset = image.drop_vars("gain").to_dataset("band")
    mixed = dataset.assign(red=dataset.red.chunk({"place": 100}), blue=dataset.blue.chunk({"place": 70}))
    _assert_labels(_fit(mixed).predict(mixed), gm.predict(rows))


def test_variables_are_broadcast(rows: Any) -> None:
    dataset = xr.Dataset({"a": ("x", rows[:20, 0]), "b": (("x", "y"), rows[:600, 1].reshape(20, 30))})
    labels = _fit(dataset).predict(dataset)
    full = np.stack([np.repeat(rows[:20, 0], 30), rows[:600, 1]], axis=1)
    np.testing.assert_array_equal(labels.values.reshape(-1), _fit(full).predict(full))


def test_nan_over_land(image: xr.DataArray, rows: Any, assert_same_model: Any) -> None:
    image[0, 7, 1] = np.nan
    with pytest.raises(DataError, match="NaN"):
        _fit(image)
    sea = from_xarray(image, nan="drop")
    fitted = _fit(sea)
    assert_same_model(fitted, _fit(np.delete(rows, 7, axis=0)), rtol=1e-12)
    labels = fitted.predict(sea)
    assert labels[0, 7] == -1
    assert (labels == -1).sum() == 1
    assert np.isnan(fitted.score_samples(sea)[0, 7])


def test_weights_are_aligned_by_dimension(image: xr.DataArray, rows: Any, assert_same_model: Any) -> None:
    weights = xr.DataArray((np.arange(600) % 3 + 1.0).reshape(2, 300), dims=("time", "place"))
    expected = GaussianMixture(3, random_state=0, max_iter=5, tol=0.1)
    expected.fit(rows, sample_weight=np.arange(600) % 3 + 1.0)
    for given in (weights, weights.transpose("place", "time"), weights.chunk({"place": 50})):
        fitted = GaussianMixture(3, random_state=0, max_iter=5, tol=0.1)
        assert_same_model(fitted.fit(image, sample_weight=given), expected, rtol=1e-12)


def test_weights_along_one_dimension_are_repeated(image: xr.DataArray, assert_same_model: Any) -> None:
    of_places = xr.DataArray(np.arange(300) % 3 + 1.0, dims="place")
    everywhere = of_places.broadcast_like(image.isel(band=0))
    given, expected = (
        GaussianMixture(3, random_state=0, max_iter=5, tol=0.1).fit(image, sample_weight=weights)
        for weights in (of_places, everywhere.values)
    )
    assert_same_model(given, expected, rtol=0)


@pytest.mark.parametrize(
    ("weights", "match"),
    [
        (xr.DataArray(np.ones(2), dims="time", coords={"time": TIMES[::-1]}), "coordinates"),
        (xr.DataArray(np.ones(3), dims="band"), "'band'"),
        (xr.DataArray(np.ones(299), dims="place"), "place"),
    ],
)
def test_weights_of_other_samples_are_refused(image: xr.DataArray, weights: xr.DataArray, match: str) -> None:
    with pytest.raises(DataError, match=match):
        GaussianMixture(3).fit(image, sample_weight=weights)


@pytest.mark.parametrize(("chunks", "longest"), [((100, 100, 100), 100), ((100, 50, 150), 150)])
def test_written_predictions(
    image: xr.DataArray, gm: GaussianMixture, tmp_path: Path, chunks: tuple[int, ...], longest: int
) -> None:
    X = image.chunk({"place": chunks})
    write_predictions(_fit(image), X, tmp_path / "p.zarr", ["labels", "probabilities"])
    written = xr.open_zarr(tmp_path / "p.zarr", consolidated=False)
    assert written["labels"].dims == ("time", "place")
    assert written["labels"].encoding["chunks"] == (2, longest)
    assert written["probabilities"].dims == ("time", "place", "component")
    expected = gm.predict(image.values.reshape(-1, 3))
    np.testing.assert_array_equal(written["labels"].values.reshape(-1), expected)


def test_other_features_are_refused(image: xr.DataArray) -> None:
    fitted = _fit(image)
    with pytest.raises(ValueError, match="feature names should match"):
        fitted.predict(image.assign_coords(band=["red", "blue", "green"]))


@pytest.mark.parametrize(
    ("data", "error", "match"),
    [
        (xr.DataArray(np.ones(3)), ValueError, "dimension of features"),
        (xr.DataArray(np.ones((3, 0))), ValueError, "no features"),
        (xr.Dataset(), ValueError, "no variables"),
        (xr.Dataset({"a": 1.0}), ValueError, "no dimension of samples"),
        (xr.Dataset({"a": ("x", ["u", "v"])}), TypeError, "real numbers"),
        (np.ones((3, 2)), TypeError, "ndarray"),
    ],
)
def test_what_cannot_be_used(data: Any, error: type[Exception], match: str) -> None:
    with pytest.raises(error, match=match):
        from_xarray(data)


def test_dimensions_that_do_not_exist(image: xr.DataArray) -> None:
    with pytest.raises(ValueError, match="'depth' does not exist"):
        from_xarray(image, "depth")
    with pytest.raises(ValueError, match="'depth' is no dimension"):
        from_xarray(image.drop_vars("gain").to_dataset("band"), "depth")


# --- the contract of all sources --------------------------------------------------------------------------


class TestDataArrays(SourceContract):
    answers = xr.DataArray
    drops_missing = True

    def source(self, rows, folder):
        array = xr.DataArray(rows.reshape(6, 10, 3), dims=("y", "x", "feature"))
        return from_xarray(array.chunk(y=4, x=3), nan="drop")


class TestDatasets(SourceContract):
    answers = xr.DataArray

    def source(self, rows, folder):
        variables = {name: (("y", "x"), rows[:, i].reshape(6, 10)) for i, name in enumerate("abc")}
        return from_xarray(xr.Dataset(variables).chunk(y=4))
