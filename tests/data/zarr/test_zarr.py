from __future__ import annotations

import os
import pickle
import re
from collections import Counter
from pathlib import Path
from typing import ClassVar

import dask.array as da
import fsspec
import numcodecs
import numpy as np
import pytest
import zarr
from fsspec.implementations.local import LocalFileSystem
from fsspec.implementations.memory import MemoryFileSystem
from hypothesis import given, settings
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, GzipCodec, ZstdCodec
from zarr.storage import FsspecStore, MemoryStore, ObjectStore, WrapperStore, ZipStore

from dask_gmm.data.aligned import with_weights
from dask_gmm.data.source import Answer
from dask_gmm.data.zarr import stored_array as stores
from dask_gmm.data.zarr.chunk_reader import ChunkReader
from dask_gmm.data.zarr.source import ZarrSource, from_zarr
from dask_gmm.errors import DataError
from tests.data.source_contract import SECRET, SourceContract

SUM = Answer(lambda block: block.rows.sum(axis=1), np.dtype(np.float64), None, np.nan)
BOTH = Answer(lambda block: block.rows[:, :2] * 2, np.dtype(np.float64), 2, np.nan)


class CountingStore(WrapperStore):
    """Notes every key that is read."""

    def __init__(self, store):
        super().__init__(store)
        self.keys = []

    async def get(self, key, prototype, byte_range=None):
        self.keys.append(key)
        return await super().get(key, prototype, byte_range)


def rebuilt(source, reader=None):
    """Return the rows and weights that the blocks bring, put where their numbers say."""
    n_rows = int(np.prod(source.sample_shape))
    rows = np.full((n_rows, source.n_features), np.nan)
    weights = np.full(n_rows, np.nan)
    reader = reader or source.reader(range(len(source.chunks)))
    for index, chunk in enumerate(source.chunks):
        block = reader.read(index)
        assert block.name == chunk.name
        assert block.rows.dtype == source.dtype
        assert block.rows.dtype.isnative
        assert len(block.rows) == chunk.n_rows if block.kept is None else len(block.kept) == chunk.n_rows
        rows[block.numbers()] = block.rows
        if block.weights is not None:
            weights[block.numbers()] = block.weights
    return rows, weights


def table(n=23, d=4, seed=0):
    return np.random.default_rng(seed).normal(scale=50, size=(n, d))


@pytest.mark.parametrize("dtype", ["<f8", ">f8", "<f4", ">f4", "f2", "i1", ">i2", "u8", "?"])
@pytest.mark.parametrize(
    "storage",
    [
        {"zarr_format": 2, "chunks": (5, 4)},
        {"zarr_format": 2, "chunks": (5, 3), "order": "F"},
        {"zarr_format": 3, "chunks": (5, 4)},
        {"zarr_format": 3, "chunks": (5, 2)},
        {"zarr_format": 3, "chunks": (3, 2), "shards": (6, 4)},
    ],
    ids=["2", "2-F-features", "3", "3-features", "sharded"],
)
def test_tables_of_every_format_and_dtype(tmp_path, storage, dtype):
    x = table().astype(dtype)
    zarr.create_array(tmp_path / "x", shape=x.shape, dtype=dtype, **storage)[:] = x
    source = from_zarr(tmp_path / "x")
    assert source.dtype == (np.float32 if dtype[-2:] == "f4" else np.float64)
    assert source.sample_shape == (23,)
    assert source.chunks[0].n_rows == (6 if "shards" in storage else 5)
    assert source.chunks[0].n_bytes == source.chunks[0].n_rows * 4 * source.dtype.itemsize
    np.testing.assert_array_equal(rebuilt(source)[0], x)
    copy = pickle.loads(pickle.dumps(source.reader([0])))
    np.testing.assert_array_equal(rebuilt(source, copy)[0], x)


