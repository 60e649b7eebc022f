"""Packed numbers and named axes, next to what xarray makes of the same stores."""

from __future__ import annotations

import pickle
import warnings

import numpy as np
import pytest
import zarr
from zarr.storage import MemoryStore

from dask_gmm import GaussianMixture, from_xarray, from_zarr
from dask_gmm.data.aligned import with_weights
from dask_gmm.data.source import working_dtype
from dask_gmm.errors import DataError

xr = pytest.importorskip("xarray")

RNG = np.random.default_rng(0)
T, S = 15 + 5 * RNG.normal(size=(12, 12)), RNG.normal(size=(12, 12))
T[:3, :5] = S[:3, :5] = np.nan


def written(path, variables, zarr_format, encoding=None, chunks=(4, 6)):
    """Write a dataset with xarray, and return its path and what xarray reads."""
    with warnings.catch_warnings(action="ignore"):  # Of Zarr, about consolidated metadata.
        encoding = {v: {"chunks": chunks, **(encoding or {}).get(v, {})} for v in variables}
        xr.Dataset(variables).to_zarr(path, zarr_format=zarr_format, encoding=encoding)
        return str(path), xr.open_zarr(path, chunks=None).load()


def rows_of(source):
    reader = pickle.loads(pickle.dumps(source.reader(range(len(source.chunks)))))
    rows = np.full((int(np.prod(source.sample_shape)), source.n_features), np.nan)
    for index in range(len(source.chunks)):
        block = reader.read(index)
        rows[block.numbers()] = block.rows
    return rows


ENCODINGS = {
    "i2 scaled": {"dtype": "i2", "scale_factor": 0.01, "add_offset": 10.0, "_FillValue": -32768},
    "i2 scaled only": {"dtype": "i2", "scale_factor": 0.01, "_FillValue": -32768},
    "u2 scaled": {"dtype": "u2", "scale_factor": 0.01, "add_offset": -100.0, "_FillValue": 65535},
    "i4 scaled": {"dtype": "i4", "scale_factor": 1e-6, "add_offset": 0.0, "missing_value": -999},
    "big-endian": {"dtype": ">i2", "scale_factor": 0.01, "add_offset": 10.0, "_FillValue": -32768},
    "unsigned": {"dtype": "i1", "_Unsigned": "true", "_FillValue": 255, "scale_factor": 0.5}
    | {"add_offset": -50.0},
    "i2 marked": {"dtype": "i2", "_FillValue": -9999},
    "i4 marked": {"dtype": "i4", "_FillValue": -9999},
    "f4 marked": {"dtype": "f4", "_FillValue": np.float32(-9999.9)},
    "f8 marked": {"dtype": "f8", "_FillValue": -9999.9},
    "f4": {"dtype": "f4"},
}  # fmt: skip


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("encoding", ENCODINGS.values(), ids=ENCODINGS)
def test_packed_numbers_are_those_of_xarray(tmp_path, zarr_format, encoding):
    variables = {"t": (("y", "x"), T), "s": (("y", "x"), S)}
    path, read = written(tmp_path / "x", variables, zarr_format, dict.fromkeys(variables, encoding))
    expected = np.stack([read.t.values, read.s.values], axis=-1).reshape(-1, 2)
    source = from_zarr(path, ["t", "s"], nan="drop")
    assert source.dtype == np.result_type(*(working_dtype(read[v].dtype, v) for v in variables))
    assert np.isnan(expected).any()
    np.testing.assert_array_equal(rows_of(source), expected)
    fitted = GaussianMixture(1, tol=1e-9).fit(source)
    np.testing.assert_allclose(fitted.means_[0], np.nanmean(expected, axis=0), rtol=1e-5)
    via = GaussianMixture(1, tol=1e-9).fit(from_xarray(read[["t", "s"]], nan="drop"))
    np.testing.assert_allclose(fitted.covariances_, via.covariances_, rtol=1e-4)
    stored = zarr.open_group(path, mode="r")["t"][:].astype(source.dtype).reshape(-1)
    as_stored = rows_of(from_zarr(path, ["t"], decode=False))
    np.testing.assert_array_equal(as_stored[:, 0], stored)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_missing_values_are_refused_by_the_names_of_their_marks(tmp_path, zarr_format):
    path, _ = written(tmp_path / "x", {"t": (("y", "x"), T)}, zarr_format, {"t": ENCODINGS["i2 scaled"]})
    with pytest.raises(DataError, match=r"contains NaN.*\n.*row 0 \(t/.*5 of .*x/t: -32768.*decode=False"):
        GaussianMixture(1).fit(from_zarr(path, ["t"]))


def array(values, attributes, **options):
    made = zarr.create_array(MemoryStore(), data=np.asarray(values), **options)
    made.attrs.update(attributes)
    return made


