"""Every example runs as it is, and says what it found; the index names each of them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
SCRIPTS = sorted(path.name for path in EXAMPLES.glob("*.py"))
# Makes 1.7 GiB of rows; the command of the README runs it.
LARGE = {"quickstart.py"}
# Drawn as they are, without a display.
ENVIRONMENT = {**os.environ, "MPLBACKEND": "agg"}


@pytest.mark.long
@pytest.mark.parametrize("name", [name for name in SCRIPTS if name not in LARGE])
def test_it_runs(name: str, tmp_path: Path) -> None:
    more = [str(tmp_path / "picture.svg")] if name == "front_page.py" else []
    command = [sys.executable, str(EXAMPLES / name), *more]
    done = subprocess.run(command, cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=280)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout.strip() or more


def test_the_index_names_all() -> None:
    index = (EXAMPLES / "README.md").read_text()
    assert set(re.findall(r"\]\((\w+\.py)\)", index)) == set(SCRIPTS)