@given(
    shape=st.lists(st.integers(1, 5), min_size=2, max_size=4),
    chunks=st.lists(st.integers(1, 5), min_size=4, max_size=4),
    feature_axis=st.integers(-2, 1),
)
@settings(max_examples=40, deadline=None)
def test_any_shape_chunking_and_feature_axis(shape, chunks, feature_axis):
    x = np.random.default_rng(0).normal(size=shape)
    array = zarr.create_array(MemoryStore(), shape=shape, chunks=chunks[: len(shape)], dtype="f8")
    array[:] = x
    source = ZarrSource.from_array(array, feature_axis=feature_axis)
    moved = np.moveaxis(x, feature_axis, -1)
    assert source.sample_shape == moved.shape[:-1]
    np.testing.assert_array_equal(rebuilt(source)[0], moved.reshape(-1, moved.shape[-1]))
    lazy = source.apply(SUM)
    assert lazy.shape == source.sample_shape
    assert lazy.chunks == source.grid.sizes
    np.testing.assert_allclose(lazy.compute(scheduler="sync"), moved.sum(axis=-1))


@pytest.fixture
def ocean(tmp_path):
    """Temperature and salinity over (time, lat, lon), NaN over land, with chunks that are all land."""
    rng = np.random.default_rng(1)
    values = {name: rng.normal(size=(4, 6, 8)).astype("f4") for name in ("temperature", "salinity")}
    group = zarr.open_group(tmp_path / "ocean", mode="w")
    for name, chunks in (("temperature", (2, 3, 4)), ("salinity", (2, 3, 2))):
        values[name][:, :4, :5] = np.nan
        group.create_array(name, shape=(4, 6, 8), chunks=chunks, dtype="f4", fill_value=np.nan)
    values["salinity"][0, 5, 7] = np.nan
    for name in values:
        group[name][:] = values[name]
    group.create_group("deep").create_array("oxygen", shape=(4, 6), dtype="f4")
    return tmp_path / "ocean", np.stack(list(values.values()), axis=-1)


def test_variables_on_one_grid_are_the_features(ocean):
    url, values = ocean
    source = from_zarr(url, ["temperature", "salinity"], nan="drop", missing_chunks="fill")
    assert source.feature_names == ("temperature", "salinity")
    assert source.sample_shape == (4, 6, 8)
    assert len(source.chunks) == 8  # whole chunks of both: (2, 3, 4)
    kept = ~np.isnan(values).any(axis=-1)
    rows, _ = rebuilt(source)
    np.testing.assert_array_equal(rows.reshape(values.shape), np.where(kept[..., None], values, np.nan))
    lazy = source.apply(BOTH)
    assert lazy.chunks == ((2, 2), (3, 3), (4, 4), (2,))
    np.testing.assert_array_equal(lazy.compute(), np.where(kept[..., None], 2 * values, np.nan))


def test_dropped_rows_get_what_stands_for_missing(ocean):
    url, values = ocean
    labels = Answer(lambda block: np.zeros(len(block.rows), dtype=np.int64), np.dtype(np.int64), None, -1)
    source = from_zarr(url, ["temperature", "salinity"], nan="drop", missing_chunks="fill")
    np.testing.assert_array_equal(source.apply(labels).compute(), -np.isnan(values).any(axis=-1).astype(int))


def test_an_all_nan_chunk_that_zarr_did_not_store_is_an_error_where_it_is_said_to_be_one(ocean):
    url, _ = ocean
    with pytest.raises(DataError, match=r'temperature/c/0/0/0 is missing .* missing_chunks="fill"'):
        from_zarr(url, ["temperature"], nan="drop", missing_chunks="error").reader([0]).read(0)
    block = from_zarr(url, ["temperature"], nan="drop", missing_chunks="fill").reader([0]).read(0)
    assert len(block.rows) == 0
    assert not block.kept.any()
    assert np.isnan(from_zarr(url, ["temperature"], missing_chunks="fill").reader([0]).read(0).rows).all()


