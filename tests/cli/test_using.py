"""The commands that use a fitted model do what its methods do."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr

LOCAL = ("--n-workers", 0, "--threads", 1)


@pytest.fixture
def model(stored: Path, tmp_path: Path) -> Path:
    path = tmp_path / "m.gmm"
    GaussianMixture(3, random_state=0).fit(from_zarr(stored)).save(path)
    return path


@pytest.fixture
def rows(stored: Path) -> Any:
    return zarr.open_array(stored)[:]


def test_predict_into_zarr_and_parquet(
    run: Any, stored: Path, model: Path, rows: Any, tmp_path: Path
) -> None:
    gm = GaussianMixture.load(model)
    given = ("--output", "labels", "--output", "probabilities", "--threshold", "-6")
    to_zarr = run("predict", stored, model, tmp_path / "p.zarr", *given, *LOCAL)
    to_parquet = run("predict", stored, model, tmp_path / "p", "--out-format", "parquet", *given, *LOCAL)
    assert to_zarr.code == to_parquet.code == 0, to_zarr.stderr + to_parquet.stderr
    group, frame = zarr.open_group(tmp_path / "p.zarr", mode="r"), pd.read_parquet(tmp_path / "p")
    np.testing.assert_array_equal(group["labels"][:], gm.predict(rows))
    np.testing.assert_array_equal(frame["labels"], gm.predict(rows))
    np.testing.assert_array_equal(group["probabilities"][:], gm.predict_proba(rows))
    anomaly = gm.score_samples(rows) < -6
    np.testing.assert_array_equal(group["anomaly"][:], anomaly)
    assert to_zarr.result["n_anomalies"] == anomaly.sum() > 0
    assert (to_zarr.result["n_chunks"], to_zarr.result["n_skipped"]) == (4, 0)

    again = run("predict", stored, model, tmp_path / "p.zarr", *given, *LOCAL)
    assert (again.code, again.result["n_skipped"]) == (0, 4)
    other = run("predict", stored, model, tmp_path / "p.zarr", "--threshold", "-5", *LOCAL)
    assert other.code == 2
    assert "threshold" in other.stderr
    assert run("predict", stored, model, tmp_path / "p.zarr", "--overwrite", *LOCAL).code == 0


def test_score(run: Any, stored: Path, model: Path, rows: Any) -> None:
    ended = run("score", stored, model, *LOCAL)
    assert ended.result["score"] == pytest.approx(GaussianMixture.load(model).score(rows), rel=1e-12)


def test_info(run: Any, model: Path) -> None:
    gm = GaussianMixture.load(model)
    ended = run("info", model)
    assert ended.result["n_components"] == 3
    assert ended.result["weights"] == gm.weights_.tolist()
    assert ended.result["parameters"]["random_state"] == 0


def test_a_file_that_is_no_model(run: Any, tmp_path: Path) -> None:
    (tmp_path / "m.gmm").write_bytes(b"something else")
    assert run("info", tmp_path / "m.gmm").code == 3
    assert run("info", tmp_path / "none.gmm").code == 2


def test_convert_for_scikit_learn(run: Any, model: Path, rows: Any, tmp_path: Path) -> None:
    skops_io = pytest.importorskip("skops.io")
    assert run("convert", model, tmp_path / "m.skops").code == 0
    content = (tmp_path / "m.skops").read_bytes()
    converted = skops_io.loads(content, trusted=skops_io.get_untrusted_types(data=content))
    gm = GaussianMixture.load(model)
    np.testing.assert_array_equal(converted.predict(rows), gm.predict(rows))
    np.testing.assert_array_equal(converted.means_, gm.means_)


@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_convert_to_onnx(run: Any, rows: Any, dtype: str, tmp_path: Path) -> None:
    pytest.importorskip("skl2onnx")
    runtime = pytest.importorskip("onnxruntime")
    rows = rows.astype(dtype)
    gm = GaussianMixture(3, random_state=0).fit(rows)
    gm.save(tmp_path / "m.gmm")
    ended = run("convert", tmp_path / "m.gmm", tmp_path / "m.onnx")
    assert ended.code == 0, ended.stderr
    session = runtime.InferenceSession(str(tmp_path / "m.onnx"))
    labels, *_ = session.run(None, {"X": rows})
    np.testing.assert_array_equal(labels.reshape(-1), gm.predict(rows))


def test_convert_needs_a_format(run: Any, model: Path, tmp_path: Path) -> None:
    ended = run("convert", model, tmp_path / "m.other")
    assert ended.code == 2
    assert "--to" in ended.stderr


def test_plan(run: Any, stored: Path) -> None:
    ended = run("plan", stored, "--n-components", 3, "--n-workers", 4, "--threads", 2)
    assert ended.code == 0, ended.stderr
    plan = ended.result
    assert (plan["rows"], plan["chunks"], plan["groups"]) == (600, 4, 1)
    assert plan["bytes"] == 600 * 24
    assert plan["largest_chunk_bytes"] == 150 * 24
    assert plan["worker_bytes"] > plan["task_bytes"] > 0
    assert 0 < plan["seconds_a_pass"] < 60
    small = run("plan", stored, "--n-components", 3, "--memory-limit", "50 MiB")
    assert small.code == 2
    assert "memory limit" in small.stderr


def test_plan_finds_bad_rows(run: Any, with_nan: Path) -> None:
    array = zarr.open_array(with_nan)
    array[0, 0] = np.nan
    assert run("plan", with_nan, "--n-components", 3).code == 3


def test_warm_compiles_once(tmp_path):
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-m", "dask_gmm", "warm", "--log", "json"]
    for expected in (17, 0):
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        told = json.loads(done.stdout)
        assert told["compiled"] == expected
        assert all(folder.startswith(str(tmp_path)) for folder in told["cache"])
    # What it compiled is all that a fit needs.
    program = (
        "import logging, numpy as np\nfrom dask_gmm import GaussianMixture\n"
        "logging.basicConfig(level=logging.INFO)\n"
        "for dtype in ('f4', 'f8'):\n"
        "    rows = np.random.default_rng(0).normal(size=(9000, 9)).astype(dtype)\n"
        "    GaussianMixture(2, random_state=0).fit(rows).predict(rows)\n"
    )
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "Compiling" not in done.stderr
    environment["NUMBA_CACHE_DIR"] = str(tmp_path / "another")
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    assert "Compiling dask_gmm.model.kernels.quadratic._pass, once for this machine" in done.stderr


def test_the_features_and_the_rule_for_nan_are_those_of_the_model(run, make_rows, tmp_path):
    rows = make_rows(n_features=2)
    frame = pd.DataFrame(rows, columns=["x", "y"]).assign(key=[f"k{i}" for i in range(len(rows))])
    frame.loc[7, "x"] = None
    frame.to_parquet(tmp_path / "old.parquet")
    frame[["key", "y", "x"]].to_parquet(tmp_path / "new.parquet")
    model, out = tmp_path / "m.gmm", tmp_path / "labels.parquet"
    chosen = ("--column", "x", "--column", "y")
    fit = ("fit", tmp_path / "old.parquet", "--n-components", 2, "--out", model, "--random-state", 0)
    ended = run(*fit, *chosen, *LOCAL)
    assert ended.code != 0
    assert "null" in ended.stderr
    assert run(*fit, *chosen, "--nan", "drop", *LOCAL).code == 0
    ended = run("predict", tmp_path / "new.parquet", model, out, *LOCAL)
    assert ended.code == 0, ended.stderr
    labels = pd.read_parquet(out)["labels"].to_numpy()
    assert labels[7] == -1
    expected = GaussianMixture.load(model).predict(frame[["x", "y"]])
    np.testing.assert_array_equal(labels, expected)
    assert run("score", tmp_path / "new.parquet", model, *LOCAL).code == 0


def test_keys_of_anomalies(run, make_rows, tmp_path):
    frame = pd.DataFrame(make_rows(n_features=2), columns=["x", "y"])
    frame["tx_id"] = [f"tx{number}" for number in range(len(frame))]
    frame.to_parquet(tmp_path / "rows.parquet")
    model, out, top = tmp_path / "m.gmm", tmp_path / "odd.parquet", tmp_path / "top.parquet"
    gm = GaussianMixture(3, random_state=0).fit(frame[["x", "y"]])
    gm.save(model)
    densities = gm.score_samples(frame[["x", "y"]])
    threshold = float(np.quantile(densities, 0.01))
    chosen = ("--keep", "tx_id", "--only-anomalies", "--threshold", threshold)
    ended = run("predict", tmp_path / "rows.parquet", model, out, *chosen, *LOCAL)
    assert ended.code == 0, ended.stderr
    assert list(pd.read_parquet(out)["tx_id"]) == list(frame["tx_id"][densities < threshold])
    assert run("predict", tmp_path / "rows.parquet", model, top, "--top", 2, *LOCAL).code == 0
    assert "top_probabilities_1" in pd.read_parquet(top)


def test_thresholds_and_summaries(run, make_rows, tmp_path):
    frame = pd.DataFrame(make_rows(n_features=2), columns=["x", "y"])
    rows, model, out = tmp_path / "rows.parquet", tmp_path / "m.gmm", tmp_path / "odd.parquet"
    frame.to_parquet(rows)
    fit = ("fit", rows, "--n-components", 2, "--out", model, "--random-state", 0, "--contamination", 0.02)
    ended = run(*fit, *LOCAL)
    assert ended.code == 0, ended.stderr
    gm = GaussianMixture.load(model)
    assert ended.result["threshold"] == gm.threshold_
    assert run("predict", rows, model, out, "--only-anomalies", *LOCAL).code == 0
    assert len(pd.read_parquet(out)) == (gm.score_samples(frame) < gm.threshold_).sum() > 0
    told = run("score", rows, model, "--quantiles", "0.02,0.5", *LOCAL).result
    assert told["quantiles"]["0.02"] == pytest.approx(gm.threshold_)
    told = run("summarize", rows, model, *LOCAL).result
    assert [line["feature"] for line in told["components"]] == ["x", "y", "x", "y"]
    ended = run("score", rows, model, "--quantiles", "half", *LOCAL)
    assert (ended.code, "--quantiles half" in ended.stderr) == (2, True)
