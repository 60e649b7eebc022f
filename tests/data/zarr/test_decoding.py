"""Chunks that would decode to far more than their metadata announce are refused before they do."""

from __future__ import annotations

import struct
import tracemalloc
import warnings

import numcodecs
import numpy as np
import pyarrow as pa
import pytest
import zarr
from zarr.codecs import BloscCodec, BytesCodec, Crc32cCodec, GzipCodec, TransposeCodec, ZstdCodec
from zarr.codecs import numcodecs as in_format_3

from dask_gmm import ChunkTooLargeError, GaussianMixture
from dask_gmm.data import available_memory as available
from dask_gmm.data.zarr.decoding import OversizedError, decode_in_bounds
from dask_gmm.data.zarr.source import from_zarr
from dask_gmm.errors import DataError

BOMB = np.zeros(48 << 20, np.uint8)
ROWS = np.random.default_rng(0).normal(size=(60, 3)).round(1)

FORMAT_2 = [
    numcodecs.Blosc(),
    numcodecs.Blosc("zlib"),
    numcodecs.Zstd(),
    numcodecs.GZip(9),
    numcodecs.Zlib(9),
    numcodecs.BZ2(9),
    numcodecs.LZMA(),
    numcodecs.LZ4(),
]
IN_FORMAT_3 = ("Blosc", "Zstd", "GZip", "Zlib", "BZ2", "LZMA", "LZ4")


def streamed_zstd(data):
    """Return a frame that does not say what it decodes to."""
    sink = pa.BufferOutputStream()
    with pa.CompressedOutputStream(sink, "zstd") as stream:
        stream.write(data)
    return sink.getvalue().to_pybytes()


def codecs_of_format_3():
    with warnings.catch_warnings(action="ignore"):
        extra = [getattr(in_format_3, name)() for name in IN_FORMAT_3]
    return [BloscCodec(), ZstdCodec(), GzipCodec(), *extra]


def stored(path, **options):
    """Store `ROWS`; return the URL and the file of the second chunk."""
    with warnings.catch_warnings(action="ignore"):
        array = zarr.create_array(str(path), shape=ROWS.shape, chunks=(20, 3), dtype=ROWS.dtype, **options)
    array[...] = ROWS
    return str(path), path / array.metadata.encode_chunk_key((1, 0))


def rows_of(url):
    source = from_zarr(url)
    reader = source.reader(range(len(source.chunks)))
    return np.concatenate([reader.read(index).rows for index in range(len(source.chunks))])


def assert_refused(url, key):
    tracemalloc.start()
    try:
        with pytest.raises(DataError, match=r"would decode to .* where the metadata allow") as error:
            rows_of(url)
        assert tracemalloc.get_traced_memory()[1] < BOMB.nbytes / 4
    finally:
        tracemalloc.stop()
    assert key in str(error.value)


@pytest.mark.parametrize("codec", FORMAT_2, ids=lambda codec: codec.codec_id)
def test_a_bomb_in_format_2(tmp_path, codec):
    url, file = stored(tmp_path / "x.zarr", compressors=codec, zarr_format=2)
    np.testing.assert_array_equal(rows_of(url), ROWS)
    file.write_bytes(codec.encode(BOMB))
    assert_refused(url, "1.0")


@pytest.mark.parametrize("codec", codecs_of_format_3(), ids=lambda codec: codec.to_dict()["name"])
def test_a_bomb_in_format_3(tmp_path, codec):
    url, file = stored(tmp_path / "x.zarr", compressors=codec)
    np.testing.assert_array_equal(rows_of(url), ROWS)
    kind = codec.to_dict()["name"].removeprefix("numcodecs.")
    file.write_bytes(numcodecs.get_codec({"id": kind}).encode(BOMB))
    assert_refused(url, "c/1/0")


