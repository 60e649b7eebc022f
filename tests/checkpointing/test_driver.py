"""One driver at a time, wherever the checkpoint is; a dead one is in nobody's way."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time

import fsspec
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.checkpointing import Checkpoint, driver
from dask_gmm.errors import DriverError
from dask_gmm.fitting.state import FitState

EMPTY = FitState((), None, ())


@pytest.fixture
def memory(monkeypatch):
    """fsspec's store in this process's memory, with drivers that live fast."""
    monkeypatch.setattr(driver, "_BEAT_SECONDS", 0.05)
    monkeypatch.setattr(driver, "_SILENCE_SECONDS", 0.5)
    memory = fsspec.filesystem("memory")
    yield memory
    memory.store.clear()


def hold(path):
    """Start a process that takes the checkpoint and sleeps."""
    code = (
        "import sys, time\n"
        "from pathlib import Path\n"
        "from dask_gmm.checkpointing.driver import LocalDriver\n"
        "driver = LocalDriver(Path(sys.argv[1]))\n"
        "driver.begin()\n"
        "print('taken', flush=True)\n"
        "time.sleep(60)\n"
    )
    process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline() == "taken\n"
    return process


def test_another_process_is_refused_until_it_dies(tmp_path, make_rows):
    other = hold(tmp_path / "fit")
    try:
        fit = GaussianMixture(2, random_state=0, checkpoint=tmp_path / "fit")
        with pytest.raises(
            DriverError, match=r"Another process is fitting with the checkpoint .*/fit\. Wait"
        ):
            fit.fit(make_rows(60, 2, 2))
    finally:
        other.kill()
        other.communicate()
    # A lock outlives its owner as a file only.
    assert (tmp_path / ".fit.lock").exists()
    fit.fit(make_rows(60, 2, 2))
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


def test_the_same_process_is_refused(tmp_path):
    (tmp_path / "link").symlink_to("fit")
    with Checkpoint(tmp_path / "fit", {}):
        for way in (tmp_path / "fit", f"file://{tmp_path}/fit", tmp_path / "link"):
            with pytest.raises(DriverError), Checkpoint(way, {}):
                pass
        with Checkpoint(tmp_path / "other", {}):
            pass
    with Checkpoint(tmp_path / "fit", {}):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["link"]


def test_neighbours_of_a_similar_name_are_left_alone(tmp_path):
    left = [tmp_path / f".fit.{'0' * 32}", tmp_path / f".fit.{'f' * 32}"]
    others = [
        tmp_path / name for name in (".fit.note", ".fit.2." + "0" * 32, ".fit.0", "fit.lock", ".fitter")
    ]
    for path in (*left, *others):
        path.touch()
    with Checkpoint(tmp_path / "fit.2", {}):
        others[1].touch()  # as if it was being written
        with Checkpoint(tmp_path / "fit", {}):
            assert not any(path.exists() for path in left)
            assert all(path.exists() for path in others)
            assert (tmp_path / ".fit.2.lock").exists()


def test_a_lock_whose_owner_ends_in_between_is_taken_anew(tmp_path, monkeypatch):
    first = driver.LocalDriver(tmp_path / "fit")
    first.begin()
    flock = driver.fcntl.flock

    def end_first(*args):
        # The lock file was opened, and is removed before it is locked.
        first.end()
        flock(*args)

    monkeypatch.setattr(driver.fcntl, "flock", end_first)
    second, third = driver.LocalDriver(tmp_path / "fit"), driver.LocalDriver(tmp_path / "fit")
    second.begin()
    with pytest.raises(DriverError):
        third.begin()
    second.end()


def test_many_at_once(tmp_path):
    begun, together, ended = [], threading.Barrier(8), threading.Barrier(8)

    def drive():
        one = driver.LocalDriver(tmp_path / "fit")
        together.wait()
        try:
            one.begin()
            begun.append(one)
        except DriverError:
            pass
        ended.wait()

    threads = [threading.Thread(target=drive) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(begun) == 1
    begun[0].end()


def test_a_living_driver_in_an_object_store_is_refused_to_others(memory, monkeypatch):
    with Checkpoint("memory://c/fit", {}) as first:
        first.save(EMPTY)
        monkeypatch.setattr(driver, "gethostname", lambda: "elsewhere")
        began = time.monotonic()
        with pytest.raises(DriverError, match="memory://c/fit"), Checkpoint("memory://c/fit", {}):
            pass
        assert time.monotonic() - began >= 0.5
        first.save(EMPTY)
    assert not memory.exists("/c/fit/driver")
    with Checkpoint("memory://c/fit", {}) as second:
        assert second.load() == EMPTY


def test_a_driver_of_this_process_counts_as_alive(memory):
    with Checkpoint("memory://c/fit", {}), pytest.raises(DriverError), Checkpoint("memory://c/fit", {}):
        pass


def test_a_silent_driver_is_dead(memory):
    memory.pipe_file("/c/fit/driver", b'{"name": "x", "host": "elsewhere", "process": 1, "beats": 7}')
    began = time.monotonic()
    with Checkpoint("memory://c/fit", {}) as second:
        assert time.monotonic() - began >= 0.5
        second.save(EMPTY)


@pytest.mark.parametrize("which", ["a process that ended", "an earlier process 1", "a torn note"])
def test_nobody_waits_for_a_driver_that_died_here(memory, monkeypatch, which):
    monkeypatch.setattr(driver, "_SILENCE_SECONDS", 1000.0)
    ended = subprocess.Popen(["true"])
    ended.wait()
    process = os.getpid() if which == "an earlier process 1" else ended.pid
    note = f'{{"name": "x", "host": "{driver.gethostname()}", "process": {process}, "beats": 7}}'
    memory.pipe_file("/c/fit/driver", b'{"na' if which == "a torn note" else note.encode())
    with Checkpoint("memory://c/fit", {}) as second:
        second.save(EMPTY)


def test_a_driver_that_was_taken_for_dead_stops(memory):
    other = b'{"name": "x", "host": "elsewhere", "process": 1, "beats": 7}'
    with Checkpoint("memory://c/fit", {}) as first:
        first.save(EMPTY)
        memory.pipe_file("/c/fit/driver", other)
        time.sleep(0.2)
        with pytest.raises(DriverError):
            first.save(EMPTY)
    # Neither its beats nor its end touched the other's note.
    assert memory.cat_file("/c/fit/driver") == other


def test_a_beat_that_fails_is_made_up_for(memory, monkeypatch):
    failures = []

    def failing(self, path, value):
        failures.append(path)
        raise RuntimeError("what some client raises")

    with Checkpoint("memory://c/fit", {}):
        with monkeypatch.context() as patched:
            patched.setattr(type(memory), "pipe_file", failing)
            time.sleep(0.3)
        before = memory.cat_file("/c/fit/driver")
        time.sleep(0.3)
        assert memory.cat_file("/c/fit/driver") != before
    assert len(failures) > 1
