"""Object stores on this machine, and credentials for them in the environment."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, suppress
from pathlib import Path

import pytest


@pytest.fixture
def s3(
    s3_server: Callable[[], AbstractContextManager[str]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """A bucket of moto."""
    with s3_server() as url:
        yield _bucket(url, monkeypatch)


@pytest.fixture
def ceph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A bucket of Ceph's gateway."""
    if not all(map(shutil.which, ("ceph", "ceph-mon", "ceph-osd", "radosgw"))):
        pytest.skip("needs ceph-mon, ceph-osd and radosgw")
    folder = tmp_path / "ceph"
    folder.mkdir()
    ports = [_free_port() for _ in range(3)]
    start = Path(__file__).with_name("ceph.sh")
    try:
        started = subprocess.run(
            [start, folder, *map(str, ports)], capture_output=True, text=True, timeout=120, check=False
        )
        assert started.returncode == 0, started.stderr
        yield _bucket(f"http://127.0.0.1:{ports[0]}", monkeypatch)
    finally:
        for file in folder.glob("*.pid"):
            with suppress(ProcessLookupError):
                os.kill(int(file.read_text()), signal.SIGKILL)


def _bucket(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """Make a bucket and return its URL; the environment leads there."""
    s3fs = pytest.importorskip("s3fs")
    for name, value in {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "s3cret",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    # What was made for another server.
    s3fs.S3FileSystem.clear_instance_cache()
    s3fs.S3FileSystem().makedirs("bucket", exist_ok=True)
    return "s3://bucket"


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


# The account and key that every emulator has; they open nothing else.
_EMULATED = (
    "DefaultEndpointsProtocol=http;AccountName=devstoreaccount1;AccountKey=Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uS"
    "RZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==;BlobEndpoint=http://127.0.0.1:{port}/devstoreaccount1;"
)


@pytest.fixture
def azure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    adlfs = pytest.importorskip("adlfs")
    program = shutil.which("azurite-blob")
    if program is None:
        pytest.skip("azurite is not installed")
    port = _free_port()
    options = ("--skipApiVersionCheck", "--loose", "--disableTelemetry", "--silent")
    server = subprocess.Popen([program, "--blobPort", str(port), "--location", tmp_path, *options])
    try:
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline:
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
                break
            except OSError:
                time.sleep(0.2)
        monkeypatch.setenv("AZURE_STORAGE_CONNECTION_STRING", _EMULATED.format(port=port))
        # What was made for another server.
        adlfs.AzureBlobFileSystem.clear_instance_cache()
        adlfs.AzureBlobFileSystem().mkdir("container")
        yield "abfs://container"
    finally:
        server.terminate()
        server.wait(30)
