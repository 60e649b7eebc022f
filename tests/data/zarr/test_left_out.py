"""Chunks that are not stored: those that Zarr left out are fill, those that are lost are errors."""

from __future__ import annotations

import os
import pickle
import warnings

import numpy as np
import pytest
import zarr
from distributed import Client
from zarr.storage import FsspecStore, MemoryStore, WrapperStore, ZipStore

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.errors import DataError

# A field of labels: two things before a background that fills whole chunks of (4, 5), many of them far away.
LABELS = np.zeros((24, 30), dtype=np.uint8)
LABELS[2:11, 3:14] = 3
LABELS[14:18, 22:28] = 7
# Stored are the nine chunks of the first, and the four of the second.
UNSTORED = "23 of 36 chunks"


def rows_of(source):
    reader = pickle.loads(pickle.dumps(source.reader(range(len(source.chunks)))))
    rows = np.empty((int(np.prod(source.sample_shape)), source.n_features))
    for index in range(len(source.chunks)):
        block = reader.read(index)
        rows[block.numbers()] = block.rows
    return rows.reshape(*source.sample_shape, -1)


def written(store, values, chunks=(4, 5), **options):
    array = zarr.create_array(store, shape=values.shape, chunks=chunks, dtype=values.dtype, **options)
    array[:] = values
    return array


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"zarr_format": 2},
        {"zarr_format": 2, "chunk_key_encoding": {"name": "v2", "separator": "/"}},
        {"chunks": (2, 5), "shards": (4, 5)},
        {"dtype": "f4"},
        {"dtype": "f4", "fill_value": np.nan},
        {"dtype": "?"},
    ],
    ids=["3", "2", "2 nested", "sharded", "float", "NaN", "mask"],
)
def test_background_is_left_out_and_one_warning_says_how_much(tmp_path, options):
    options = dict(options)
    values = LABELS.astype(options.pop("dtype", "u1"))
    if np.isnan(options.get("fill_value", 0)):
        values[values == 0] = np.nan
    written(tmp_path / "x", values, **options)
    source = from_zarr(tmp_path / "x", [""], nan="error")
    with pytest.warns(UserWarning, match=UNSTORED) as told:
        read, again = rows_of(source), rows_of(source)
    np.testing.assert_array_equal(read[..., 0], values)
    np.testing.assert_array_equal(again, read)
    assert len(told) == 1


def zipped(tmp_path):
    with ZipStore(tmp_path / "x.zip", mode="w") as store:
        written(store, LABELS)
    return tmp_path / "x.zip"


@pytest.mark.parametrize(
    "place",
    [
        zipped,
        lambda _: written(MemoryStore(), LABELS),
        lambda _: written(FsspecStore.from_url("memory://left_out.zarr"), LABELS, overwrite=True),
    ],
    ids=["zip", "memory", "fsspec"],
)
def test_stores_of_every_kind_list_what_they_have(tmp_path, place):
    with pytest.warns(UserWarning, match=UNSTORED):
        np.testing.assert_array_equal(rows_of(from_zarr(place(tmp_path), [""]))[..., 0], LABELS)


THING = np.where(np.arange(24)[:, None] < 2, 0, 3).repeat(30, axis=1).astype("u1")
COUNTS = np.where(np.arange(30) < 8, LABELS, 5).astype("u1")


@pytest.mark.parametrize(
    ("values", "lost", "reason"),
    [
        (np.random.default_rng(0).normal(size=(24, 30)), "c/2/2", "c/1/2 next to it does not hold .*, 0.0"),
        # There are zeros elsewhere, but not around it.
        (COUNTS, "c/3/4", "c/2/4 next to it does not hold .*, 0"),
        (THING, "c/1/1", "c/2/1 next to it does not hold .*, 0"),
    ],
    ids=["measured", "counts", "thing"],
)
def test_a_lost_chunk_is_not_taken_for_fill(tmp_path, values, lost, reason):
    written(tmp_path / "x", values)
    os.remove(tmp_path / "x" / lost)
    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(DataError, match=rf"chunk {lost} is missing from file:.*lost: {reason}.*=\"fill\""),
    ):
        GaussianMixture(2).fit(from_zarr(tmp_path / "x", [""]))


def test_a_chunk_that_is_lost_after_others_were_taken_for_fill_is_an_error(tmp_path):
    written(tmp_path / "x", LABELS)
    source = from_zarr(tmp_path / "x", [""])
    with pytest.warns(UserWarning, match=UNSTORED):
        rows_of(source)
    os.remove(tmp_path / "x/c/1/1")
    with pytest.raises(DataError, match=r"chunk c/1/1 is missing"):
        rows_of(source)


def test_measurements_with_nan_as_fill_value_lose_no_chunk(tmp_path):
    written(tmp_path / "x", np.random.default_rng(0).normal(size=(24, 30)), fill_value=np.nan)
    os.remove(tmp_path / "x/c/0/0")
    with pytest.raises(DataError, match=r"chunk c/0/0 is missing.*does not hold the fill value, nan"):
        GaussianMixture(2).fit(from_zarr(tmp_path / "x", [""], nan="drop"))


def test_who_stores_fill_leaves_nothing_out(tmp_path):
    written(tmp_path / "x", LABELS, config={"write_empty_chunks": True})
    os.remove(tmp_path / "x/c/5/5")
    with pytest.raises(DataError, match=r"chunk c/5/5 is missing.*c/5/4 holds nothing but the fill value"):
        rows_of(from_zarr(tmp_path / "x", [""]))


def test_an_array_that_nobody_filled_is_no_zeros(tmp_path):
    zarr.create_array(tmp_path / "x", shape=(6, 2), chunks=(2, 2), dtype="f8")
    with pytest.raises(DataError, match=r"c/0/0 is missing.*Nor is any other chunk"):
        GaussianMixture(2).fit(from_zarr(tmp_path / "x"))


def test_without_a_fill_value_zarr_means_zero(tmp_path):
    written(tmp_path / "x", LABELS, zarr_format=2, fill_value=None)
    with pytest.warns(UserWarning, match=UNSTORED):
        np.testing.assert_array_equal(rows_of(from_zarr(tmp_path / "x", [""]))[..., 0], LABELS)


class Unlisted(WrapperStore):
    """A store that gives what is asked for and tells nothing else."""

    async def list_prefix(self, prefix):
        raise NotImplementedError
        yield prefix


def test_a_store_that_lists_nothing_is_asked_to_have_everything():
    store = MemoryStore()
    written(store, LABELS)
    with pytest.raises(DataError, match=r"is missing.*does not list.*missing_chunks=\"fill\""):
        rows_of(from_zarr(zarr.open_array(Unlisted(store), mode="r"), [""]))


def test_the_warning_of_a_worker_reaches_the_client(tmp_path):
    written(tmp_path / "x", LABELS)
    written(tmp_path / "y", LABELS + np.float32(np.random.default_rng(0).normal(size=LABELS.shape)))
    weights = from_zarr(tmp_path / "x", [""])
    with (
        Client(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0"),
        pytest.warns(UserWarning, match=UNSTORED),
    ):
        fitted = GaussianMixture(1).fit(from_zarr(tmp_path / "y", [""]), sample_weight=weights)
    y = zarr.open_array(tmp_path / "y")[:]
    np.testing.assert_allclose(fitted.means_[0, 0], np.average(y, weights=LABELS), rtol=1e-6)
