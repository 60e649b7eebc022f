"""The steps of the Dockerfile, in a clean virtual environment in place of the image."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "deploy" / "kubernetes" / "Dockerfile").read_text()


@pytest.mark.long
@pytest.mark.timeout(900)
def test_steps(tmp_path: Path) -> None:
    install, add_user, warm = re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE)
    assert add_user.startswith("useradd "), "the only step that needs an image"
    environment = dict(re.findall(r"^ENV (\w+)=(\S+)$", DOCKERFILE, re.MULTILINE))
    cache = tmp_path / "cache"
    environment["NUMBA_CACHE_DIR"] = str(cache)
    (command,) = re.findall(r"^CMD \[(.*)\]$", DOCKERFILE, re.MULTILINE)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "VIRTUAL"))}
    clean |= {**environment, "PATH": f"{tmp_path}/venv/bin:{os.environ['PATH']}"}

    subprocess.run([sys.executable, "-m", "venv", tmp_path / "venv"], check=True)
    steps = [shlex.split(install.replace("/opt/dask-gmm", str(ROOT))), shlex.split(warm)]
    steps += [shlex.split(command.replace(",", " "))]
    # Every process of a pod is one of these.
    steps += [["dask", "scheduler", "--version"], ["dask", "worker", "--version"]]
    steps += [["python", "-c", "from dask_gmm import GaussianMixture; import s3fs, gcsfs, adlfs"]]
    try:
        for step in steps:
            ended = subprocess.run(step, env=clean, cwd=tmp_path, capture_output=True, text=True, check=False)
            assert ended.returncode == 0, f"{step}: {ended.stdout[-2000:]}{ended.stderr[-2000:]}"
        assert list(cache.rglob("*.nbi")), "the image has the compiled kernels"
    finally:
        # A gigabyte, which pytest would keep.
        shutil.rmtree(tmp_path / "venv")
