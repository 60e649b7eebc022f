"""Variables of a Dataset that are no features are named, with what to do; none becomes one silently."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import xarray as xr

from dask_gmm import GaussianMixture, from_xarray

RNG = np.random.default_rng(0)
DATES = pd.date_range("2020", periods=20)
SEA = xr.Dataset(
    {name: (("time", "x"), RNG.normal(size=(20, 4))) for name in ("t", "s")},
    coords={"time": DATES, "x": np.arange(4.0)},
)


def bounds(attribute, of="time"):
    """The sea with numeric bounds that an attribute or the encoding of a coordinate names."""
    dataset = SEA.assign(limits=(("time", "two"), RNG.normal(size=(20, 2))))
    getattr(dataset[of], attribute)["bounds"] = "limits"
    return dataset


def gridded():
    dataset = SEA.assign(crs=(("x",), np.zeros(4)))
    dataset.t.attrs["grid_mapping"] = "crs: x"
    return dataset


OTHERS = {
    "a scalar": (SEA.assign(crs=0), ValueError, "'crs': a scalar"),
    "dates": (SEA.assign(when=("time", DATES)), TypeError, "'when': dates"),
    "bounds of dates": (
        SEA.assign(b=(("time", "nv"), np.stack([DATES, DATES], 1))),
        TypeError,
        "'b': dates",
    ),
    "a time span": (SEA.assign(age=("time", DATES - DATES[0])), TypeError, "'age': time spans"),
    "text": (SEA.assign(who=("time", np.array(["a"] * 20))), TypeError, "'who': text"),
    "objects": (SEA.assign(who=("time", np.array([{}] * 20))), TypeError, "'who': text or other objects"),
    "complex": (SEA.assign(z=("time", np.full(20, 1j))), TypeError, "'z': complex numbers"),
    "bounds": (SEA.assign(b=(("time", "nv"), np.zeros((20, 2)))), ValueError, "'b': has the dimension 'nv'"),
    "corners": (SEA.assign(b=(("x", "four"), np.zeros((4, 4)))), ValueError, "'b': has the dimension 'four'"),
    "a profile": (SEA.assign(v=(("time", "z"), np.zeros((20, 9)))), ValueError, "'v': has the dimension 'z'"),
    "bounds by attribute": (bounds("attrs"), ValueError, "'limits': cell bounds of 'time'"),
    "bounds by encoding": (bounds("encoding"), ValueError, "'limits': cell bounds of 'time'"),
    "a grid mapping": (gridded(), ValueError, "'crs': a grid mapping of 't'"),
}


@pytest.mark.parametrize("lazy", [False, True])
@pytest.mark.parametrize(("dataset", "error", "message"), OTHERS.values(), ids=OTHERS)
def test_others_are_named(dataset, error, message, lazy):
    if lazy:
        dataset = dataset.chunk({"time": 10}) if "objects" not in message else dataset
    with pytest.raises(error, match=message) as told:
        GaussianMixture(1).fit(dataset)
    assert "X[['t', 's']]" in str(told.value)
    assert isinstance(told.value, error)


def test_the_advice_works():
    dataset = SEA.assign(crs=0, when=("time", DATES))
    with pytest.raises(TypeError, match=r"X\.set_coords\(\['when', 'crs'\]\)"):
        from_xarray(dataset)
    labels = GaussianMixture(1).fit(SEA).predict(dataset.set_coords(["when", "crs"]))
    assert {"when", "crs"} <= set(labels.coords)
    assert labels.dims == ("time", "x")


@pytest.mark.parametrize("name", ["nv", "two"])
def test_one_variable_and_its_bounds(name):
    dataset = xr.Dataset({"t": ("time", np.ones(20)), "b": (("time", name), np.ones((20, 2)))})
    with pytest.raises(ValueError, match=f"'b': has the dimension {name!r}"):
        from_xarray(dataset)


def test_short_dimensions_of_samples_are_no_corners():
    members = SEA.isel(x=slice(3)).drop_vars("x").assign(depth=("time", np.ones(20)))
    assert from_xarray(members).sample_shape == (20, 3)
    assert from_xarray(SEA.isel(x=slice(2))).sample_shape == (20, 2)


def test_numbers_in_objects_are_numbers():
    dataset = SEA.assign(t=SEA.t.astype(object))
    np.testing.assert_array_equal(GaussianMixture(1).fit(dataset).means_, GaussianMixture(1).fit(SEA).means_)


def test_all_that_is_wrong_is_told_at_once():
    dataset = SEA.assign(crs=0, when=("time", DATES), b=(("time", "nv"), np.zeros((20, 2))))
    with pytest.raises(TypeError, match="'when': dates; 'crs': a scalar; 'b': has the dimension"):
        from_xarray(dataset)
    with pytest.raises(TypeError, match="Give other variables"):
        from_xarray(dataset[["when"]])