@pytest.mark.parametrize(
    "storage", [{"chunks": (5, 2)}, {"chunks": (5, 2), "zarr_format": 2}, {"shards": (10, 4)}]
)
def test_a_lost_chunk_names_its_key(tmp_path, storage):
    x = table(20)
    array = zarr.create_array(tmp_path / "x", shape=x.shape, dtype="f8", **{"chunks": (5, 2), **storage})
    array[:] = x
    source = from_zarr(tmp_path / "x")
    key = source.variables[0].key((slice(10, 15), slice(0, 4)))
    os.remove(tmp_path / "x" / key)
    reader = source.reader([0, 1, 2])
    reader.read(0)
    with pytest.raises(DataError, match=f"chunk {key} is missing"):
        reader.read([c.name for c in source.chunks].index(key))
    with pytest.raises(DataError, match=f"chunk {key} is missing"):
        source.apply(SUM).compute()


def test_a_chunk_that_is_stored_and_all_fill_is_data(tmp_path):
    array = zarr.create_array(
        tmp_path / "x", shape=(4, 2), chunks=(2, 2), dtype="f8", config={"write_empty_chunks": True}
    )
    array[:] = 0
    np.testing.assert_array_equal(rebuilt(from_zarr(tmp_path / "x"))[0], np.zeros((4, 2)))


@pytest.mark.parametrize("kept_part", [0.1, 0.5, 0.99])
@pytest.mark.parametrize(
    "storage",
    [
        {"compressors": None},
        {"compressors": GzipCodec()},
        {"compressors": ZstdCodec()},
        {"compressors": BloscCodec(cname="lz4")},
        {"compressors": BloscCodec(cname="zstd")},
        {"compressors": numcodecs.Blosc(), "zarr_format": 2},
        {"compressors": numcodecs.Zlib(), "zarr_format": 2},
        {"shards": (200, 4)},
    ],
    ids=["none", "gzip", "zstd", "blosc-lz4", "blosc-zstd", "2-blosc", "2-zlib", "sharded"],
)
def test_a_chunk_that_was_cut_off_names_its_key(tmp_path, storage, kept_part):
    x = table(400).round(1)
    array = zarr.create_array(tmp_path / "x", shape=x.shape, chunks=(100, 4), dtype="f8", **storage)
    array[:] = x
    source = from_zarr(tmp_path / "x")
    key = source.chunks[1].name
    path = tmp_path / "x" / key
    os.truncate(path, int(path.stat().st_size * kept_part))
    reader = source.reader([0, 1])
    reader.read(0)
    with pytest.raises(DataError, match=key):
        reader.read(1)


def test_the_damaged_one_of_several_chunks_in_a_block_is_named(tmp_path):
    x = table(10)
    zarr.create_array(tmp_path / "x", shape=x.shape, chunks=(5, 2), dtype="f8")[:] = x
    os.truncate(tmp_path / "x/c/1/1", 9)
    with pytest.raises(DataError, match=r"chunk c/1/1 of .* cannot be decoded"):
        from_zarr(tmp_path / "x").reader([1]).read(1)


@pytest.mark.parametrize(
    ("storage", "n_keys"),
    [
        ({"chunks": (5, 2)}, 8),
        ({"chunks": (5, 4), "zarr_format": 2}, 4),
        ({"chunks": (5, 2), "shards": (10, 4)}, 2),
    ],
)
def test_every_chunk_is_read_once_and_metadata_not_again(storage, n_keys):
    x = table(20)
    store = CountingStore(MemoryStore())
    array = zarr.create_array(store, shape=x.shape, dtype="f8", **storage)
    array[:] = x
    store.keys.clear()
    source = from_zarr(array)
    assert len(source.chunks) in (2, 4)
    reader = source.reader(range(len(source.chunks)))
    assert store.keys == []
    np.testing.assert_array_equal(rebuilt(source, reader)[0], x)
    assert len(store.keys) == len(set(store.keys)) == n_keys
    store.keys.clear()
    source.apply(SUM)[:3].compute(scheduler="sync")
    assert len(store.keys) == n_keys // len(source.chunks)


