"""README's first block of Python runs as it stands, in an empty folder."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import zarr

README = (Path(__file__).parents[1] / "README.md").read_text()


def test_the_first_block_runs_from_an_empty_folder(tmp_path: Path) -> None:
    first, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    code = f"{first}\nimport numpy as np\nassert serving.predict(np.zeros((1, 8))).shape == (1,)\n"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    written = zarr.open_group(tmp_path / "labels.zarr")
    assert written["labels"].shape == (100_000,)
    assert 900 < written["anomaly"][:].sum() < 1100
    assert (tmp_path / "model.gmm").exists()


def test_the_other_blocks_name_what_exists(tmp_path: Path) -> None:
    _, second, *_ = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
    before = "import numpy as np, pandas\nrows = np.random.default_rng(0).normal(size=(500, 2))\n"
    code = f"{before}{second}\nassert len(pandas.DataFrame(selection.results_)) == 20"
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
