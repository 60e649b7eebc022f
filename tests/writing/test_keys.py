"""Predictions keep what tells their rows: columns of files, the index of frames."""

from __future__ import annotations

from decimal import Decimal

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr, read_parquet, write_predictions
from dask_gmm.errors import DataError

RNG = np.random.default_rng(0)
N = 300
ROWS = RNG.normal(size=(N, 2)) + 6.0 * RNG.integers(0, 3, size=(N, 1))
KEYS = {
    "tx_id": [f"tx{number:04d}" for number in range(N)],
    "when": pd.date_range("2026-01-01", periods=N, freq="h", tz="UTC"),
    "amount": [Decimal(number) / 100 for number in range(N)],
    "tags": [["a", "b"][: number % 3] for number in range(N)],
}
FRAME = pd.DataFrame({"x": ROWS[:, 0], "y": ROWS[:, 1], **KEYS})
FRAME.loc[[5, 250], "x"] = np.nan


@pytest.fixture(scope="module")
def gm():
    frame = FRAME[["x", "y"]].dropna()
    return GaussianMixture(3, random_state=0, nan="drop").fit(frame)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("transactions")
    for number in range(3):
        part = pa.Table.from_pandas(FRAME[100 * number : 100 * number + 100], preserve_index=False)
        pq.write_table(part, folder / f"part.{number}.parquet", row_group_size=40)
    return folder


def test_columns_of_files_are_kept(folder, gm, tmp_path):
    write_predictions(gm, folder, tmp_path / "p.parquet", ["labels", "log_density"], keep=list(KEYS))
    found = pd.read_parquet(tmp_path / "p.parquet")
    pd.testing.assert_frame_equal(
        found[["tx_id", "when", "amount"]], FRAME[["tx_id", "when", "amount"]], check_dtype=False
    )
    assert [list(tags) for tags in found["tags"]] == KEYS["tags"]
    assert found["labels"].dtype == np.int8
    np.testing.assert_array_equal(found["labels"], gm.predict(FRAME[["x", "y"]]))
    assert found["labels"][5] == found["labels"][250] == -1


def test_a_feature_can_be_kept_and_filters_hold(folder, gm, tmp_path):
    source = read_parquet(folder, ["x", "y"], filters=[("tx_id", ">=", "tx0200")], nan="drop")
    write_predictions(gm, source, tmp_path / "p.parquet", keep=["tx_id", "y"])
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found["tx_id"]) == KEYS["tx_id"][200:]
    np.testing.assert_array_equal(found["y"], ROWS[200:, 1])


@pytest.mark.parametrize("lazy", [False, True])
def test_the_index_of_frames_is_kept(gm, tmp_path, lazy):
    frame = FRAME.set_index("tx_id")[["y", "x", "when"]]
    X = dd.from_pandas(frame, npartitions=4, sort=False) if lazy else frame
    write_predictions(gm, X, tmp_path / "p.parquet", keep=["when"])
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found.index) == KEYS["tx_id"]
    assert found.index.name == "tx_id"
    assert list(found["when"]) == list(FRAME["when"])
    np.testing.assert_array_equal(found["labels"], gm.predict(FRAME[["x", "y"]]))


def test_only_anomalies(folder, gm, tmp_path):
    densities = pd.Series(gm.score_samples(FRAME[["x", "y"]]))
    threshold = densities.quantile(0.02)
    done = write_predictions(
        gm,
        folder,
        tmp_path / "p.parquet",
        ["log_density"],
        keep=["tx_id"],
        only_anomalies=True,
        threshold=threshold,
    )
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found["tx_id"]) == list(FRAME["tx_id"][densities < threshold])
    assert done.n_anomalies == len(found) == (densities < threshold).sum()
    np.testing.assert_array_equal(found["log_density"], densities[densities < threshold])


@pytest.mark.parametrize("target", ["p.parquet", "p.zarr"])
def test_the_likeliest_components(gm, tmp_path, target):
    rows = ROWS[:120]
    X = da.from_array(rows, chunks=(50, 2))
    write_predictions(gm, X, tmp_path / target, ["top"], top=2)
    if target == "p.zarr":
        group = zarr.open_group(tmp_path / target)
        labels, probabilities = group["top_labels"][:], group["top_probabilities"][:]
    else:
        found = pd.read_parquet(tmp_path / target)
        labels = found[["top_labels_0", "top_labels_1"]].to_numpy()
        probabilities = found[["top_probabilities_0", "top_probabilities_1"]].to_numpy()
    expected = gm.predict_proba(rows)
    order = np.argsort(-expected, axis=1, kind="stable")[:, :2]
    np.testing.assert_array_equal(labels, order)
    np.testing.assert_allclose(probabilities, np.take_along_axis(expected, order, axis=1), rtol=1e-12)
    np.testing.assert_array_equal(labels[:, 0], gm.predict(rows))