def test_a_worker_opens_an_array_once_for_all_readers(tmp_path, monkeypatch):
    x = table(10)
    zarr.create_array(tmp_path / "x", shape=x.shape, chunks=(5, 4), dtype="f8")[:] = x
    source = from_zarr(tmp_path / "x")
    opened = []
    monkeypatch.setattr(
        stores, "open_array", lambda *args, open=stores.open_array: opened.append(args) or open(*args)
    )
    for _ in range(3):
        for index in (0, 1):
            np.testing.assert_array_equal(
                pickle.loads(pickle.dumps(source.reader([index]))).read(index).rows,
                x[5 * index : 5 * index + 5],
            )
    assert len(opened) == 1


def test_an_array_that_was_replaced_is_noticed_or_read_anew(tmp_path):
    zarr.create_array(tmp_path / "x", shape=(10, 2), chunks=(5, 2), dtype="f8")[:] = 1
    before = pickle.dumps(from_zarr(tmp_path / "x").reader([0]))
    zarr.create_array(tmp_path / "x", shape=(6, 2), chunks=(6, 2), dtype="f8", overwrite=True)[:] = 2
    with pytest.raises(DataError, match=r"changed after it was opened: shape \(10, 2\)"):
        pickle.loads(before).read(0)
    assert pickle.loads(pickle.dumps(from_zarr(tmp_path / "x").reader([0]))).read(0).rows[0, 0] == 2


class GuardedFileSystem(LocalFileSystem):
    """Local files behind a URL, opened with or without a secret."""

    protocol = "guarded"
    secrets: ClassVar = []

    def __init__(self, secret=None, **options):
        self.secrets.append(secret)
        super().__init__(**options)

    @classmethod
    def _strip_protocol(cls, path):
        return "/" + re.sub(r"^guarded://([^/@]*@)?", "", str(path)).strip("/")

    def unstrip_protocol(self, name):
        return f"guarded://{name}"


@pytest.fixture
def guarded(tmp_path):
    fsspec.register_implementation("guarded", GuardedFileSystem, clobber=True)
    GuardedFileSystem.secrets.clear()
    x = table(4)
    zarr.create_array(tmp_path / "x", shape=x.shape, chunks=(2, 4), dtype="f8")[:] = x
    return x, tmp_path / "x"


@pytest.mark.parametrize("url", ["guarded://{}", "guarded://me:hunter2@{}"])
def test_credentials_are_used_here_but_not_pickled_or_shown(guarded, url):
    x, path = guarded
    source = from_zarr(url.format(path), storage_options={"secret": "hunter2", "skip_instance_cache": True})
    np.testing.assert_array_equal(rebuilt(source)[0], x)
    assert set(GuardedFileSystem.secrets) == {"hunter2"}
    assert repr(source).startswith(f"ZarrSource(guarded://{path}, ")
    payload = pickle.dumps(source.reader([0, 1]))
    assert b"hunter2" not in payload
    np.testing.assert_array_equal(pickle.loads(payload).read(1).rows, x[2:])
    assert GuardedFileSystem.secrets[-1] is None
    restored = pickle.loads(payload).variables[0].stored
    assert restored.location.storage_options == {"skip_instance_cache": True}


def test_open_arrays_over_fsspec_travel_as_their_url(guarded):
    x, path = guarded
    store = FsspecStore.from_url(f"guarded://{path}", storage_options={"secret": "hunter2"})
    payload = pickle.dumps(from_zarr(zarr.open_array(store, mode="r")).reader([0]))
    assert b"hunter2" not in payload
    assert pickle.loads(payload).variables[0].stored.location.url == f"guarded://{path}"
    np.testing.assert_array_equal(pickle.loads(payload).read(0).rows, x[:2])


