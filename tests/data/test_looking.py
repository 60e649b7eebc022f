"""What users ask a source for, whatever kind it is: see `tests/data/source_contract.py` for all kinds."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dask_gmm import GaussianMixture, from_array, from_xarray, read_parquet

RNG = np.random.default_rng(0)


@pytest.fixture
def profiles():
    """Temperature and salinity at depths, nothing below the floor, and one number for each profile."""
    shape, depth = (6, 8, 5), np.array([0.0, 10.0, 50.0, 200.0, 1000.0])
    warm = 4.0 * RNG.integers(0, 2, size=shape[:2])
    data = {
        name: (("y", "x", "depth"), warm[..., np.newaxis] + RNG.normal(size=shape)) for name in ("t", "s")
    }
    sea = xr.Dataset({**data, "layer": (("y", "x"), warm)}, coords={"depth": depth, "y": np.arange(6.0)})
    return sea.where((sea["depth"] < 500) | (sea["y"] > 1))


@pytest.mark.parametrize("chunked", [False, True])
def test_profiles_of_several_variables(profiles, chunked, tmp_path):
    profiles["layer"] = profiles["layer"].isel(depth=0, drop=True)
    rows = np.concatenate(
        [
            profiles["t"].values.reshape(48, 5),
            profiles["s"].values.reshape(48, 5),
            profiles["layer"].values.reshape(48, 1),
        ],
        axis=1,
    )
    data = profiles.chunk(y=2) if chunked else profiles
    source = from_xarray(data, feature_dim="depth", nan="drop")
    assert source.shape == (6, 8, 11)
    assert source.feature_names[:2] == ("t[0.0]", "t[10.0]")
    assert source.feature_names[-1] == "layer"
    gm = GaussianMixture(2, covariance_type="diag", random_state=0, nan="drop").fit(source)
    kept = ~np.isnan(rows).any(axis=1)
    expected = GaussianMixture(2, covariance_type="diag", random_state=0).fit(rows[kept])
    np.testing.assert_allclose(gm.means_, expected.means_, rtol=1e-10)
    # Predictions of a Dataset know how the fitted source was made, a loaded model too.
    gm.save(tmp_path / "m.gmm")
    for model in (gm, GaussianMixture.load(tmp_path / "m.gmm")):
        labels = model.predict(data[["s", "layer", "t"]])
        assert labels.dims == ("y", "x")
        np.testing.assert_array_equal(labels.values.ravel()[kept], expected.predict(rows[kept]))
        assert (labels.values.ravel()[~kept] == -1).all()


@pytest.mark.parametrize("chunks", [None, {"y": 2}])
def test_variables_are_chosen_by_name_but_not_sorted(profiles, chunks):
    data = profiles[["t", "s"]].fillna(0.0)
    data = data if chunks is None else data.chunk(chunks)
    gm = GaussianMixture(2, random_state=0).fit(data)
    more = data.assign(salt=data["s"] * 2.0)
    xr.testing.assert_equal(gm.predict(more[["salt", "s", "t"]]), gm.predict(data))
    with pytest.raises(ValueError, match="feature names should match"):
        gm.predict(data[["s", "t"]])


def test_a_dimension_of_no_variable(profiles):
    with pytest.raises(ValueError, match="feature_dim='level' is no dimension"):
        from_xarray(profiles, feature_dim="level")


def test_another_fit_forgets_the_dimension(profiles):
    gm = GaussianMixture(1, covariance_type="diag", nan="drop").fit(
        from_xarray(profiles, feature_dim="depth")
    )
    assert gm.feature_dim_ == "depth"
    gm.set_params(nan="error").fit(RNG.normal(size=(20, 2)))
    assert not hasattr(gm, "feature_dim_")
    assert not hasattr(gm, "nan_")
    with pytest.raises(ValueError, match="NaN"):
        gm.predict([[1.0, np.nan]])


def test_predictions_leave_out_what_the_fitted_source_left_out(profiles, tmp_path):
    source = from_xarray(profiles, feature_dim="depth", nan="drop")
    gm = GaussianMixture(2, covariance_type="diag", random_state=0).fit(source)
    gm.save(tmp_path / "m.gmm")
    expected = gm.predict(source).compute()
    assert (expected == -1).any()
    for model in (gm, GaussianMixture.load(tmp_path / "m.gmm")):
        xr.testing.assert_identical(model.predict(profiles).compute(), expected)


def test_arrays_in_memory():
    rows = RNG.normal(size=(3, 40, 50))
    source = from_array(rows, feature_axis=0)
    assert source.shape == (40, 50, 3)
    assert len(source) == 2000
    labels = GaussianMixture(2, random_state=0).fit(source).predict(source)
    assert isinstance(labels, da.Array)
    assert labels.shape == (40, 50)
    with pytest.raises(TypeError, match="list"):
        from_array([[1.0, 2.0]])


def test_files_whose_rows_are_not_counted(tmp_path):
    frame = pd.DataFrame(RNG.normal(size=(100, 2)), columns=["a", "b"])
    frame.to_parquet(tmp_path / "x.parquet", row_group_size=30)
    source = read_parquet(tmp_path / "x.parquet", filters=[("a", ">", 0.0)])
    assert source.shape == (None, 2)
    assert source
    with pytest.raises(TypeError, match="not known before they are read"):
        len(source)
    expected = frame[frame["a"] > 0].reset_index(drop=True)
    pd.testing.assert_frame_equal(source.head(40), expected[:40])
    assert "&lt;" not in source._repr_html_()
    assert "a, b" in source._repr_html_()
