"""Web servers of little ability: right numbers, or what to do."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr

from dask_gmm import DataError, from_zarr, read_parquet
from dask_gmm.data.parquet import remote

pytest.importorskip("aiohttp")

ROWS = np.random.default_rng(0).normal(size=(12_000, 2))


class Quiet(SimpleHTTPRequestHandler):
    """Python's own server, which ignores byte ranges."""

    def log_message(self, *_: Any) -> None:
        pass


class WithoutLengths(Quiet):
    def send_header(self, keyword: str, value: str) -> None:
        if keyword.lower() != "content-length":
            super().send_header(keyword, value)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("served")
    table = pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]})
    pq.write_table(table, path / "large.parquet", row_group_size=5000)
    pq.write_table(table[:100], path / "small.parquet")
    zarr.create_array(path / "x.zarr", data=ROWS, chunks=(5000, 2))
    zarr.create_array(path / "sharded.zarr", data=ROWS, chunks=(500, 2), shards=(5000, 2))
    return path


@pytest.fixture
def serve(folder: Path) -> Iterator[Any]:
    servers = []

    def start(handler: type[Quiet]) -> str:
        server = ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder)))
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def rows_of(source: Any) -> Any:
    reader = source.reader(range(len(source.chunks)))
    return np.concatenate([reader.read(index).rows for index in range(len(source.chunks))])


def test_parquet_without_byte_ranges_is_read_whole_and_said_so(
    serve: Any, caplog: pytest.LogCaptureFixture
) -> None:
    url = serve(Quiet)
    np.testing.assert_array_equal(rows_of(read_parquet(f"{url}/small.parquet")), ROWS[:100])
    assert not caplog.records
    with caplog.at_level(logging.WARNING, "dask_gmm"):
        np.testing.assert_array_equal(rows_of(read_parquet(f"{url}/large.parquet?version=3")), ROWS)
    assert "ignores byte ranges, so that every read downloads the whole file" in caplog.text


def test_what_the_warning_advises_works(serve: Any, caplog: pytest.LogCaptureFixture) -> None:
    np.testing.assert_array_equal(rows_of(read_parquet(f"simplecache::{serve(Quiet)}/large.parquet")), ROWS)
    assert not caplog.records


def test_a_large_file_is_not_downloaded_for_every_chunk(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(remote, "_MOST_WHOLE", 100_000)
    with pytest.raises(DataError, match=r"large\.parquet: its server ignores byte ranges.*simplecache::"):
        read_parquet(f"{serve(Quiet)}/large.parquet")


def test_a_server_that_tells_no_length(serve: Any) -> None:
    url = serve(WithoutLengths)
    with pytest.raises(DataError, match=r"large\.parquet: its server does not say how large"):
        read_parquet(f"{url}/large.parquet")
    np.testing.assert_array_equal(rows_of(from_zarr(f"{url}/x.zarr")), ROWS)


@pytest.mark.parametrize("name", ["x.zarr", "sharded.zarr"])
def test_zarr_without_byte_ranges(serve: Any, name: str) -> None:
    np.testing.assert_array_equal(rows_of(from_zarr(f"{serve(Quiet)}/{name}")), ROWS)