def test_open_groups_give_their_arrays(ocean):
    url, values = ocean
    source = from_zarr(zarr.open_group(url, mode="r"), ["temperature", "salinity"], missing_chunks="fill")
    np.testing.assert_array_equal(rebuilt(source)[0].reshape(values.shape), values)
    assert source.feature_names == ("temperature", "salinity")
    deep = from_zarr(url, "deep/oxygen")
    assert deep.sample_shape == (4,)
    assert deep.chunks[0].name == "deep/oxygen/c/0/0"


def test_what_cannot_be_found_is_answered_with_what_there_is(ocean):
    url, _ = ocean
    listing = "its arrays: 'deep/oxygen', 'salinity', 'temperature'"
    with pytest.raises(ValueError, match=f"is a Zarr group.*{listing}"):
        from_zarr(url)
    with pytest.raises(ValueError, match=f"has no array 'depth'.*{listing}"):
        from_zarr(url, "depth")
    with pytest.raises(ValueError, match=f"has no array 'depth'.*{listing}"):
        from_zarr(url, ["salinity", "depth"])
    with pytest.raises(ValueError, match=r"deep is a Zarr group.*'oxygen'"):
        from_zarr(url, "deep")
    with pytest.raises(FileNotFoundError):
        from_zarr(url.parent / "elsewhere")


def test_variables_of_different_shapes_are_both_named(ocean):
    with pytest.raises(ValueError, match=r"temperature has shape \(4, 6, 8\), .*oxygen has shape \(4, 6\)"):
        from_zarr(ocean[0], ["temperature", "deep/oxygen"])


@pytest.mark.filterwarnings("ignore:The data type")
def test_wrong_data_and_arguments_are_refused_before_any_read(tmp_path):
    for name, dtype, error in (("c", "c16", ValueError), ("s", "U3", TypeError)):
        zarr.create_array(tmp_path / name, shape=(4, 2), chunks=(2, 2), dtype=dtype)
        with pytest.raises(error, match=f"{name} has dtype"):
            from_zarr(tmp_path / name)
    zarr.create_array(tmp_path / "line", shape=(4,), chunks=(2,), dtype="f8")
    with pytest.raises(ValueError, match=r"^Expected 2D array, got 1D array instead"):
        from_zarr(tmp_path / "line")
    with pytest.raises(ValueError, match="nan must be"):
        from_zarr(tmp_path / "line", ["", ""], nan="ignore")
    with pytest.raises(ValueError, match="component is an empty list"):
        from_zarr(tmp_path / "line", [])
    with pytest.raises(ValueError, match="missing_chunks must be"):
        from_zarr(tmp_path / "line", missing_chunks="zero")
    with pytest.raises(ValueError, match="feature_axis=2 does not exist"):
        from_zarr(zarr.create_array(MemoryStore(), shape=(4, 2), chunks=(2, 2), dtype="f8"), feature_axis=2)


def test_weights_follow_their_samples(ocean):
    url, values = ocean
    w = np.random.default_rng(2).random((4, 6, 8))
    source = from_zarr(url, ["temperature", "salinity"], nan="drop", missing_chunks="fill")
    expected = np.where(np.isnan(values).any(axis=-1), np.nan, w).reshape(-1)
    store = zarr.create_array(url.parent / "w", shape=w.shape, chunks=(3, 3, 3), dtype="f8")
    store[:] = w
    same_grid = zarr.create_array(url.parent / "w2", shape=w.shape, chunks=(2, 3, 4), dtype="f8")
    same_grid[:] = w
    for given_weights in (
        w,
        w.reshape(-1),
        da.from_array(w, chunks=(1, 4, 5)),
        da.from_array(w.reshape(-1), chunks=50),
        from_zarr(url.parent, ["w"]),
        from_zarr(url.parent, ["w2"]),
    ):
        weighted = with_weights(source, given_weights)
        np.testing.assert_array_equal(rebuilt(weighted)[1], expected)
        again = pickle.loads(pickle.dumps(weighted.reader(range(8))))
        np.testing.assert_array_equal(rebuilt(weighted, again)[1], expected)
        assert weighted.futures([0]) == {}
    assert source.reader([0]).read(0).weights is None