@pytest.mark.parametrize(
    "options",
    [
        {"compressors": [GzipCodec(), ZstdCodec()]},
        {"compressors": [ZstdCodec(), Crc32cCodec()]},
        {"compressors": [Crc32cCodec(), GzipCodec()]},
        {"filters": TransposeCodec(order=(1, 0)), "compressors": BloscCodec()},
        {
            "filters": [numcodecs.Delta("f8"), numcodecs.Zlib()],
            "compressors": numcodecs.Zstd(),
            "zarr_format": 2,
        },
        {"filters": numcodecs.AsType("f4", "f8"), "compressors": numcodecs.GZip(), "zarr_format": 2},
        {"serializer": BytesCodec(endian="big"), "compressors": ZstdCodec(checksum=True)},
        {"compressors": None},
        {"shards": (40, 3), "compressors": ZstdCodec()},
    ],
    ids=str,
)
def test_chains_of_codecs_are_read_as_before(tmp_path, options):
    url, _ = stored(tmp_path / "x.zarr", **options)
    np.testing.assert_array_equal(rows_of(url), zarr.open_array(url)[...])


def test_a_bomb_inside_another_compressor(tmp_path):
    url, file = stored(tmp_path / "x.zarr", compressors=[ZstdCodec(), GzipCodec()])
    file.write_bytes(numcodecs.GZip().encode(numcodecs.Zstd().encode(BOMB)))
    assert_refused(url, "c/1/0")


def test_a_bomb_within_a_shard(tmp_path):
    url = str(tmp_path / "x.zarr")
    array = zarr.create_array(
        url, shape=(40, 3), chunks=(20, 3), shards=(40, 3), dtype="f8", compressors=GzipCodec()
    )
    array[...] = ROWS[:40]
    np.testing.assert_array_equal(rows_of(url), ROWS[:40])
    bomb = numcodecs.GZip(9).encode(BOMB)
    index = struct.pack("<4Q", 0, len(bomb), 0, len(bomb))
    index += numcodecs.CRC32C(location="end").encode(np.frombuffer(index, np.uint8)).tobytes()[-4:]
    (tmp_path / "x.zarr" / "c/0/0").write_bytes(bomb + index)
    assert_refused(url, "c/0/0")


@pytest.mark.parametrize("n_before", [0, 1, 2])
def test_zstd_that_does_not_say_what_it_decodes_to(n_before):
    few = numcodecs.Zstd().encode(b"a" * 100) * n_before
    data = few + streamed_zstd(b"b" * 5000)
    assert len(decode_in_bounds("zstd", {}, data, 6000)) == 5000 + 100 * n_before
    with pytest.raises(OversizedError, match="more than"):
        decode_in_bounds("zstd", {}, data, 4999 + 100 * n_before)


@pytest.mark.parametrize("codec", FORMAT_2, ids=lambda codec: codec.codec_id)
def test_the_bound_is_exact(codec):
    data = ROWS.tobytes()
    encoded = codec.encode(data)
    assert decode_in_bounds(codec.codec_id, codec.get_config(), encoded, len(data)) in (None, data)
    with pytest.raises(OversizedError):
        decode_in_bounds(codec.codec_id, codec.get_config(), encoded, len(data) - 1)


@pytest.mark.parametrize("codec", FORMAT_2, ids=lambda codec: codec.codec_id)
@pytest.mark.parametrize("kept", [0, 1, 20, 0.5, 0.999])
def test_what_is_cut_off_is_damaged(tmp_path, codec, kept):
    url, file = stored(tmp_path / "x.zarr", compressors=codec, zarr_format=2)
    data = file.read_bytes()
    file.write_bytes(data[: int(kept * len(data) if kept < 1 else kept)])
    with pytest.raises(DataError, match=r"1\.0"):
        rows_of(url)


@pytest.mark.parametrize("chunks", [(10**11, 1), (20, 3)])
def test_metadata_that_announce_more_than_there_is_memory(tmp_path, chunks, monkeypatch):
    """With the first, the chunk is larger than the array, whose rows are few."""
    monkeypatch.setattr(available, "_SMALL", 100)
    if chunks == (20, 3):
        monkeypatch.setattr(available, "available_bytes", lambda: 479)
    url = str(tmp_path / "x.zarr")
    zarr.create_array(url, shape=(60, 3), chunks=chunks, dtype="f8", compressors=None)
    for file in ("c/0/0", "c/0/1", "c/0/2", "c/1/0", "c/2/0"):
        path = tmp_path / "x.zarr" / file
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"few")
    with pytest.raises(ChunkTooLargeError, match=r"c/0/0.*(745\.06 GiB|480 B).*this process has"):
        GaussianMixture(2).fit(from_zarr(url))
