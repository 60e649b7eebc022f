"""Commands in processes of their own, stopped half-way and started again."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr

pytestmark = pytest.mark.long

FIT = ("--n-components", "6", "--tol", "0", "--max-iter", "40", "--random-state", "0")
LOCAL = ("--n-workers", "0", "--threads", "1")


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory, make_rows: Any) -> Path:
    path = tmp_path_factory.mktemp("stored") / "x.zarr"
    rows = make_rows(100_000, 4, 6, spread=1.5)
    zarr.create_array(path, shape=rows.shape, chunks=(2500, 4), dtype="f8")[:] = rows
    return path


@pytest.fixture(scope="module")
def expected(stored: Path) -> GaussianMixture:
    """What a fit that nobody stops finds."""
    gm = GaussianMixture(6, tol=0, max_iter=40, random_state=0)
    with pytest.warns(UserWarning, match="did not converge"):
        gm.fit(from_zarr(stored))
    return gm


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "dask_gmm", *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def _finish(process: subprocess.Popen[str]) -> Any:
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def _stop_after(process: subprocess.Popen[str], n_passes: int, number: signal.Signals) -> int:
    assert process.stderr is not None
    for line in process.stderr:
        event = json.loads(line)
        assert event["event"] != "error", event
        if event["event"] == "pass" and event["number"] > n_passes:
            process.send_signal(number)
            break
    process.communicate(timeout=60)
    return process.returncode


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (signal.SIGINT, 130),
        (signal.SIGTERM, 143),
        (signal.SIGUSR1, 75),
        # Nothing can be done about this one; the shell would say 137.
        (signal.SIGKILL, -9),
    ],
)
def test_a_stopped_fit_goes_on(
    stored: Path,
    expected: GaussianMixture,
    tmp_path: Path,
    number: signal.Signals,
    code: int,
    assert_same_model: Any,
) -> None:
    out = tmp_path / "m.gmm"
    command = ("fit", stored, *FIT, "--out", out, "--checkpoint", tmp_path / "checkpoint", *LOCAL)
    assert _stop_after(_start(*command), 5, number) == code
    assert not out.exists()
    again = _start(*command)
    assert again.stderr is not None
    events = [json.loads(line) for line in again.stderr]
    result = _finish(again)
    passes = [event for event in events if event["event"] == "pass"]
    assert len(passes) < 40, "began anew"
    assert result["n_iter"] == 40
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)


@pytest.mark.parametrize("target", ["p.zarr", "p.parquet"])
def test_killed_predictions_are_completed(
    stored: Path, expected: GaussianMixture, tmp_path: Path, target: str
) -> None:
    model, out = tmp_path / "m.gmm", tmp_path / target
    expected.save(model)
    outputs = ("--output", "labels", "--output", "probabilities", "--output", "log_density")
    command = ("predict", stored, model, out, *outputs, *LOCAL)
    process = _start(*command)
    pattern = "labels/c/*" if target == "p.zarr" else "part.*"
    while process.poll() is None and len(list(out.glob(pattern))) < 5:
        time.sleep(0.002)
    process.kill()
    process.communicate(timeout=60)
    before = _complete_files(out)
    assert before
    result = _finish(_start(*command))
    assert result["n_skipped"] + result["n_chunks"] == 40
    assert result["n_skipped"] >= 1
    assert result["n_chunks"] >= 1, "nothing was left to do: it was killed too late"
    after = _complete_files(out)
    assert {name: after[name] for name in before} == before
    if target == "p.zarr":
        labels = zarr.open_group(out, mode="r")["labels"][:]
        np.testing.assert_array_equal(labels, expected.predict(zarr.open_array(stored)[:]))


def _complete_files(folder: Path) -> dict[str, bytes]:
    """Return what is there under its final name."""
    files = (path for path in folder.rglob("*") if path.is_file())
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in files
        if path.suffix != ".partial" and not path.name.startswith(".")
    }