def test_weights_of_another_length_are_refused(ocean):
    source = from_zarr(ocean[0], ["temperature"])
    for wrong in (np.ones(90), da.ones(90, chunks=10), np.ones((9, 10))):
        with pytest.raises(DataError, match="sample_weight has 90 values, X has 192 rows"):
            with_weights(source, wrong)
    with pytest.raises(
        DataError, match=r"sample_weight has shape \(8, 6, 4\), the samples of X have \(4, 6, 8\)"
    ):
        with_weights(source, np.ones((8, 6, 4)))
    with pytest.raises(TypeError, match="sample_weight has dtype"):
        with_weights(source, np.full(192, "a"))


def test_an_array_without_rows_has_one_empty_chunk(tmp_path):
    zarr.create_array(tmp_path / "x", shape=(0, 3), chunks=(5, 3), dtype="f8")
    source = from_zarr(tmp_path / "x")
    assert [chunk.n_rows for chunk in source.chunks] == [0]
    assert source.reader([0]).read(0).rows.shape == (0, 3)
    assert source.apply(SUM).compute().shape == (0,)


@pytest.fixture
def with_zarrs(tmp_path):
    """Three chunks of two rows, one of them full of zeros, and a reader that decodes with zarrs."""
    pytest.importorskip("zarrs")
    url = str(tmp_path / "x.zarr")
    array = zarr.create_array(url, shape=(6, 2), chunks=(2, 2), dtype="f8")
    array[...] = [[1, 2], [3, 4], [5, 0], [0, 6], [0, 7], [8, 9]]
    source = from_zarr(url)
    assert (
        "zarrs" in type(source.variables[0].stored.chunk_reader.fast._async_array.codec_pipeline).__module__
    )
    return url, source


def test_zarrs_reads_what_zarr_reads(with_zarrs, monkeypatch):
    url, source = with_zarrs
    # The careful way is not gone.
    monkeypatch.setattr(ChunkReader, "checked", None)
    read = [source.reader([index]).read(index).rows for index in range(3)]
    np.testing.assert_array_equal(np.concatenate(read), zarr.open_array(url)[:])


def test_zarrs_misses_no_missing_chunk(with_zarrs):
    url, source = with_zarrs
    (Path(url) / "c" / "1" / "0").unlink()
    with pytest.raises(DataError, match="c/1/0 is missing"):
        source.reader([1]).read(1)
    filled = from_zarr(url, missing_chunks="fill")
    np.testing.assert_array_equal(filled.reader([1]).read(1).rows, 0)


def test_a_chunk_that_zarrs_cannot_decode_is_named(with_zarrs):
    url, source = with_zarrs
    chunk = Path(url) / "c" / "2" / "0"
    chunk.write_bytes(chunk.read_bytes()[:-5])
    with pytest.raises(DataError, match=r"c/2/0 .* cannot be decoded"):
        source.reader([2]).read(2)


class CountedFileSystem(MemoryFileSystem):
    """A store far away that counts what is read."""

    protocol = "counted"
    store: ClassVar[dict] = {}
    pseudo_dirs: ClassVar[list] = [""]
    reads: ClassVar[Counter] = Counter()

    def _open(self, path, mode="rb", **options):
        if "r" in mode:
            self.reads[path] += 1
        return super()._open(path, mode, **options)

    def cat_file(self, path, start=None, end=None, **options):
        self.reads[path] += 1
        return super().cat_file(path, start, end, **options)


