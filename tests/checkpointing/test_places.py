"""Places that cannot be read or written: the error names the URL, and what was saved before is whole."""

from __future__ import annotations

import errno
import os
import re
import subprocess
from contextlib import suppress

import dask
import fsspec
import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.checkpointing import checkpoint
from dask_gmm.errors import StoreError, StoreMissingError
from dask_gmm.storage import retries

N_PIECES = 4


@pytest.fixture
def source(make_rows, make_source):
    return make_source(np.array_split(make_rows(240), N_PIECES))


@pytest.fixture
def no_pauses(monkeypatch):
    """Pauses of no length; the pauses that there would have been."""
    pauses = []
    monkeypatch.setattr(retries, "sleep", pauses.append)
    return pauses


def fit(path, source):
    return GaussianMixture(3, random_state=0, checkpoint=path).fit(source)


def assert_goes_on(path, source, n_saved):
    """Fit from the checkpoint, which holds `n_saved` passes, to the same end as without."""
    quiet = GaussianMixture(3, random_state=0).fit(source)
    n_reads = len(source.reads)
    resumed = fit(path, source)
    np.testing.assert_array_equal(resumed.means_, quiet.means_)
    # Rows that only reading tells are checked once more where no pass is left.
    assert len(source.reads) - n_reads == N_PIECES * max(1, 1 + quiet.n_iter_ - n_saved)


def after(monkeypatch, n_saves, spoil):
    """Let `spoil` happen when so many saves have been made."""
    write_atomically, saves = checkpoint.write_atomically, []

    def write(location, content):
        if len(saves) == n_saves:
            spoil()
        saves.append(location)
        write_atomically(location, content)

    monkeypatch.setattr(checkpoint, "write_atomically", write)


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EROFS, errno.EDQUOT])
def test_a_disk_that_cannot_be_written(source, tmp_path, monkeypatch, no_pauses, number):
    def fail(*args):
        raise OSError(number, os.strerror(number))

    with monkeypatch.context() as patched:
        after(patched, 2, lambda: patched.setattr(os, "fsync", fail))
        with pytest.raises(StoreError, match="the state before is whole") as raised:
            fit(tmp_path / "fit", source)
    assert f"The checkpoint {tmp_path}/fit cannot be saved" in str(raised.value)
    assert os.strerror(number) in str(raised.value)
    assert no_pauses == []
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]
    source.reads.clear()
    assert_goes_on(tmp_path / "fit", source, 2)


def test_a_disk_that_fails_for_a_while(source, tmp_path, monkeypatch, no_pauses):
    failures = [OSError(errno.EIO, "Input/output error")] * 3
    fsync = os.fsync

    def failing(descriptor):
        if failures:
            raise failures.pop()
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    fit(tmp_path / "fit", source)
    assert len(no_pauses) == 3


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 64 kB."""
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", tmp_path], check=False)
    if mounted.returncode != 0:
        pytest.skip("needs the right to mount")
    yield tmp_path
    subprocess.run(["umount", tmp_path], check=True)


def test_a_disk_that_fills_up(source, small_disk, monkeypatch):
    with monkeypatch.context() as patched:
        after(patched, 2, lambda: fill(small_disk / "others"))
        with pytest.raises(StoreError, match="No space left on device"):
            fit(small_disk / "fit", source)
    assert sorted(path.name for path in small_disk.iterdir()) == ["fit", "others"]
    (small_disk / "others").unlink()
    source.reads.clear()
    assert_goes_on(small_disk / "fit", source, 2)


def fill(path):
    with path.open("wb", buffering=0) as file, suppress(OSError):
        while file.write(bytes(4096)):
            pass


def test_a_read_only_disk(source, small_disk, monkeypatch):
    def stop():
        raise KeyboardInterrupt

    def remount(how):
        subprocess.run(["mount", "-o", f"remount,{how}", small_disk], check=True)

    with monkeypatch.context() as patched:
        after(patched, 2, stop)
        with pytest.raises(KeyboardInterrupt):
            fit(small_disk / "fit", source)
    remount("ro")
    with pytest.raises(StoreError, match=r"cannot be used: .*Read-only file system"):
        fit(small_disk / "fit", source)
    remount("rw")
    source.reads.clear()
    assert_goes_on(small_disk / "fit", source, 2)
    assert [path.name for path in small_disk.iterdir()] == ["fit"]


def test_a_folder_that_is_not_there_is_told_before_anything_is_read(source, tmp_path):
    with pytest.raises(
        StoreMissingError, match=rf"The checkpoint {re.escape(str(tmp_path))}/none/fit cannot"
    ):
        fit(tmp_path / "none" / "fit", source)
    assert source.reads == []


def test_a_folder_is_no_checkpoint(source, tmp_path):
    (tmp_path / "fit").mkdir()
    with pytest.raises(StoreError, match=r"fit cannot be read: IsADirectoryError"):
        fit(tmp_path / "fit", source)
    assert source.reads == []
    assert [path.name for path in tmp_path.iterdir()] == ["fit"]


def test_a_lost_bucket_is_named_without_credentials(source, monkeypatch):
    memory = fsspec.filesystem("memory")
    url = "memory://user:s3cret@bucket/fit?token=s3cret"

    def lose(self, path, value):
        raise FileNotFoundError("NoSuchBucket: https://user:s3cret@host/bucket?token=s3cret")

    try:
        with monkeypatch.context() as patched:
            after(patched, 2, lambda: patched.setattr(type(memory), "pipe_file", lose))
            with pytest.raises(StoreMissingError, match=r"memory://bucket/fit cannot be saved") as raised:
                fit(url, source)
        assert "s3cret" not in str(raised.value)
        assert "s3cret" not in repr(raised.value)
        source.reads.clear()
        assert_goes_on(url, source, 2)
    finally:
        memory.store.clear()


def test_a_store_that_stays_away_ends_a_fit_at_the_deadline(source, monkeypatch):
    memory = fsspec.filesystem("memory")

    def time_out(self, path, value):
        raise TimeoutError

    try:
        with (
            monkeypatch.context() as patched,
            dask.config.set({"dask-gmm.read-deadline": "1 s"}),
        ):
            after(patched, 2, lambda: patched.setattr(type(memory), "pipe_file", time_out))
            with pytest.raises(StoreError, match=r"memory://bucket/fit .* dask-gmm\.read-deadline is 1 s"):
                fit("memory://bucket/fit", source)
        source.reads.clear()
        assert_goes_on("memory://bucket/fit", source, 2)
    finally:
        memory.store.clear()
