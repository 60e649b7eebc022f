"""`nan="drop"`: a fit as if the rows with holes were not there, and predictions that keep their positions."""

from __future__ import annotations

import dask
import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_zarr, read_parquet
from dask_gmm.errors import DataError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(400, 3)) + 5.0 * RNG.integers(0, 2, size=(400, 1))
ROWS[RNG.random(ROWS.shape) < 0.05] = np.nan
KEPT = ~np.isnan(ROWS).any(axis=1)
WEIGHTS = RNG.random(400)
# Weights of dropped rows count for nothing, whatever they are.
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])


def lists(rows):
    """Return an embedding column with a null in some lists and one null list."""
    missing = np.flatnonzero(~KEPT)[0]
    content = [[None if np.isnan(value) else value for value in row] for row in rows]
    content[missing] = None
    return pa.array(content, pa.list_(pa.float64()))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("nan")
    table = pa.Table.from_pandas(FRAME.convert_dtypes())
    counts = pa.array([None if np.isnan(v) else round(v) for v in ROWS[:, 0]], pa.int32())
    flags = pa.array([None if np.isnan(v) else v > 0 for v in ROWS[:, 0]], pa.bool_())
    for name, content in {
        "plain": table.append_column("w", pa.array(WEIGHTS)),
        "lists": pa.table({"v": lists(ROWS)}),
        "kinds": pa.table({"count": counts, "flag": flags, "b": ROWS[:, 1]}),
    }.items():
        pq.write_table(content, folder / f"{name}.parquet", row_group_size=100)
    da.from_array(ROWS, chunks=(100, 3)).to_zarr(folder / "rows.zarr")
    return folder


KINDS = {
    "numpy": lambda folder: (ROWS, WEIGHTS),
    "pandas": lambda folder: (FRAME, WEIGHTS),
    "nullable": lambda folder: (FRAME.convert_dtypes(), WEIGHTS),
    "dask array": lambda folder: (da.from_array(ROWS, chunks=(100, 3)), WEIGHTS),
    "dask frame": lambda folder: (dd.from_pandas(FRAME.astype("Float64"), npartitions=4), WEIGHTS),
    "xarray": lambda folder: (xr.DataArray(ROWS, dims=("row", "f")), WEIGHTS),
    "zarr": lambda folder: (folder / "rows.zarr", WEIGHTS),
    "zarr source": lambda folder: (from_zarr(folder / "rows.zarr"), WEIGHTS),
    "parquet": lambda folder: (read_parquet(folder / "plain.parquet", ["a", "b", "c"], nan="drop"), "w"),
    "embedding": lambda folder: (folder / "lists.parquet", WEIGHTS),
}


@pytest.mark.parametrize("kind", KINDS)
def test_as_if_they_were_not_there(kind, folder):
    X, weights = KINDS[kind](folder)
    expected = GaussianMixture(2, random_state=0).fit(ROWS[KEPT], sample_weight=WEIGHTS[KEPT])
    gm = GaussianMixture(2, random_state=0, nan="drop").fit(X, sample_weight=weights)
    np.testing.assert_allclose(gm.means_, expected.means_, rtol=1e-12)
    np.testing.assert_allclose(gm.covariances_, expected.covariances_, rtol=1e-10)

    labels, densities = dask.compute(gm.predict(X), gm.score_samples(X), scheduler="sync")
    np.testing.assert_array_equal(np.asarray(labels)[KEPT], expected.predict(ROWS[KEPT]))
    assert (np.asarray(labels)[~KEPT] == -1).all()
    np.testing.assert_allclose(np.asarray(densities)[KEPT], expected.score_samples(ROWS[KEPT]), rtol=1e-10)
    assert np.isnan(np.asarray(densities)[~KEPT]).all()

    assert gm.score(X) == pytest.approx(expected.score(ROWS[KEPT]), rel=1e-12)
    assert gm.bic(X) == pytest.approx(expected.bic(ROWS[KEPT]), rel=1e-12)


def test_columns_of_other_types(folder):
    gm = GaussianMixture(1, nan="drop").fit(folder / "kinds.parquet")
    rounded = np.stack([np.round(ROWS[:, 0]), ROWS[:, 0] > 0, ROWS[:, 1]], axis=1)
    kept = ~np.isnan(ROWS[:, :2]).any(axis=1)
    np.testing.assert_allclose(gm.means_[0], rounded[kept].mean(axis=0), rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_without_it_they_are_an_error(kind, folder):
    X = folder / "plain.parquet" if kind == "parquet" else KINDS[kind](folder)[0]
    with pytest.raises(ValueError, match=r"NaN|null"):
        GaussianMixture(2).fit(X)


def test_predictions_follow_the_estimator():
    gm = GaussianMixture(2, random_state=0).fit(ROWS[KEPT])
    with pytest.raises(ValueError, match="NaN"):
        gm.predict(ROWS)
    assert gm.set_params(nan="drop").predict(ROWS).min() == -1


def test_selection_drops_them_too():
    expected = GaussianMixtureIC(range(1, 4), random_state=0).fit(ROWS[KEPT])
    found = GaussianMixtureIC(range(1, 4), random_state=0, nan="drop").fit(ROWS)
    assert found.n_components_ == expected.n_components_
    np.testing.assert_array_equal(found.means_, expected.means_)


def test_nothing_but_holes():
    rows = np.full((10, 2), np.nan)
    for X in (rows, da.from_array(rows, chunks=(5, 2))):
        with pytest.raises(DataError, match=r"[Ff]ound array with 0 sample|n_samples = 0|0 sample"):
            GaussianMixture(2, nan="drop").fit(X)


def test_infinity_stays_an_error():
    rows = ROWS[KEPT].copy()
    rows[3, 1] = np.inf
    for X in (rows, da.from_array(rows, chunks=(50, 3))):
        with pytest.raises(ValueError, match="infinity"):
            GaussianMixture(2, nan="drop").fit(X)


def test_the_rule_is_saved(tmp_path):
    GaussianMixture(2, random_state=0, nan="drop").fit(ROWS).save(tmp_path / "m.gmm")
    assert GaussianMixture.load(tmp_path / "m.gmm").predict(ROWS).min() == -1
