"""A cache of compiled code that is damaged, full or not to be written costs a compilation, never a fit."""

from __future__ import annotations

import os
import stat
import subprocess
import sys

import numpy as np
import pytest
from numba import types

from dask_gmm.compiled import compile_for, read_only


def double(values):
    return values.sum() * 2.0


@pytest.fixture
def compiled(monkeypatch, tmp_path):
    """Compile anew and return how often the cache was hit; `compiled.folder` is where it is."""
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path))

    def compiled():
        function = compile_for(double, read_only(types.float64, 1))
        assert function(np.arange(3.0)) == 6.0
        return sum(function.stats.cache_hits.values())

    compiled.folder = tmp_path
    return compiled


def files(folder, ending):
    return [path for path in folder.rglob(f"*.{ending}") if path.is_file()]


def test_it_is_used(compiled):
    assert compiled() == 0
    assert compiled() == 1


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", ["empty", "cut off", "other bytes", "a flipped bit", "a folder"])
def test_damage(compiled, ending, damage):
    compiled()
    (path,) = files(compiled.folder, ending)
    content = path.read_bytes()
    middle = len(content) // 2
    if damage == "a folder":
        path.unlink()
        path.mkdir()
    else:
        path.write_bytes(
            {
                "empty": b"",
                "cut off": content[:middle],
                "other bytes": os.urandom(len(content)),
                "a flipped bit": content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :],
            }[damage]
        )
    assert compiled() == 0
    # What can be mended is.
    assert compiled() == (damage != "a folder")


def test_a_full_disk(compiled, monkeypatch):
    def full(*_, **__):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("numba.core.caching.IndexDataCacheFile.save", full)
    assert compiled() == compiled() == 0


@pytest.mark.skipif(os.getuid() == 0, reason="root may write anywhere")
def test_a_folder_that_must_not_be_written(compiled):
    compiled()
    folders = [path for path in compiled.folder.rglob("*") if path.is_dir()]
    for folder in folders:
        folder.chmod(stat.S_IRUSR | stat.S_IXUSR)
    try:
        compiled()
    finally:
        for folder in folders:
            folder.chmod(stat.S_IRWXU)


def test_a_cache_directory_that_is_a_file(compiled, monkeypatch, tmp_path):
    (tmp_path / "file").write_text("")
    monkeypatch.setattr("numba.core.config.CACHE_DIR", str(tmp_path / "file"))
    compiled()


def test_processes_that_compile_at_once(tmp_path):
    """Whoever is first, and whoever is in the middle of writing: each has the function."""
    program = (
        "import numpy as np\n"
        "from dask_gmm.data.parquet import thrift\n"
        "footer = bytes([0x15, 2, 0x16, 4, 0])\n"
        "thrift._BYTES_UNCOMPILED = 0\n"
        "fields = thrift.walk(footer)\n"
        "assert fields.values.tolist() == [1, 2], fields\n"
    )
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    for _ in range(2):
        running = [subprocess.Popen([sys.executable, "-c", program], env=environment) for _ in range(4)]
        assert [process.wait(timeout=120) for process in running] == [0] * 4
    for path in files(tmp_path, "nbc"):
        path.write_bytes(path.read_bytes()[:-100])
    assert subprocess.run([sys.executable, "-c", program], env=environment, check=False).returncode == 0
