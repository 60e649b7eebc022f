"""A fit of rows in S3 while S3 fails: the same bits, or the error that it is, in time."""

from __future__ import annotations

import runpy
import sys
import time
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace

import dask
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr, read_parquet
from dask_gmm.data.zarr import stored_array as stores
from dask_gmm.engine import plan
from dask_gmm.errors import DataError, StoreError, StoreMissingError, StoreRefusedError

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]

s3fs = pytest.importorskip("s3fs")
proxies = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("flaky_proxy.py"))))

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "test",
    "AWS_SECRET_ACCESS_KEY": "test",
    "AWS_DEFAULT_REGION": "us-east-1",
}
N_ROWS, N_CHUNKS = 1200, 12


@pytest.fixture(scope="module")
def server(s3_server):
    """A server with rows as Zarr and Parquet; its host and port."""
    boto3 = pytest.importorskip("boto3")
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(N_ROWS, 4)) + 2.0 * rng.integers(3, size=(N_ROWS, 1))
    with s3_server() as url, pytest.MonkeyPatch.context() as patched:
        for name, value in CREDENTIALS.items():
            patched.setenv(name, value)
        boto3.client("s3", endpoint_url=url).create_bucket(Bucket="bucket")
        options = {"client_kwargs": {"endpoint_url": url}}
        chunks = (N_ROWS // N_CHUNKS, 4)
        zarr.create_array("s3://bucket/rows.zarr", data=rows, chunks=chunks, storage_options=options)
        frame = pd.DataFrame(rows, columns=list("abcd"))
        for part in range(N_CHUNKS):
            frame[part::N_CHUNKS].to_parquet(
                f"s3://bucket/rows.parquet/{part}.parquet",
                storage_options=options,
            )
        host, port = url.removeprefix("http://").split(":")
        yield host, int(port)


@pytest.fixture
def proxy(server, monkeypatch):
    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    with proxies.FlakyProxy(*server) as proxy:
        monkeypatch.setenv("AWS_ENDPOINT_URL", proxy.url)
        monkeypatch.setenv("AWS_ENDPOINT", proxy.url)  # what obstore reads
        monkeypatch.setenv("AWS_ALLOW_HTTP", "true")
        yield proxy


@pytest.fixture(params=["s3fs", "obstore"])
def options(request, proxy, monkeypatch):
    """Storage options of a client, which serves s3:// URLs while this lasts; its time-outs are short."""
    registry = sys.modules["fsspec.registry"]._registry
    monkeypatch.setitem(registry, "s3", s3fs.S3FileSystem)
    if request.param == "obstore":
        pytest.importorskip("obstore.fsspec").register("s3")
        options = {
            "client_options": {"timeout": "2s", "allow_http": True},
            # By default it tries for three minutes before it tells anybody.
            "retry_config": {"max_retries": 3, "retry_timeout": timedelta(seconds=5)},
        }
    else:
        options = {"config_kwargs": {"read_timeout": 2, "connect_timeout": 2}}
    # A group for each chunk, and many at a time: most of this is waiting.
    monkeypatch.setattr(plan, "_GROUP_BYTES", 1)
    monkeypatch.setitem(dask.config.config, "num_workers", N_CHUNKS)
    # What is known of one proxy is nothing for the next.
    stores._from_address.cache_clear()
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    return options


@pytest.fixture(params=["zarr", "parquet"])
def make_source(request, options):
    """Open the rows."""
    if request.param == "zarr":
        return lambda: from_zarr("s3://bucket/rows.zarr", storage_options=options)
    return lambda: read_parquet("s3://bucket/rows.parquet", storage_options=options)


def fit(source, **parameters):
    given = {"max_iter": 2, "tol": 0.0, "random_state": 0, **parameters}
    return GaussianMixture(3, **given).fit(source)


FAULTS = {
    "busy": proxies.at_random(0.5, "busy"),
    "bursts": proxies.bursts("busy", 15, 8),
    "resets": proxies.at_random(0.3, "reset"),
    "truncated": proxies.at_random(0.3, "truncated"),
    "hangs": proxies.at_random(0.1, "hang"),
    "everything": proxies.at_random(0.3, "busy", "reset", "truncated"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_the_same_bits(proxy, make_source, assert_same_bits, name):
    quiet = fit(make_source())
    assert set(proxy.counts) == {"passed"}
    fsspec.get_filesystem_class("s3").clear_instance_cache()
    stores._from_address.cache_clear()
    proxy.fault = FAULTS[name]
    began = time.monotonic()
    fitted = fit(make_source())
    print(f"{name}: {dict(proxy.counts)}, {time.monotonic() - began:.1f} s")
    assert_same_bits(fitted, quiet)
    assert sum(proxy.counts.values()) - proxy.counts["passed"] >= 2


def test_nothing_but_503(proxy, options):
    source = from_zarr("s3://bucket/rows.zarr", storage_options=options)
    proxy.fault = lambda number: "busy"
    began = time.monotonic()
    with (
        dask.config.set({"dask-gmm.read-deadline": "20 s"}),
        pytest.raises(StoreError, match=r"(?s)Chunk \d+ cannot be read: .*dask-gmm\.read-deadline is 20 s"),
    ):
        fit(source)
    assert time.monotonic() - began < 25
    assert proxy.counts["busy"] >= 10


REFUSALS = {
    "denied": StoreRefusedError,
    "expired": StoreRefusedError,
    "elsewhere": StoreRefusedError,
    "missing": StoreMissingError,
}


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_come_at_once(proxy, make_source, answer):
    source = make_source()
    proxy.fault = lambda number: answer
    began = time.monotonic()
    with pytest.raises((REFUSALS[answer], DataError), match=r"rows\.(zarr|parquet)") as told:
        fit(source)
    print(f"{answer}: {time.monotonic() - began:.1f} s, {told.value!r}")
    assert time.monotonic() - began < 10
    assert proxy.counts[answer] >= 1


@pytest.mark.parametrize("answer", REFUSALS)
def test_refusals_come_at_once_when_a_store_is_opened(proxy, make_source, answer):
    proxy.fault = lambda number: answer
    began = time.monotonic()
    with pytest.raises(OSError, match=r"bucket/rows\.(zarr|parquet)") as told:
        make_source()
    print(f"{answer}: {time.monotonic() - began:.1f} s, {told.value!r}")
    assert time.monotonic() - began < 10


@pytest.mark.parametrize("options", ["s3fs"], indirect=True)
def test_a_checkpoint_in_a_store_that_fails(proxy, options, assert_same_bits):
    rows = from_zarr("s3://bucket/rows.zarr", storage_options=options)
    quiet = fit(rows)
    proxy.fault = proxies.at_random(0.4, "busy", "reset")
    assert_same_bits(fit(rows, checkpoint="s3://bucket/fit"), quiet)
    assert proxy.counts["busy"] + proxy.counts["reset"] >= 10
    # It is whole, and fits.
    proxy.fault = lambda number: None
    before = proxy.counts["passed"]
    assert_same_bits(fit(rows, checkpoint="s3://bucket/fit"), quiet)
    assert proxy.counts["passed"] - before < N_CHUNKS + 20
