"""Factor analysers from the shell: fitted, described, planned and selected."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr

from dask_gmm import GaussianMixture

LOCAL = ("--n-workers", "0")
FACTOR = ("--covariance-type", "factor", "--n-factors", "2")


@pytest.fixture
def stored(tmp_path: Path, make_rows: Any) -> Path:
    """Rows of six features in a Zarr array."""
    zarr.create_array(tmp_path / "x.zarr", data=make_rows(900, 6, 3), chunks=(200, 6))
    return tmp_path / "x.zarr"


def test_fit_and_info(run: Any, stored: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.gmm"
    ended = run("fit", stored, "--n-components", "3", *FACTOR, "--random-state", "0", "--out", model, *LOCAL)
    assert ended.code == 0
    expected = GaussianMixture(3, covariance_type="factor", n_factors=2, random_state=0)
    expected.fit(zarr.open_array(stored, mode="r"))
    np.testing.assert_array_equal(GaussianMixture.load(model).factor_loadings_, expected.factor_loadings_)
    assert run("info", model).result["covariance_type"] == "factor(2)"


def test_select(run: Any, stored: Path, tmp_path: Path) -> None:
    model = tmp_path / "m.gmm"
    given = ("--n-components", "2,3", "--covariance-type", "factor", "--covariance-type", "diag")
    ended = run("select", stored, *given, "--n-factors", "1,2", "--out", model, *LOCAL)
    assert ended.code == 0
    kinds = {line["covariance_type"] for line in ended.result["candidates"]}
    assert kinds == {"factor(1)", "factor(2)", "diag"}


def test_plan(run: Any, stored: Path) -> None:
    ended = run("plan", stored, "--n-components", "3", *FACTOR, *LOCAL)
    assert ended.code == 0


def test_too_many_factors(run: Any, stored: Path, tmp_path: Path) -> None:
    ended = run(
        "fit",
        stored,
        "--n-components",
        "3",
        "--covariance-type",
        "factor",
        "--n-factors",
        "6",
        "--out",
        tmp_path / "m.gmm",
        *LOCAL,
    )
    assert ended.code != 0
    assert "must be less than the number of features, 6" in ended.stderr
