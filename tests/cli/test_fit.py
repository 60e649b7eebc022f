"""`dask gmm fit` does what the estimator does."""

from __future__ import annotations

import inspect
import json
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pandas as pd
import pytest
import zarr

from dask_gmm import GaussianMixture, from_zarr, read_parquet
from dask_gmm.cli.options import ESTIMATOR

LOCAL = ("--n-workers", 0, "--threads", 1, "--random-state", 0)


def test_the_model_is_the_estimators(run: Any, stored: Path, tmp_path: Path, assert_same_model: Any) -> None:
    out = tmp_path / "m.gmm"
    ended = run("fit", stored, "--n-components", 3, "--out", out, *LOCAL, "--covariance-type", "tied")
    assert ended.code == 0, ended.stderr
    expected = GaussianMixture(3, covariance_type="tied", random_state=0).fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)
    assert ended.result["n_iter"] == expected.n_iter_
    assert ended.result["lower_bound"] == expected.lower_bound_
    assert ended.result["converged"]
    passes = [event for event in ended.events if event["event"] == "pass"]
    assert [event["lower_bound"] for event in passes] == expected.lower_bounds_
    assert all(event["rows"] == 600 and event["bytes"] == 600 * 24 for event in passes)


def test_a_local_cluster_gives_the_same_bits(
    run: Any, stored: Path, tmp_path: Path, assert_same_model: Any
) -> None:
    size = ("--n-workers", 1, "--threads", 1, "--memory-limit", "1 GiB")
    out, report = tmp_path / "m.gmm", tmp_path / "report.html"
    more = ("--performance-report", report) if find_spec("bokeh") else ()
    ended = run("fit", stored, "--n-components", 3, "--out", out, "--random-state", 0, *size, *more)
    assert ended.code == 0, ended.stderr
    assert not more or "gmm-pass" in report.read_text()
    assert any(event["event"] == "cluster" for event in ended.events)
    expected = GaussianMixture(3, random_state=0).fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)


def test_every_parameter_is_an_option() -> None:
    # A new parameter of the estimator belongs into `dask_gmm.cli.options.ESTIMATOR`.
    parameters = inspect.signature(GaussianMixture).parameters
    # `nan` is an option of the source, which knows it too; no command follows a stream.
    elsewhere = ("n_components", "nan", "step_exponent", "step_offset")
    defaults = {name: p.default for name, p in parameters.items() if name not in elsewhere}
    as_options = {option.name: option.default for option in ESTIMATOR}
    constraints = GaussianMixture._parameter_constraints
    for option in ESTIMATOR:
        if option.name in ("covariance_type", "init_params"):
            assert set(option.kind.choices) == constraints[option.name][0].options
    # A model file to go on from stands for True.
    assert as_options == {**defaults, "warm_start": None}


def test_columns_filter_and_weights_of_parquet(
    run: Any, make_rows: Any, tmp_path: Path, assert_same_model: Any
) -> None:
    frame = pd.DataFrame(make_rows(), columns=["a", "b", "c"])
    frame["w"] = np.arange(600) % 3 + 1.0
    frame["year"] = np.arange(600) // 300 + 2019
    path, out = tmp_path / "x.parquet", tmp_path / "m.gmm"
    frame.to_parquet(path, row_group_size=100)
    given = ("--column", "a", "--column", "c", "--filter", "year>=2020", "--sample-weight", "w")
    ended = run("fit", path, "--n-components", 2, "--out", out, *LOCAL, *given)
    assert ended.code == 0, ended.stderr
    assert ended.result["feature_names"] == ["a", "c"]
    source = read_parquet(path, ["a", "c"], filters=[("year", ">=", 2020)])
    expected = GaussianMixture(2, random_state=0).fit(source, sample_weight="w")
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)


def test_components_nan_and_weights_of_zarr(
    run: Any, make_rows: Any, tmp_path: Path, assert_same_model: Any
) -> None:
    rows = make_rows(n_features=2)
    rows[7, 0] = np.nan
    group = zarr.create_group(tmp_path / "g.zarr")
    for name, values in (("t", rows[:, 0]), ("s", rows[:, 1]), ("w", np.arange(600) % 3 + 1.0)):
        group.create_array(name, data=values.reshape(20, 30), chunks=(10, 30))
    out = tmp_path / "m.gmm"
    chosen = ("--component", "t", "--component", "s", "--nan", "drop", "--sample-weight", "w")
    ended = run("fit", tmp_path / "g.zarr", "--n-components", 2, "--out", out, *LOCAL, *chosen)
    assert ended.code == 0, ended.stderr
    source = from_zarr(tmp_path / "g.zarr", ["t", "s"], nan="drop")
    weights = (np.arange(600) % 3 + 1.0).reshape(20, 30)
    expected = GaussianMixture(2, random_state=0).fit(source, sample_weight=weights)
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)


