"""The commands of deploy/ as processes of this machine."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml
import zarr

from dask_gmm import GaussianMixture, from_zarr

pytestmark = pytest.mark.long

DEPLOY = Path(__file__).parents[2] / "deploy"
BIN = Path(sys.executable).parent
QUIET = ("--no-dashboard",)


@pytest.fixture
def stored(tmp_path: Path, make_rows: Any) -> Path:
    rows = make_rows(2000, 3, 3)
    path = tmp_path / "features.zarr"
    zarr.create_array(path, shape=rows.shape, chunks=(250, 3), dtype="f8")[:] = rows
    return path


@contextlib.contextmanager
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Collect processes to end, group by group: nannies have children."""
    started: list[subprocess.Popen[bytes]] = []
    try:
        yield started
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, 15)
        for process in started:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, 9)
                process.wait(20)


def _start(arguments: Sequence[str], **environment: str) -> subprocess.Popen[bytes]:
    path = f"{BIN}:{os.environ['PATH']}"
    return subprocess.Popen(
        [str(argument) for argument in arguments],
        env={**os.environ, "PATH": path, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE if "fit" in arguments else subprocess.DEVNULL,
        start_new_session=True,
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for_port(port: int) -> None:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        time.sleep(0.2)
    raise TimeoutError(port)


def _ended(process: subprocess.Popen[bytes]) -> tuple[int, str]:
    _, err = process.communicate(timeout=120)
    return process.returncode, err.decode()


def test_dask_job(stored: Path, tmp_path: Path, assert_same_model: Any) -> None:
    spec = yaml.safe_load((DEPLOY / "kubernetes" / "daskjob.yaml").read_text())["spec"]
    (job,) = spec["job"]["spec"]["containers"]
    (scheduler,) = spec["cluster"]["spec"]["scheduler"]["spec"]["containers"]
    (worker,) = spec["cluster"]["spec"]["worker"]["spec"]["containers"]
    # Filled in as a user would: place of the data, number of components and of workers.
    filled = {"s3://bucket/": f"{tmp_path}/", "$(DASK_WORKER_NAME)": "worker-0", ":8788": ":0"}
    arguments = {"--n-components": "3", "--wait-for": "1", "--memory-limit": "2GiB", "--nthreads": "1"}

    def fill(args: Sequence[str]) -> list[str]:
        for old, new in filled.items():
            args = [argument.replace(old, new) for argument in args]
        return [arguments.get(before, argument) for before, argument in zip(["", *args], args, strict=False)]

    port = _free_port()
    address = f"tcp://127.0.0.1:{port}"
    with processes() as started:
        here = ("--host", "127.0.0.1", "--port", str(port))
        started.append(_start([*fill(scheduler["args"]), *here, *QUIET]))
        _wait_for_port(port)
        # What the operator puts into the pods' environment.
        started.append(_start([*fill(worker["args"])], DASK_SCHEDULER_ADDRESS=address))
        driver = _start(fill(job["args"]), DASK_SCHEDULER_ADDRESS=address)
        started.append(driver)
        code, err = _ended(driver)
    assert code == 0, err
    expected = GaussianMixture(3, random_state=0).fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(tmp_path / "model.gmm"), expected, rtol=0)


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")
def test_tls(stored: Path, tmp_path: Path) -> None:
    for folder in ("ours", "others"):
        command = [DEPLOY / "tls" / "make_certificates.sh", tmp_path / folder]
        subprocess.run(command, check=True, capture_output=True)
        again = subprocess.run(command, check=False, capture_output=True)
        assert again.returncode == 1, "certificates in use must not be replaced"
    assert (tmp_path / "ours" / "cluster.key").stat().st_mode & 0o077 == 0
    assert not (tmp_path / "ours" / "ca.key").exists()

    def tls(folder: str) -> list[str]:
        files = {"--tls-ca-file": "ca.pem", "--tls-cert": "cluster.pem", "--tls-key": "cluster.key"}
        return [str(part) for option, name in files.items() for part in (option, tmp_path / folder / name)]

    port = _free_port()
    encrypted = {"DASK_DISTRIBUTED__COMM__REQUIRE_ENCRYPTION": "true"}
    with processes() as started:
        here = ("--host", "127.0.0.1", "--port", str(port), "--protocol", "tls")
        started.append(_start(["dask", "scheduler", *here, *tls("ours"), *QUIET], **encrypted))
        _wait_for_port(port)
        started.append(
            _start(["dask", "worker", f"tls://127.0.0.1:{port}", *tls("ours"), *QUIET], **encrypted)
        )
        fit = ["dask", "gmm", "fit", str(stored), "--n-components", "3", "--out", str(tmp_path / "m.gmm")]
        patience = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__CONNECT": "3s"}
        plain = _start([*fit, "--scheduler", f"tcp://127.0.0.1:{port}"], **patience)
        foreign = _start([*fit, "--scheduler", f"tls://127.0.0.1:{port}", *tls("others")], **patience)
        started += [plain, foreign]
        assert _ended(plain)[0] == 69
        assert _ended(foreign)[0] == 69
        assert not (tmp_path / "m.gmm").exists()
        ours = _start([*fit, "--scheduler", f"tls://127.0.0.1:{port}", *tls("ours")])
        started.append(ours)
        code, err = _ended(ours)
    assert code == 0, err


def _assert_nothing_is_left_by(driver: subprocess.Popen[bytes]) -> None:
    """Check that an ended script's processes end, those of its session."""
    deadline = time.monotonic() + 30
    # A worker needs a moment to see that its nanny is gone.
    while left := [process.info for process in psutil.process_iter(["cmdline"]) if _is_left(process, driver)]:
        assert time.monotonic() < deadline, left
        time.sleep(0.2)


def _is_left(process: psutil.Process, driver: subprocess.Popen[bytes]) -> bool:
    with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
        # Ended ones may wait for whoever has inherited them.
        return os.getsid(process.pid) == driver.pid and process.status() != psutil.STATUS_ZOMBIE
    return False


def _fake(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(f"#!/usr/bin/env bash\n{text}\n")
    path.chmod(0o755)
    return path


def test_ssh(stored: Path, tmp_path: Path) -> None:
    # In place of ssh: runs the command here. The machines it would reach are this one.
    ssh = _fake(tmp_path, "ssh", 'shift 2; exec "$@" --nworkers 1')
    port = _free_port()
    environment = {
        "SSH": str(ssh),
        "SOURCE": str(stored),
        "MODEL": str(tmp_path / "m.gmm"),
        "N_COMPONENTS": "3",
        "ADDRESS": "127.0.0.1",
        "PORT": str(port),
    }
    with processes() as started:
        driver = _start([str(DEPLOY / "ssh" / "fit.sh"), "host1"], **environment)
        started.append(driver)
        assert driver.wait(120) == 0
        _assert_nothing_is_left_by(driver)
    assert GaussianMixture.load(tmp_path / "m.gmm").n_components == 3


@pytest.mark.skipif(shutil.which("mpirun") is None, reason="needs mpirun")
def test_mpi(stored: Path, tmp_path: Path) -> None:
    environment = {
        "SOURCE": str(stored),
        "MODEL": str(tmp_path / "m.gmm"),
        "N_COMPONENTS": "3",
        "N_WORKERS": "1",
        "OMPI_ALLOW_RUN_AS_ROOT": "1",
        "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    }
    with processes() as started:
        driver = _start([str(DEPLOY / "mpi" / "fit.sh"), "--oversubscribe"], **environment)
        started.append(driver)
        assert driver.wait(120) == 0
        _assert_nothing_is_left_by(driver)
    assert GaussianMixture.load(tmp_path / "m.gmm").n_components == 3