@pytest.mark.parametrize("layer", ["simplecache", "filecache"])
def test_a_layer_on_the_local_disk_reads_the_store_once(tmp_path, layer):
    fsspec.register_implementation("counted", CountedFileSystem, clobber=True)
    values = np.random.default_rng(0).normal(size=(40, 2))
    array = zarr.create_array("counted://x.zarr", shape=(40, 2), chunks=(10, 2), dtype="f8", overwrite=True)
    array[...] = values
    CountedFileSystem.reads.clear()
    options = {layer: {"cache_storage": str(tmp_path / layer)}}
    source = from_zarr(f"{layer}::counted://x.zarr", storage_options=options)
    for _ in range(3):
        # As on a worker, which opens the store anew.
        reader = pickle.loads(pickle.dumps(source.reader(range(4))))
        stores._from_address.cache_clear()
        np.testing.assert_array_equal(np.concatenate([reader.read(i).rows for i in range(4)]), values)
    chunks = [n for name, n in CountedFileSystem.reads.items() if "/c/" in name]
    assert chunks == [1] * 4


def test_obstore(tmp_path):
    obstore = pytest.importorskip("obstore.store")
    values = np.random.default_rng(0).normal(size=(40, 2))
    zarr.create_array(tmp_path / "x", shape=(40, 2), chunks=(10, 2), dtype="f8")[...] = values
    store = ObjectStore(obstore.LocalStore(prefix=str(tmp_path / "x")), read_only=True)
    reader = pickle.loads(pickle.dumps(from_zarr(zarr.open_array(store, mode="r")).reader(range(4))))
    np.testing.assert_array_equal(np.concatenate([reader.read(i).rows for i in range(4)]), values)
    (tmp_path / "x" / "c" / "2" / "0").unlink()
    with pytest.raises(DataError, match="c/2/0 is missing"):
        reader.read(2)


@pytest.mark.parametrize("cache", ["simplecache", "filecache", "blockcache"])
def test_reads_through_fsspecs_caches(tmp_path, cache):
    rows = np.random.default_rng(0).normal(size=(20, 2))
    zarr.create_array(tmp_path / "x.zarr", data=rows, chunks=(5, 2))
    read, _ = rebuilt(from_zarr(f"{cache}::file://{tmp_path}/x.zarr"))
    np.testing.assert_array_equal(read, rows)


def test_opens_zip_files(tmp_path):
    rows = np.random.default_rng(0).normal(size=(20, 2))
    store = ZipStore(tmp_path / "x.zarr.zip", mode="w")
    zarr.create_array(store, data=rows, chunks=(5, 2))
    store.close()
    source = from_zarr(tmp_path / "x.zarr.zip")
    read, _ = rebuilt(source, pickle.loads(pickle.dumps(source.reader(range(4)))))
    np.testing.assert_array_equal(read, rows)


# --- the contract of all sources --------------------------------------------------------------------------


class TestTables(SourceContract):
    answers = da.Array
    fingerprinted = True

    def source(self, rows, folder):
        zarr.create_array(folder / "x.zarr", data=rows, chunks=(16, 2), overwrite=True)
        return from_zarr(f"file://{folder}/x.zarr", storage_options={"secret": SECRET})


class TestImages(SourceContract):
    answers = da.Array
    fingerprinted = True
    drops_missing = True

    def source(self, rows, folder):
        images = rows.reshape(6, 10, 3)
        zarr.create_array(folder / "x.zarr", data=images, chunks=(4, 3, 3), overwrite=True)
        return from_zarr(folder / "x.zarr", nan="drop")


class TestVariables(SourceContract):
    answers = da.Array
    fingerprinted = True

    def source(self, rows, folder):
        group = zarr.open_group(folder / "x.zarr", mode="w")
        for name, column, chunks in zip("abc", rows.T, [(4, 3), (2, 10), (4, 6)], strict=True):
            group.create_array(name, data=column.reshape(6, 10), chunks=chunks)
        return from_zarr(folder / "x.zarr", component=["a", "b", "c"])