def test_packed_numbers_and_chunks_that_were_left_out(
    run: Any, make_rows: Any, tmp_path: Path, assert_same_model: Any
) -> None:
    group = zarr.create_group(tmp_path / "g.zarr")
    stored = (100 * make_rows(n_features=1)).astype("i2").reshape(20, 30)
    for name in ("t", "s"):
        group.create_array(name, data=stored, chunks=(10, 10)).attrs["scale_factor"] = 0.01
    weights = np.zeros((20, 30))
    weights[:12, :12] = 1
    group.create_array("w", data=weights, chunks=(5, 5))
    out = tmp_path / "m.gmm"
    fit = ("--n-components", 1, "--out", out, "--overwrite", *LOCAL)
    for decode, scale in (("yes", 0.01), ("no", 1.0)):
        given = ("--component", "t", "--feature-axis", 1, "--decode", decode)
        ended = run("fit", tmp_path / "g.zarr", *fit, *given)
        assert ended.code == 0, ended.stderr
        expected = GaussianMixture(1).fit(scale * stored)
        np.testing.assert_allclose(GaussianMixture.load(out).means_, expected.means_)
    given = ("--component", "t", "--component", "s", "--sample-weight", "w")
    ended = run("fit", tmp_path / "g.zarr", *fit, *given)
    assert ended.code == 0, ended.stderr
    assert "15 of 24 chunks" in ended.stderr
    mean = 0.01 * np.average(stored, weights=weights)
    np.testing.assert_allclose(GaussianMixture.load(out).means_, [[mean, mean]])
    given = (*given, "--missing-chunks", "error")
    ended = run("fit", tmp_path / "g.zarr", *fit, *given)
    assert (ended.code, "is missing" in ended.stderr) == (3, True)


def test_starts_come_from_files(run: Any, stored: Path, tmp_path: Path, assert_same_model: Any) -> None:
    means = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1]])
    np.save(tmp_path / "means.npy", means)
    first, out = tmp_path / "first.gmm", tmp_path / "m.gmm"
    start = ("--means-init", tmp_path / "means.npy", "--max-iter", 2, "--tol", 0)
    assert run("fit", stored, "--n-components", 3, "--out", first, *LOCAL, *start).code == 0
    expected = GaussianMixture(3, means_init=means, max_iter=2, tol=0, random_state=0)
    with pytest.warns(UserWarning, match="did not converge"):
        expected.fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(first), expected, rtol=0)

    again = ("--warm-start", first, "--max-iter", 3, "--tol", 0)
    assert run("fit", stored, "--n-components", 3, "--out", out, *LOCAL, *again).code == 0
    expected.set_params(warm_start=True, max_iter=3)
    with pytest.warns(UserWarning, match="did not converge"):
        expected.fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(out), expected, rtol=0)


def test_options_come_from_dasks_configuration(run: Any, stored: Path, tmp_path: Path) -> None:
    environment = dask.config.collect_env(
        {"DASK_DASK_GMM__CLI__MAX_ITER": "2", "DASK_DASK_GMM__CLI__TOL": "0"}
    )
    fit = ("fit", stored, "--n-components", 3, "--out", tmp_path / "m.gmm", *LOCAL)
    with dask.config.set(environment):
        ended = run(*fit)
        overridden = run(*fit, "--max-iter", 3, "--overwrite")
    assert ended.code == overridden.code == 0, ended.stderr
    assert (ended.result["n_iter"], overridden.result["n_iter"]) == (2, 3)
    assert not ended.result["converged"]
    assert any(event.get("kind") == "ConvergenceWarning" for event in ended.events)
    with dask.config.set({"dask-gmm.cli.max-itr": 2}):
        misspelt = run(*fit)
    assert misspelt.code == 2
    assert "dask-gmm.cli.max-itr" in misspelt.stderr


def test_help_does_not_wait_for_numpy() -> None:
    heavy = ("numpy", "dask", "sklearn", "zarr")
    code = f"import sys; from dask_gmm.cli import gmm; print([m for m in {heavy} if m in sys.modules])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert loaded.stdout.strip() == "[]"


def test_text_for_people(run: Any, stored: Path, tmp_path: Path) -> None:
    ended = run("fit", stored, "--n-components", 2, "--out", tmp_path / "m.gmm", *LOCAL, "--log", "human")
    assert ended.code == 0
    assert ended.events == []
    assert "bound" in ended.stderr
    assert json.dumps(ended.result)
