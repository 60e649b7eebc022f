"""Models that carry their steps: fitted, described, used and converted from the shell."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest
import sklearn.decomposition
import sklearn.mixture
import sklearn.preprocessing
import zarr
from click.testing import CliRunner
from numpy.testing import assert_array_equal
from sklearn.pipeline import make_pipeline

from dask_gmm.cli.commands import gmm
from dask_gmm.preprocessing import load_pipeline


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(6)
    centres = np.array([[0.0, 0, 0, 0], [50.0, 0.2, -7, 1]])
    return centres[rng.integers(2, size=600)] + rng.normal(size=(600, 4)) * [9.0, 0.02, 1.0, 0.1]


@pytest.fixture(scope="module")
def expected(rows):
    steps = sklearn.preprocessing.StandardScaler(), sklearn.decomposition.PCA(2)
    return make_pipeline(*steps, sklearn.mixture.GaussianMixture(2, random_state=0)).fit(rows)


def run(*arguments):
    result = CliRunner().invoke(gmm, [str(argument) for argument in arguments])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


@pytest.fixture(params=["zarr", "parquet"])
def source(request, rows, tmp_path):
    path = tmp_path / f"x.{request.param}"
    if request.param == "zarr":
        zarr.create_array(path, data=rows, chunks=(100, 4))
    else:
        pd.DataFrame(rows, columns=list("abcd")).to_parquet(path, row_group_size=100)
    return path


STEPS = ("--standardize", "--pca", 2, "--n-workers", 0, "--random-state", 0)


def test_the_whole_way(source, rows, expected, tmp_path):
    model = tmp_path / "m.gmm"
    told = run("fit", source, "--n-components", 2, "--out", model, *STEPS)
    assert told["steps"] == ["StandardScaler", "PCA"]
    info = run("info", model)
    assert [step["kind"] for step in info["steps"]] == ["StandardScaler", "PCA"]
    assert info["steps"][0]["n_features_in"] == 4
    score = run("score", source, model, "--n-workers", 0)["score"]
    assert score == pytest.approx(expected.score(rows), rel=1e-9)
    out = tmp_path / "labels.parquet"
    run("predict", source, model, out, "--n-workers", 0)
    assert_array_equal(pd.read_parquet(out)["labels"], expected.predict(rows))
    assert_array_equal(load_pipeline(model).predict(rows), expected.predict(rows))
    counts = [line["n_rows"] for line in run("summarize", source, model, "--n-workers", 0)["components"][::2]]
    assert sum(counts) == 600


def test_converted_for_serving(source, rows, expected, tmp_path):
    skops = pytest.importorskip("skops.io")
    model = tmp_path / "m.gmm"
    run("fit", source, "--n-components", 2, "--out", model, *STEPS)
    run("convert", model, tmp_path / "m.skops")
    plain = skops.load(tmp_path / "m.skops", trusted=[])
    assert_array_equal(plain.predict(rows), expected.predict(rows))


def test_selection_takes_steps_too(source, tmp_path):
    model = tmp_path / "m.gmm"
    told = run("select", source, "--n-components", "1-3", "--out", model, *STEPS)
    assert told["n_components"] == len(load_pipeline(model)[-1].weights_)
    assert len(load_pipeline(model)) == 3


@pytest.mark.parametrize("value", ["0", "-1", "1.5", "many"])
def test_a_number_or_a_share(source, value, tmp_path):
    arguments = ["fit", str(source), "--n-components", "2", "--out", str(tmp_path / "m.gmm"), "--pca", value]
    result = CliRunner().invoke(gmm, arguments)
    assert result.exit_code == 2
    assert "share of the variance" in result.stderr
