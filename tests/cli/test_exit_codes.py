"""Every documented exit code, produced."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

import dask
import pytest
from distributed import LocalCluster

from dask_gmm.cli.display import Display
from dask_gmm.cli.outcome import exit_code
from dask_gmm.errors import WorkersKilledError

LOCAL = ("--n-components", 2, "--n-workers", 0, "--threads", 1)


def test_done(run: Any, stored: Path, tmp_path: Path) -> None:
    assert run("fit", stored, *LOCAL, "--out", tmp_path / "m.gmm").code == 0


@pytest.mark.parametrize(
    ("options", "named"),
    [
        (("--tol", "-1"), "--tol must be"),
        (("--tol", "x"), "--tol"),
        (("--column", "a"), "Parquet"),
        (("--feature-axis", "4"), "--feature-axis 4"),
        (("--scheduler", "tcp://a:1", "--scheduler-file", "f"), "not both"),
        (("--tls-cert", "c.pem"), "--tls-cert"),
        (("--storage-option", "secret=s3cret"), "no credentials"),
        (("--storage-option", "anon"), "NAME=VALUE"),
        (("--memory-limit", "100 MiB", "--n-workers", "1"), "--memory-limit"),
        (("--performance-report", "r.html"), "needs a cluster"),
        (("--warm-start", "nowhere.gmm"), "nowhere.gmm"),
    ],
)
def test_usage(run: Any, stored: Path, tmp_path: Path, options: tuple[str, ...], named: str) -> None:
    ended = run("fit", stored, *LOCAL, "--out", tmp_path / "m.gmm", *options)
    assert ended.code == 2
    assert named in ended.stderr
    assert "s3cret" not in ended.stderr
    assert not (tmp_path / "m.gmm").exists()


def test_paths_that_are_not_there(run: Any, stored: Path, tmp_path: Path) -> None:
    assert run("fit", tmp_path / "nothing.zarr", *LOCAL, "--out", tmp_path / "m.gmm").code == 2
    ended = run("fit", stored, *LOCAL, "--out", tmp_path / "none" / "m.gmm")
    assert ended.code == 2
    assert "no folder" in ended.stderr


@pytest.fixture
def foreign(tmp_path: Path) -> Path:
    """A folder of things that are neither Zarr nor Parquet, nor models."""
    folder = tmp_path / "foreign"
    (folder / "empty.zarr").mkdir(parents=True)
    (folder / "empty.parquet").mkdir()
    (folder / "photo.jpg").write_bytes(b"\xff\xd8" * 100)
    (folder / "text.csv").write_text("a,b\n1,2\n")
    (folder / "cut.parquet").write_bytes(b"PAR1")
    return folder


TOO_LONG = "a" * 300
FOREIGN = ["", "empty.zarr", "empty.parquet", "photo.jpg", "text.csv", "text.csv/x", "cut.parquet", TOO_LONG]


@pytest.mark.parametrize("name", FOREIGN)
def test_sources_that_are_none(run: Any, foreign: Path, tmp_path: Path, name: str) -> None:
    ended = run("fit", foreign / name, *LOCAL, "--out", tmp_path / "m.gmm")
    assert ended.code in (2, 3)
    assert name in ended.stderr
    assert not (tmp_path / "m.gmm").exists()


@pytest.mark.parametrize("name", FOREIGN)
@pytest.mark.parametrize("command", ["info", "score", "predict", "convert", "fit"])
def test_models_that_are_none(
    run: Any, stored: Path, foreign: Path, tmp_path: Path, command: str, name: str
) -> None:
    model, out = foreign / name, tmp_path / "out.skops"
    ended = {
        "info": lambda: run("info", model),
        "score": lambda: run("score", stored, model, "--n-workers", 0),
        "predict": lambda: run("predict", stored, model, tmp_path / "p.zarr", "--n-workers", 0),
        "convert": lambda: run("convert", model, out),
        "fit": lambda: run("fit", stored, *LOCAL, "--out", out, "--warm-start", model),
    }[command]()
    assert ended.code in (2, 3)
    assert name in ended.stderr
    assert not out.exists()


def test_a_folder_is_called_one(run: Any, foreign: Path) -> None:
    ended = run("info", foreign)
    assert ended.code == 2
    assert "This is a folder, and a file is asked for" in ended.stderr


@pytest.mark.parametrize(
    "options",
    [
        ("--out", "foreign"),
        ("--checkpoint", "foreign"),
        ("--checkpoint", "foreign/text.csv/c"),
        ("--checkpoint", "foreign/text.csv"),
        ("--means-init", "foreign"),
        ("--sample-weight", "foreign/"),
        ("--scheduler-file", "foreign/text.csv"),
    ],
)
def test_paths_of_another_kind(
    run: Any, stored: Path, foreign: Path, tmp_path: Path, options: tuple[str, str]
) -> None:
    name, path = options
    out = () if name == "--out" else ("--out", tmp_path / "m.gmm")
    place = ("--n-components", 2) if name == "--scheduler-file" else LOCAL
    ended = run("fit", stored, *place, *out, name, tmp_path / path)
    assert ended.code in (2, 3)
    assert (foreign / "text.csv").read_text() == "a,b\n1,2\n"
    assert not (tmp_path / "m.gmm").exists()


def test_bad_rows(run: Any, with_nan: Path, tmp_path: Path) -> None:
    ended = run("fit", with_nan, *LOCAL, "--out", tmp_path / "m.gmm")
    assert ended.code == 3
    assert ended.events[-1]["event"] == "error"
    assert ended.events[-1]["exit_code"] == 3
    assert "c/1/0" in ended.events[-1]["message"]


def test_no_scheduler(run: Any, stored: Path, tmp_path: Path) -> None:
    given = ("--n-components", 2, "--scheduler", "tcp://127.0.0.1:9", "--out", tmp_path / "m.gmm")
    with dask.config.set({"distributed.comm.timeouts.connect": "500ms"}):
        assert run("fit", stored, *given).code == 69


def test_no_workers(run: Any, stored: Path, tmp_path: Path) -> None:
    with (
        LocalCluster(n_workers=0, processes=False, dashboard_address=":0") as cluster,
        dask.config.set({"dask-gmm.no-workers-timeout": "500ms"}),
    ):
        given = ("--n-components", 2, "--scheduler", cluster.scheduler_address, "--out", tmp_path / "m.gmm")
        ended = run("fit", stored, *given)
    assert ended.code == 69
    assert "no-workers-timeout" in ended.stderr


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGUSR1, 75)]
)
def test_signals(
    run: Any, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int, code: int
) -> None:
    before = signal.getsignal(number)
    # In the middle of a fit, where no other moment can be met.
    monkeypatch.setattr(Display, "pass_done", lambda self, done: os.kill(os.getpid(), number))
    ended = run("fit", stored, *LOCAL, "--out", tmp_path / "m.gmm")
    assert ended.code == code
    assert ended.events[-1]["exit_code"] == code
    assert not (tmp_path / "m.gmm").exists()
    assert signal.getsignal(number) == before


def test_errors_by_their_kind() -> None:
    assert exit_code(WorkersKilledError("workers died")) == 75
    assert exit_code(OSError(28, "No space left on device")) == 69
    assert exit_code(PermissionError(13, "Access Denied")) == 2
    assert exit_code(OSError(36, "File name too long")) == exit_code(IsADirectoryError(21, "folder")) == 2
    assert exit_code(ConnectionResetError("by peer")) == 69
    assert exit_code(TypeError("a defect")) == exit_code(AssertionError()) == 1


def test_a_defect_shows_its_traceback(
    run: Any, stored: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defect(self: Any, done: Any) -> None:
        raise AssertionError("defect")

    monkeypatch.setattr(Display, "pass_done", defect)
    ended = run("fit", stored, *LOCAL, "--out", tmp_path / "m.gmm")
    assert ended.code == 1
    assert "Traceback" in ended.stderr
