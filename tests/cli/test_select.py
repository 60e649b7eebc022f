"""`dask gmm select` does what the estimator does."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_zarr
from dask_gmm.cli.options import SELECT

LOCAL = ("--n-workers", 0, "--threads", 1, "--random-state", 0)


def test_the_choice_is_the_estimators(run: Any, stored: Path, tmp_path: Path, assert_same_model: Any) -> None:
    out = tmp_path / "m.gmm"
    types = ("--covariance-type", "full", "--covariance-type", "diag")
    ended = run("select", stored, "--n-components", "1-2,4", *types, "--out", out, *LOCAL)
    assert ended.code == 0, ended.stderr
    expected = GaussianMixtureIC([1, 2, 4], covariance_type=["full", "diag"], random_state=0)
    expected.fit(from_zarr(stored))
    assert_same_model(GaussianMixture.load(out), expected.best_estimator_, rtol=0)
    lines = ended.result["candidates"]
    assert [line["n_components"] for line in lines] == list(expected.results_["n_components"])
    np.testing.assert_array_equal([line["bic"] for line in lines], expected.results_["bic"])
    assert ended.result["n_components"] == expected.n_components_
    assert any(event["event"] == "pass" for event in ended.events)


def test_people_get_a_table(run: Any, stored: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.gmm"
    ended = run("select", stored, "--n-components", "2,3", "--out", out, *LOCAL, "--log", "human")
    (chosen,) = [line for line in ended.stderr.splitlines() if line.startswith("*")]
    assert chosen.split()[1:3] == [str(ended.result["n_components"]), "full"]


def test_every_parameter_is_an_option() -> None:
    parameters = inspect.signature(GaussianMixtureIC).parameters
    assert {option.name for option in SELECT} == set(parameters) - {"nan"}  # an option of the source
    spelt = {"n_components": "1-10", "covariance_type": None, "n_factors": "1"}
    for option in SELECT:
        assert option.default == spelt.get(option.name, parameters[option.name].default)


@pytest.mark.parametrize("given", ["a", "1-", "1,,2"])
def test_numbers_that_are_none(run: Any, stored: Path, tmp_path: Path, given: str) -> None:
    ended = run("select", stored, "--n-components", given, "--out", tmp_path / "m.gmm", *LOCAL)
    assert ended.code == 2
    assert "--n-components" in ended.stderr


def test_one_configured_value_for_an_option_that_takes_several(
    run: Any, stored: Path, tmp_path: Path
) -> None:
    with dask.config.set({"dask-gmm.cli.covariance-type": "diag"}):
        ended = run("select", stored, "--n-components", "1", "--out", tmp_path / "m.gmm", *LOCAL)
    assert ended.code == 0, ended.stderr
    assert ended.result["covariance_type"] == "diag"
