"""Predictions find the fitted features by name, whatever else is there and in whatever order."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import xarray as xr
import zarr

from dask_gmm import GaussianMixture, from_xarray, from_zarr, read_parquet
from dask_gmm.errors import DataError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(200, 3)) * (1, 2, 3) + 5.0 * RNG.integers(0, 2, size=(200, 1))
FRAME = pd.DataFrame(ROWS, columns=["a", "b", "c"])
OTHERS = FRAME[["c", "a", "b"]].assign(d=1.0)


@pytest.fixture(scope="module")
def gm():
    return GaussianMixture(2, random_state=0).fit(FRAME)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("names")
    named = OTHERS.assign(id=[f"tx{i}" for i in range(200)])
    pq.write_table(pa.Table.from_pandas(named), folder / "x.parquet", row_group_size=50)
    pq.write_table(pa.Table.from_pandas(named[["a", "c"]]), folder / "lacking.parquet")
    group = zarr.create_group(folder / "g.zarr")
    for name in OTHERS:
        group.create_array(name, data=OTHERS[name].to_numpy(), chunks=(50,))
    return folder


KINDS = {
    "path of Parquet": lambda folder: folder / "x.parquet",
    "Parquet source": lambda folder: read_parquet(folder / "x.parquet", ["d", "c", "b", "a"]),
    "path of Zarr": lambda folder: folder / "g.zarr",
    "Zarr source": lambda folder: from_zarr(folder / "g.zarr", ["b", "a", "d", "c"]),
    "dask frame": lambda folder: dd.from_pandas(OTHERS.assign(id="x"), npartitions=4),
    "Dataset": lambda folder: OTHERS.to_xarray(),
    "chunked Dataset": lambda folder: OTHERS.to_xarray().chunk(index=50),
}


@pytest.mark.parametrize("kind", KINDS)
def test_by_name(kind, folder, gm):
    X = KINDS[kind](folder)
    np.testing.assert_array_equal(np.asarray(gm.predict(X)), gm.predict(FRAME))
    np.testing.assert_allclose(np.asarray(gm.score_samples(X)), gm.score_samples(FRAME), rtol=1e-10)
    assert gm.score(X) == pytest.approx(gm.score(FRAME), rel=1e-12)


def test_a_missing_column_is_named(folder, gm):
    with pytest.raises(DataError, match=r"no column .*'b'"):
        gm.predict(folder / "lacking.parquet")
    with pytest.raises(ValueError, match="b"):
        gm.predict(dd.from_pandas(FRAME[["a", "c"]], npartitions=2))
    with pytest.raises(ValueError, match="b"):
        gm.predict(FRAME[["a", "c"]].to_xarray())


def test_frames_in_memory_keep_the_rule_of_scikit_learn(gm):
    with pytest.raises(ValueError, match="same order"):
        gm.predict(FRAME[["c", "a", "b"]])


def test_without_names_nothing_changes(folder):
    gm = GaussianMixture(2, random_state=0).fit(ROWS)
    with pytest.warns(UserWarning, match="feature names"):
        assert gm.predict(read_parquet(folder / "x.parquet", ["a", "b", "c"])).compute().shape == (200,)


def test_a_fitted_xarray_source(gm):
    fitted = GaussianMixture(2, random_state=0).fit(from_xarray(FRAME.to_xarray()))
    found = fitted.predict(OTHERS.to_xarray())
    assert isinstance(found, xr.DataArray)
    np.testing.assert_array_equal(found, fitted.predict(FRAME))


def test_files_of_several_numeric_types(tmp_path):
    parts = [
        {"a": pa.array(ROWS[:100, 0], pa.float32()), "b": pa.array(np.arange(100), pa.int64())},
        {"a": pa.array(ROWS[100:, 0]), "b": pa.array(np.arange(100) / 4)},
    ]
    for number, part in enumerate(parts):
        pq.write_table(pa.table(part), tmp_path / f"{number}.parquet")
    with pytest.warns(UserWarning, match=r"several types.*'a' as double, float; 'b' as double, int64"):
        source = read_parquet(tmp_path)
    assert source.dtype == np.float64
    rows = np.concatenate([np.stack([np.asarray(part[name]) for name in "ab"], axis=1) for part in parts])
    gm = GaussianMixture(2, random_state=0).fit(source)
    np.testing.assert_allclose(gm.means_, GaussianMixture(2, random_state=0).fit(rows).means_, rtol=1e-10)
    assert isinstance(gm.predict(source), da.Array)
    pq.write_table(pa.table({"a": ["x"], "b": [1.0]}), tmp_path / "2.parquet")
    with pytest.raises(DataError, match=r"2\.parquet: column 'a' has type string"):
        read_parquet(tmp_path)
