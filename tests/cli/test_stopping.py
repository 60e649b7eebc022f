"""A command that is stopped by hand ends quietly, with one line that says how to go on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
import zarr

from dask_gmm import GaussianMixture
from dask_gmm.cli.display import Display
from dask_gmm.cli.log import Log
from dask_gmm.cli.outcome import run

SLOW = ("--n-components", "4", "--tol", "0", "--max-iter", "100000", "--random-state", "0")


@pytest.fixture
def large(tmp_path: Path) -> Path:
    rows = np.random.default_rng(0).normal(size=(60_000, 4))
    zarr.create_array(tmp_path / "x.zarr", shape=rows.shape, chunks=(5000, 4), dtype="f8")[:] = rows
    return tmp_path / "x.zarr"


def started(*arguments: Any) -> subprocess.Popen[str]:
    """Start a command as the head of a process group, as a shell does."""
    command = [sys.executable, "-m", "dask_gmm", *map(str, arguments)]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, start_new_session=True)


def stopped(process: subprocess.Popen[str], number: signal.Signals) -> tuple[int, list[Any], str]:
    """Wait for a pass, send a signal to the whole group, and return code, events and standard output."""
    assert process.stderr is not None
    lines = []
    while not any('"event": "pass"' in line for line in lines):
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    os.killpg(process.pid, number)
    rest, errors = process.communicate(timeout=60)
    events = [json.loads(line) for line in (*lines, *errors.splitlines()) if line.strip()]
    return process.returncode, events, rest


@pytest.mark.parametrize("where", [("--n-workers", "0"), ("--n-workers", "2", "--threads", "1")])
def test_ctrl_c(large: Path, tmp_path: Path, where: tuple[str, ...]) -> None:
    checkpoint = ("--checkpoint", tmp_path / "c", "--out", tmp_path / "m.gmm")
    code, events, printed = stopped(
        started("fit", large, *SLOW, *where, *checkpoint, "--log", "json"), signal.SIGINT
    )
    assert (code, printed) == (130, "")
    (error,) = [event for event in events if event["event"] == "error"]
    assert events[-1] == error
    assert error["message"].endswith("The same command goes on from the last pass.")
    assert not (tmp_path / "m.gmm").exists()

    again = (*SLOW[:-4], "--max-iter", "100000", "--random-state", "0", *where, *checkpoint)
    code, events, _ = stopped(started("fit", large, *again, "--log", "json"), signal.SIGTERM)
    assert code == 143
    (note,) = [event for event in events if "Going on" in event.get("message", "")]
    assert "after" in note["message"]


def test_without_a_checkpoint_it_says_what_would_help(large: Path, tmp_path: Path) -> None:
    where = ("--n-workers", "0", "--out", tmp_path / "m.gmm", "--log", "json")
    code, events, _ = stopped(started("fit", large, *SLOW, *where), signal.SIGINT)
    assert code == 130
    assert "--checkpoint FILE" in events[-1]["message"]


def test_a_closed_pipe(large: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.gmm"
    GaussianMixture(2, random_state=0).fit(np.random.default_rng(0).normal(size=(99, 4))).save(model)
    process = started("info", model)
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    errors = process.stderr.read()
    process.wait(timeout=60)
    assert "Traceback" not in errors
    assert "Exception ignored" not in errors


def test_a_model_is_not_replaced_by_accident(run: Any, large: Path, tmp_path: Path) -> None:
    fit = ("fit", large, "--n-components", 1, "--out", tmp_path / "m.gmm")
    assert run(*fit).code == 0
    before = (tmp_path / "m.gmm").stat().st_mtime_ns
    began = time.monotonic()
    ended = run(*fit)
    assert (ended.code, "--overwrite" in ended.stderr) == (2, True)
    assert time.monotonic() - began < 5
    assert (tmp_path / "m.gmm").stat().st_mtime_ns == before
    assert run(*fit, "--overwrite").code == 0
    assert (tmp_path / "m.gmm").stat().st_mtime_ns > before


def test_the_best_number_at_the_edge_is_told(run: Any, make_rows: Any, tmp_path: Path) -> None:
    rows = make_rows(3000, 2, 6, spread=12.0)
    zarr.create_array(tmp_path / "y.zarr", shape=rows.shape, chunks=(500, 2), dtype="f8")[:] = rows
    select = ("select", tmp_path / "y.zarr", "--out", tmp_path / "m.gmm", "--overwrite", "--random-state", 0)
    ended = run(*select, "--n-components", "1-3")
    assert any(event["event"] == "edge" for event in ended.events)
    ended = run(*select, "--n-components", "1-9")
    assert ended.result["n_components"] < 9
    assert not any(event["event"] == "edge" for event in ended.events)


def test_a_stop_that_was_lost_is_noticed_at_the_next_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the signal arrives in a finalizer, Python forgets what its handler raises."""

    class Unlucky:
        def __del__(self) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(0.01)

    def job(log: Log) -> dict[str, Any]:
        lucky = Unlucky()
        del lucky
        Display(log).share_done(0.5)
        raise AssertionError("it went on")

    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)
    with pytest.raises(click.exceptions.Exit) as caught:
        run(job, "json")
    assert caught.value.exit_code == 130
