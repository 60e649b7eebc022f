"""A masked value is a missing value, whoever masked it: never a number."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from scipy.sparse import csr_matrix

from dask_gmm import DataError, GaussianMixture, GaussianMixtureIC, from_array, write_predictions

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 2))
HIDDEN = ROWS.copy()
HIDDEN[150:160, 0] = -9999.0
MASKED = np.ma.masked_equal(HIDDEN, -9999.0)
GOOD = np.delete(ROWS, np.s_[150:160], axis=0)


def mask_some(block, value=-9999):
    """Mask a block only where there is something to mask."""
    return np.ma.masked_equal(block, value) if (block == value).any() else block


def announced(rows, chunks):
    return da.ma.masked_equal(da.from_array(rows, chunks=chunks), -9999.0)


def unannounced(rows, chunks):
    meta = np.empty((0,) * rows.ndim, rows.dtype)
    return da.from_array(rows, chunks=chunks).map_blocks(mask_some, dtype=rows.dtype, meta=meta)


KINDS = pytest.mark.parametrize("make", [announced, unannounced])
CHUNKS = pytest.mark.parametrize("chunks", [(60, 2), (60, 1)])


@pytest.mark.parametrize("X", [MASKED, list(MASKED), MASKED.astype(np.float32), MASKED.astype(int)])
def test_in_memory(X):
    fitted = GaussianMixture(1).fit(ROWS)
    for method in (GaussianMixture(1).fit, GaussianMixtureIC([1]).fit, fitted.predict, fitted.score_samples):
        with pytest.raises(DataError, match=r"^Input X contains NaN\.\n10 of its values are masked"):
            method(X)


def test_the_advice_works():
    good = MASKED[~np.ma.getmaskarray(MASKED).any(axis=1)]
    np.testing.assert_array_equal(GaussianMixture(1).fit(good).means_, GaussianMixture(1).fit(GOOD).means_)


@KINDS
@CHUNKS
def test_lazy(make, chunks):
    X, fitted = make(HIDDEN, chunks), GaussianMixture(1).fit(ROWS)
    with pytest.raises(DataError, match=r"(?s)^Input X contains NaN.*row 150 .*behind a mask count as NaN"):
        GaussianMixture(1).fit(X)
    for lazy in (fitted.predict(X), fitted.score_samples(X)):
        with pytest.raises(DataError, match="Input X contains NaN"):
            lazy.compute()
    with pytest.raises(DataError, match="Input X contains NaN"):
        fitted.score(X)


@KINDS
@CHUNKS
def test_lazy_rows_are_dropped_by_the_rule_for_nan(make, chunks, assert_same_model, tmp_path):
    X = from_array(make(HIDDEN, chunks), nan="drop")
    fitted = GaussianMixture(2, random_state=0).fit(X)
    assert_same_model(fitted, GaussianMixture(2, random_state=0).fit(GOOD), rtol=1e-9)
    labels = fitted.predict(X).compute()
    assert type(labels) is np.ndarray
    assert (np.flatnonzero(labels == -1) == np.arange(150, 160)).all()
    written = write_predictions(fitted, X, tmp_path / "labels.zarr")
    assert written.n_rows == 190


@KINDS
def test_masked_integers(make):
    rows = np.arange(40).reshape(20, 2)
    rows[3, 1] = -9999
    X = make(rows, (6, 2))
    with pytest.raises(DataError, match="Input X contains NaN"):
        GaussianMixture(1).fit(X)
    fitted = GaussianMixture(1).fit(from_array(X, nan="drop"))
    np.testing.assert_allclose(fitted.means_, GaussianMixture(1).fit(np.delete(rows, 3, 0)).means_)


def test_masked_arrays_without_masked_values_are_rows():
    expected = GaussianMixture(1).fit(ROWS).means_
    whole = np.ma.masked_array(ROWS)
    for X in (whole, da.ma.masked_equal(da.from_array(ROWS, chunks=(60, 2)), -9999.0)):
        np.testing.assert_allclose(GaussianMixture(1).fit(X).means_, expected, rtol=1e-12)


@pytest.mark.parametrize(
    "X", [ROWS, da.from_array(ROWS, chunks=(50, 2)), da.from_array(ROWS, chunks=(200, 2))]
)
@pytest.mark.parametrize("kind", ["numpy", announced, unannounced])
def test_weights(X, kind):
    weights = np.where(np.arange(200) == 150, -9999.0, 1.0)
    given = np.ma.masked_equal(weights, -9999.0) if kind == "numpy" else kind(weights, 60)
    fitted = GaussianMixture(1).fit(ROWS)
    for method in (GaussianMixture(1).fit, fitted.score, fitted.bic):
        with pytest.raises(DataError, match=r"sample_weight contains NaN|NaN or infinity in .*sample_weight"):
            method(X, sample_weight=given)


@pytest.mark.parametrize("name", ["weights_init", "means_init", "precisions_init"])
def test_starts(name):
    values = {"weights_init": np.ones(1), "means_init": np.ones((1, 2)), "precisions_init": np.eye(2)[None]}
    with pytest.raises(DataError, match=f"Input {name} contains NaN"):
        GaussianMixture(1, **{name: np.ma.masked_equal(values[name], 1)}).fit(ROWS)


def test_xarray():
    a, b = unannounced(HIDDEN, (60, 2)).T
    table = xr.DataArray(unannounced(HIDDEN, (60, 2)), dims=("s", "f"))
    dataset = xr.Dataset({"a": ("s", a), "b": ("s", b)})
    wide = xr.Dataset({"a": ("s", a), "b": (("s", "m"), da.ones((200, 9)))})
    for X in (table, dataset, wide, xr.DataArray(MASKED, dims=("s", "f"))):
        with pytest.raises(DataError, match="Input X contains NaN"):
            GaussianMixture(1).fit(X)
    weights = xr.DataArray(unannounced(np.where(np.arange(200) == 150, -9999.0, 1.0), 60), dims="s")
    cube = xr.DataArray(RNG.normal(size=(200, 3, 2)), dims=("s", "m", "f"))
    with pytest.raises(DataError, match="NaN or infinity in data passed to `sample_weight`"):
        GaussianMixture(1).fit(cube, sample_weight=weights)


@pytest.mark.parametrize(
    "make", [csr_matrix, lambda block: pd.DataFrame(block).astype("Float64").mask(block > 1)]
)
def test_chunks_of_another_kind_are_refused(make):
    X = da.from_array(ROWS, chunks=(60, 2)).map_blocks(make, dtype=float, meta=np.empty((0, 0)))
    with pytest.raises(DataError, match=r"chunk 0 of the dask array (is a csr_matrix|has dtype object)"):
        GaussianMixture(1).fit(X)
    with pytest.raises(DataError, match=r"A chunk of the dask array (is a csr_matrix|has dtype object)"):
        GaussianMixture(1).fit(ROWS).predict(X).compute()