@pytest.mark.parametrize(
    ("stored", "attributes", "expected"),
    [
        (np.int16([1, 5, 9]), {"valid_range": [2, 8], "scale_factor": 10}, [np.nan, 50, np.nan]),
        (np.int16([1, 5, 9]), {"valid_min": 2}, [np.nan, 5, 9]),
        (np.int16([1, 5, 9]), {"valid_range": [2, 8], "valid_max": 10}, [np.nan, 5, 9]),
        # Bounds that are not whole numbers are those of unpacked ones.
        (np.int16([1, 5, 9]), {"valid_range": [0.0, 0.6], "scale_factor": 0.1}, [0.1, 0.5, np.nan]),
        (np.float32([1, 5, 9]), {"valid_max": 8}, [1, 5, np.nan]),
        (np.int8([1, -2, -1]), {"_Unsigned": "true", "valid_range": [0, -2]}, [1, 254, np.nan]),
        (np.uint8([1, 254, 255]), {"_Unsigned": "false", "_FillValue": -1}, [1, -2, np.nan]),
        (np.int16([1, 5, 9]), {"missing_value": [1, 9]}, [np.nan, 5, np.nan]),
        (np.int16([1, 5, 9]), {"_FillValue": 1, "missing_value": 70000}, [np.nan, 5, 9]),
        (np.float64([1, 5, 9]), {"_FillValue": "NaN", "missing_value": "9"}, [1, 5, np.nan]),
        (np.float32([1, 1e20, 9]), {"missing_value": 1e20}, [1, np.nan, 9]),
        (np.uint8([0, 5, 9]), {"add_offset": 0.5}, [0.5, 5.5, 9.5]),
        (np.bool_([0, 1, 1]), {"_FillValue": 1}, [0, 1, 1]),
    ],
)
def test_what_attributes_say(stored, attributes, expected):
    source = from_zarr(array(stored, attributes, config={"write_empty_chunks": True}), [""], nan="drop")
    np.testing.assert_array_equal(rows_of(source)[:, 0], np.asarray(expected, dtype=source.dtype))


def test_attributes_that_are_no_numbers_are_named():
    with pytest.raises(DataError, match=r"scale_factor is 'ten', which is no number.*decode=False"):
        from_zarr(array([[1, 2]], {"scale_factor": "ten"}))
    with pytest.raises(DataError, match="add_offset has 2 values"):
        from_zarr(array([[1, 2]], {"add_offset": [1, 2]}))


def test_the_fill_value_of_format_2_is_missing_only_where_netcdf_says_so():
    values = np.float64([[0, 1], [2, 3]])
    options = {"zarr_format": 2, "fill_value": 0.0}
    plain = from_zarr(array(values, {}, **options), nan="drop")
    np.testing.assert_array_equal(rows_of(plain), values)
    netcdf = from_zarr(array(values, {"_ARRAY_DIMENSIONS": ["y", "x"]}, **options), nan="drop")
    np.testing.assert_array_equal(rows_of(netcdf), [[np.nan, np.nan], [2, 3]])


def test_what_numbers_mean_belongs_to_the_fingerprint(tmp_path):
    path, _ = written(tmp_path / "x", {"t": (("y", "x"), T)}, 3, {"t": ENCODINGS["i2 scaled"]})
    assert from_zarr(path, ["t"]).fingerprint() == from_zarr(path, ["t"]).fingerprint()
    assert from_zarr(path, ["t"]).fingerprint() != from_zarr(path, ["t"], decode=False).fingerprint()


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("chunks", [(4, 6), (5, 5)])
def test_variables_are_paired_by_the_names_of_their_axes(tmp_path, zarr_format, chunks):
    turned = (("x", "y"), (3 * T + S).T)
    path, read = written(tmp_path / "x", {"t": (("y", "x"), T), "s": turned}, zarr_format, chunks=chunks)
    source = from_zarr(path, ["t", "s"], nan="drop")
    assert source.dims == ("y", "x")
    expected = np.stack([read.t, read.s.transpose("y", "x")], axis=-1)
    rows = rows_of(source)
    np.testing.assert_array_equal(rows, np.where(np.isnan(expected), np.nan, expected).reshape(-1, 2))
    fitted = GaussianMixture(2, random_state=0).fit(source)
    labels = fitted.predict(source).compute(scheduler="sync")
    np.testing.assert_array_equal(labels == -1, np.isnan(T))
    assert set(labels[~np.isnan(T)]) == {0, 1}


def test_variables_of_other_dimensions_are_refused(tmp_path):
    variables = {"t": (("y", "x"), T), "u": (("y", "x_edge"), T)}
    path, _ = written(tmp_path / "x", variables, 3)
    with pytest.raises(ValueError, match=r"x/t has the dimensions \(y, x\), .*x/u has \(y, x_edge\)"):
        from_zarr(path, ["t", "u"])


def test_axes_without_names_are_paired_by_place():
    store = MemoryStore()
    group = zarr.open_group(store, mode="w")
    for name, dims in (("a", None), ("b", ("y", "x")), ("c", ("y", None))):
        group.create_array(name, data=T, dimension_names=dims)
    source = from_zarr(group, ["a", "b", "c"], nan="drop")
    np.testing.assert_array_equal(rows_of(source), np.repeat(T.reshape(-1, 1), 3, axis=1))
    group.create_array("d", data=T, dimension_names=("x", None))
    with pytest.raises(ValueError, match=r"not on one grid.*\(y, x\), .* has \(x, \?\)"):
        from_zarr(group, ["b", "d"])


def test_weights_follow_by_the_names_of_their_axes(tmp_path):
    weights = RNG.random((12, 12))
    variables = {"t": (("y", "x"), np.nan_to_num(T)), "w": (("x", "y"), weights.T)}
    path, read = written(tmp_path / "x", variables, 3)
    source = from_zarr(path, ["t"])
    expected = GaussianMixture(2, random_state=0).fit(source, sample_weight=weights)
    for rows in (source, from_xarray(read[["t"]])):
        for given in (read.w, from_zarr(path, ["w"]), from_xarray(read[["w"]])):
            fitted = GaussianMixture(2, random_state=0).fit(rows, sample_weight=given)
            np.testing.assert_allclose(fitted.means_, expected.means_, rtol=1e-9)
    with pytest.raises(DataError, match=r"sample_weight has the dimensions \('a', 'b'\), .*\('y', 'x'\)"):
        with_weights(source, read.w.rename(x="a", y="b"))
