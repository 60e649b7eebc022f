"""The README's commands, on local files and on object stores: the same bits."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import zarr
from click.testing import CliRunner

from dask_gmm import GaussianMixture
from dask_gmm.cli import gmm

README = (Path(__file__).parents[2] / "README.md").read_text()
PARAMETERS = ("weights_", "means_", "covariances_", "precisions_cholesky_", "lower_bound_")


def commands(root: str) -> list[list[str]]:
    """Return the commands with their files in `root`, a folder or URL."""
    (block,) = re.findall(r"```shell\n(python -c .*?)```", README, re.DOTALL)
    files = re.compile(r"\w+\.(zarr|gmm|parquet)")
    return [
        [f"{root}/{word}" if files.fullmatch(word) else word for word in shlex.split(line)]
        for line in block.splitlines()
    ]


def run_all(root: str) -> list[Any]:
    """Run them in this process and return what they print."""
    (python, _, code, *arguments), *others = commands(root)
    assert python == "python"
    namespace = {"__name__": "__main__"}
    exec(code.replace("sys.argv", repr(["-c", *arguments])), namespace)
    results = []
    for command in others:
        assert command[:2] == ["dask", "gmm"]
        ended = CliRunner().invoke(gmm, command[2:])
        assert ended.exit_code == 0, f"{command}: {ended.stderr}"
        results.append(json.loads(ended.stdout))
    return results


@pytest.fixture(scope="module")
def local(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("local")
    with dask.config.set({"dask-gmm.cli.n-workers": 0, "dask-gmm.cli.threads": 1}):
        _, select, to_zarr, to_parquet, summary, info = run_all(str(folder))
    assert select["n_components"] == info["n_components"] == 5
    assert to_zarr["n_rows"] == to_parquet["n_rows"] == 20_000
    assert set(summary["log_density"]) == {"0.05", "0.5", "0.95"}
    assert sum(rows["n_rows"] for rows in summary["components"] if rows["feature"] == "x0") == 20_000
    return folder


def _assert_same(local: Path, url: str, folder_of: Any) -> None:
    for name in ("fitted.gmm", "chosen.gmm"):
        here, there = GaussianMixture.load(local / name), GaussianMixture.load(f"{url}/{name}")
        for parameter in PARAMETERS:
            np.testing.assert_array_equal(getattr(there, parameter), getattr(here, parameter))
    labels = zarr.open_array(f"{url}/labels.zarr", path="labels", mode="r")
    np.testing.assert_array_equal(labels[:], zarr.open_array(local / "labels.zarr", path="labels")[:])
    parts = sorted(folder_of(f"{url}/unusual.parquet"))
    assert len(parts) == 4
    there = pd.concat([pd.read_parquet(part) for part in parts], ignore_index=True)
    here = pd.read_parquet(local / "unusual.parquet")
    pd.testing.assert_frame_equal(there, here)


def test_local_files(local: Path) -> None:
    gm = GaussianMixture.load(local / "chosen.gmm")
    rows = zarr.open_array(local / "rows.zarr")[:]
    labels = zarr.open_group(local / "labels.zarr", mode="r")["labels"][:]
    np.testing.assert_array_equal(labels, gm.predict(rows))
    unusual = pd.read_parquet(local / "unusual.parquet")
    log_density = gm.score_samples(rows)
    np.testing.assert_array_equal(unusual["log_density"], log_density[log_density < -20])
    assert unusual["anomaly"].all()
    assert 0 < len(unusual) < 1000


@pytest.mark.long
@pytest.mark.parametrize("server", ["s3", "ceph"])
def test_s3(local: Path, server: str, request: pytest.FixtureRequest) -> None:
    import s3fs

    s3 = request.getfixturevalue(server)
    # A cluster, so that workers find the credentials by themselves.
    with dask.config.set({"dask-gmm.cli.n-workers": 1, "dask-gmm.cli.threads": 1}):
        run_all(s3)
    s3fs.S3FileSystem.clear_instance_cache()
    files = s3fs.S3FileSystem()
    _assert_same(local, s3, lambda url: [f"s3://{name}" for name in files.glob(f"{url}/part.*")])


@pytest.mark.long
def test_azure(local: Path, azure: str) -> None:
    import adlfs

    with dask.config.set({"dask-gmm.cli.n-workers": 1, "dask-gmm.cli.threads": 1}):
        run_all(azure)
    adlfs.AzureBlobFileSystem.clear_instance_cache()
    files = adlfs.AzureBlobFileSystem()
    _assert_same(local, azure, lambda url: [f"abfs://{name}" for name in files.glob(f"{url}/part.*")])
