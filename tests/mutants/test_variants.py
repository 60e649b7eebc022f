"""The tests notice wrong code."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


@pytest.mark.long
@pytest.mark.timeout(2400)
def test_each_wrong_variant_is_noticed():
    done = subprocess.run(
        [sys.executable, str(Path(__file__).with_name("run.py"))], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