def test_more_than_there_are(gm, tmp_path):
    write_predictions(gm, ROWS, tmp_path / "p.parquet", ["top"], top=9)
    assert pd.read_parquet(tmp_path / "p.parquet").shape == (N, 6)


def test_mistakes_are_named(folder, gm, tmp_path):
    with pytest.raises(DataError, match=r"no column .*'nothing'"):
        write_predictions(gm, folder, tmp_path / "p.parquet", keep=["nothing"])
    with pytest.raises(DataError, match="no column 'nothing'"):
        write_predictions(gm, FRAME, tmp_path / "p.parquet", keep=["nothing"])
    with pytest.raises(ValueError, match="no other columns"):
        write_predictions(gm, ROWS, tmp_path / "p.parquet", keep=["tx_id"])
    with pytest.raises(ValueError, match="keep is for Parquet"):
        write_predictions(gm, folder, tmp_path / "p.zarr", keep=["tx_id"])
    with pytest.raises(ValueError, match="threshold"):
        write_predictions(gm, folder, tmp_path / "p.parquet", only_anomalies=True)
    assert list(tmp_path.iterdir()) == []


def test_it_goes_on_where_it_stopped(folder, gm, tmp_path):
    place = tmp_path / "p.parquet"
    first = write_predictions(gm, folder, place, keep=["tx_id"])
    (place / "part.1.parquet").unlink()
    again = write_predictions(gm, folder, place, keep=["tx_id"])
    assert (again.n_chunks, again.n_skipped) == (1, first.n_chunks - 1)
    with pytest.raises(FileExistsError, match="keep"):
        write_predictions(gm, folder, place, keep=["when"])


@pytest.fixture
def group(tmp_path):
    """A Zarr group with rows, two arrays that are features, and keys in chunks of another length."""
    group = zarr.open_group(tmp_path / "rows.zarr", mode="w")
    group.create_array("rows", data=ROWS, chunks=(50, 2))
    group.create_array("x", data=ROWS[:, 0].copy(), chunks=(60,))
    group.create_array("y", data=ROWS[:, 1].copy(), chunks=(60,))
    group.create_array("number", data=np.arange(N, dtype=np.uint32) * 7, chunks=(30,))
    group.create_array("code", data=np.array([f"c{i:03d}" for i in range(N)], dtype="U4"), chunks=(100,))
    group.create_array("short", data=np.arange(5), chunks=(5,))
    return tmp_path / "rows.zarr"


@pytest.mark.parametrize("component", ["rows", ["x", "y"]], ids=["rows", "variables"])
def test_arrays_of_a_zarr_group_are_kept(group, gm, tmp_path, component):
    source = from_zarr(group, component)
    write_predictions(gm, source, tmp_path / "p.parquet", keep=["number", "code"])
    found = pd.read_parquet(tmp_path / "p.parquet")
    assert list(found["number"]) == list(range(0, 7 * N, 7))
    assert list(found["code"]) == [f"c{i:03d}" for i in range(N)]
    np.testing.assert_array_equal(found["labels"], gm.predict(ROWS))
    written = write_predictions(gm, source, tmp_path / "p.zarr", keep=["number"])
    copied = zarr.open_group(tmp_path / "p.zarr", mode="r")
    np.testing.assert_array_equal(copied["number"][:], np.arange(N) * 7)
    assert copied["number"].dtype == np.uint32
    np.testing.assert_array_equal(copied["labels"][:], gm.predict(ROWS))
    again = write_predictions(gm, source, tmp_path / "p.zarr", keep=["number"])
    assert (again.n_chunks, again.n_skipped) == (0, written.n_chunks)


def test_arrays_that_are_no_keys_are_told(group, gm, tmp_path):
    source = from_zarr(group, "rows")
    with pytest.raises(DataError, match="There is no array 'nowhere' beside"):
        write_predictions(gm, source, tmp_path / "p.zarr", keep=["nowhere"])
    with pytest.raises(DataError, match=r"has shape \(5,\), the samples have \(300,\)"):
        write_predictions(gm, source, tmp_path / "p.zarr", keep=["short"])
