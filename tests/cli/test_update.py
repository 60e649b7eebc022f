"""``dask gmm update``: what `GaussianMixture.update` does, into a file from which it goes on."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.preprocessing import StandardScaler

LOCAL = ("--n-workers", 0, "--threads", 1)


@pytest.fixture
def new(tmp_path: Path, make_rows: Any) -> Path:
    path = tmp_path / "new.zarr"
    zarr.create_array(path, data=make_rows(200, seed=5), chunks=(60, 3))
    zarr.create_array(tmp_path / "weights.zarr", data=np.linspace(0.5, 2.0, 200), chunks=(60,))
    return path


@pytest.fixture
def model(stored: Path, tmp_path: Path) -> Path:
    path = tmp_path / "m.gmm"
    GaussianMixture(3, random_state=0).fit(from_zarr(stored)).save(path)
    return path


def test_it_does_what_the_method_does(
    run: Any, model: Path, new: Path, tmp_path: Path, assert_same_model: Any
) -> None:
    expected = GaussianMixture.load(model)
    for passes, weights in ((1, None), (3, tmp_path / "weights.zarr")):
        given = ("--passes", passes, *(() if weights is None else ("--sample-weight", weights)))
        # In its own place, so that the next update finds the sums of this one.
        ended = run("update", model, new, "--out", model, *given, *LOCAL)
        assert ended.code == 0, ended.stderr
        read = None if weights is None else zarr.open_array(weights)[:]
        expected.update(from_zarr(new), sample_weight=read, passes=passes)
        assert_same_model(GaussianMixture.load(model), expected, rtol=0)
        assert ended.result["drift"] == expected.update_.drift
        assert ended.result["n_new_rows"] == 200
    assert ended.result["n_rows"] == 1000
    assert ended.result["log_likelihood"] - ended.result["log_likelihood_before"] == ended.result["drift"]


def test_steps_before_the_mixture_stay(run: Any, stored: Path, new: Path, tmp_path: Path) -> None:
    fitted = ("fit", stored, "--n-components", 3, "--standardize", "--random-state", 0)
    assert run(*fitted, "--out", tmp_path / "a.gmm", *LOCAL).code == 0
    ended = run("update", tmp_path / "a.gmm", new, "--out", tmp_path / "b.gmm", *LOCAL)
    assert ended.code == 0, ended.stderr
    scaler = StandardScaler().fit(zarr.open_array(stored)[:])
    expected = GaussianMixture(3, random_state=0).fit(scaler.transform(zarr.open_array(stored)[:]))
    expected.update(scaler.transform(zarr.open_array(new)[:]))
    info = run("info", tmp_path / "b.gmm")
    assert [step["kind"] for step in info.result["steps"]] == ["StandardScaler"]
    np.testing.assert_allclose(info.result["means"], expected.means_, rtol=1e-9)


def test_what_it_refuses(run: Any, model: Path, stored: Path, new: Path, tmp_path: Path) -> None:
    gm = GaussianMixture.load(model)
    gm.save(tmp_path / "without.gmm", with_statistics=False)
    ended = run("update", tmp_path / "without.gmm", new, "--out", tmp_path / "o.gmm", *LOCAL)
    assert ended.code == 2
    assert "does not hold the sums" in ended.stderr
    assert not (tmp_path / "o.gmm").exists()
    # Another place where something is.
    ended = run("update", model, new, "--out", tmp_path / "without.gmm", *LOCAL)
    assert ended.code == 2
    assert "--overwrite" in ended.stderr
    zarr.create_array(tmp_path / "narrow.zarr", data=np.zeros((10, 2)), chunks=(10, 2))
    before = model.read_bytes()
    ended = run("update", model, tmp_path / "narrow.zarr", "--out", model, *LOCAL)
    assert ended.code in (2, 3)
    assert "2 features" in ended.stderr
    assert model.read_bytes() == before
