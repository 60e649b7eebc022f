"""Predictions of gridded data are maps: xarray opens them on the coordinates of what they were made from."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dask_gmm import GaussianMixture, from_xarray, write_predictions

RNG = np.random.default_rng(0)


@pytest.fixture(scope="module")
def sea():
    shape = (6, 10, 12)
    warm = 5.0 * RNG.integers(0, 2, size=shape)
    return xr.Dataset(
        {name: (("time", "y", "x"), RNG.normal(size=shape) + warm, {"units": "K"}) for name in ("t", "s")},
        coords={
            "time": pd.date_range("2026-01-01", periods=6),
            "y": np.linspace(-60, 60, 10),
            "x": np.arange(12.0),
            "basin": (("y", "x"), np.full((10, 12), "north")),
        },
    ).chunk(time=2)


@pytest.fixture(scope="module")
def gm(sea):
    return GaussianMixture(2, random_state=0).fit(from_xarray(sea))


def test_a_map_opens_on_its_coordinates(sea, gm, tmp_path):
    write_predictions(gm, sea, tmp_path / "p.zarr", ["labels", "log_density"])
    found = xr.open_zarr(tmp_path / "p.zarr", consolidated=False)
    expected = gm.predict(sea).compute()
    xr.testing.assert_equal(found["labels"].compute(), expected.astype("i1"))
    assert found["labels"].dtype == np.int8
    assert found["labels"].attrs["long_name"] == expected.attrs["long_name"]
    for name in ("time", "y", "x", "basin"):
        xr.testing.assert_equal(found[name].compute(), sea[name])
    assert int(found["labels"].sel(time="2026-01-03", y=-60, x=3)) in (0, 1)


def test_samples_that_were_dropped_are_missing(sea, gm, tmp_path):
    holes = sea.where(sea["x"] > 3)
    source = from_xarray(holes, nan="drop")
    write_predictions(gm, source, tmp_path / "p.zarr", ["labels"])
    found = xr.open_zarr(tmp_path / "p.zarr", consolidated=False)["labels"].compute()
    assert found.where(found["x"] <= 3, drop=True).isnull().all()
    shown = gm.predict(source).compute()
    np.testing.assert_array_equal(found.sel(x=slice(4, None)), shown.sel(x=slice(4, None)))
    assert (shown.sel(x=slice(0, 3)) == -1).all()


def test_called_again_it_changes_nothing(sea, gm, tmp_path):
    for n_chunks in (3, 0):
        assert write_predictions(gm, sea, tmp_path / "p.zarr").n_chunks == n_chunks
    other = sea.assign_coords(y=sea["y"] + 1)
    assert write_predictions(gm, other, tmp_path / "p.zarr", overwrite=True).n_chunks in (0, 3)
    found = xr.open_zarr(tmp_path / "p.zarr", consolidated=False)
    np.testing.assert_array_equal(found["y"], other["y"])


def test_lazy_predictions_have_a_name(sea, gm):
    assert gm.predict(sea).name == "labels"
    assert gm.predict_proba(sea).name == "probabilities"
    assert "nats" in gm.score_samples(sea).attrs["long_name"]
