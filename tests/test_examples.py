"""The short examples run, each in a process of its own as a user starts it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("weighted_parquet", "Share of the old among people:  0.75"),
        ("ocean_variables", "water_mass(12, 20, 90, 180): warm at the surface 100%, at the bottom 0%"),
        ("dask_array_on_cluster", "rows of each component:"),
        ("xarray_regimes", "28% of the days and places: pressure 1035.0, temperature -4.0"),
        ("ocean_profiles", "100% of the profiles in the tropics are warm, 21% of all are too shallow"),
        ("embeddings", "served one by one: the same topic, True"),
        ("scaled_pipeline", "30.0% of the rows around [3. 3. 3.]"),
    ],
)
def test_example(name, expected, tmp_path):
    command = [sys.executable, EXAMPLES / f"{name}.py"]
    run = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=240, check=False)
    assert run.returncode == 0, run.stderr
    assert expected in run.stdout
    assert list(tmp_path.iterdir()) == []
