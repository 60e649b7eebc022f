"""A driver killed with its whole process group, at any moment: the next one ends with the same bits."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).with_name("killed_fits.py")


def run(folder, number, n_kills):
    command = [sys.executable, SCRIPT, folder, str(int(number)), str(n_kills)]
    return json.loads(subprocess.run(command, check=True, capture_output=True, timeout=200).stdout)


def assert_as_quiet(resumed, quiet):
    assert resumed["digest"] == quiet["digest"]
    assert resumed["code"] == 0
    assert resumed["files"] == ["fit"]


@pytest.mark.long
def test_kill_9_at_twenty_moments(tmp_path):
    told = run(tmp_path, signal.SIGKILL, 20)
    quiet, torn = told["quiet"], 0
    for kill in told["kills"]:
        killed, resumed = kill["killed"], kill["resumed"]
        assert_as_quiet(resumed, quiet)
        # The passes that were complete, but for one that was killed before it was saved.
        complete = math.floor(killed["passes"])
        assert quiet["passes"] - resumed["passes"] in (complete, complete - 1, 0)
        if "fit" in killed["files"]:
            assert quiet["passes"] - resumed["passes"] >= complete - 1
        torn += any(name.startswith(".fit.") and name != ".fit.lock" for name in killed["files"])
    assert sum(kill["killed"]["code"] == -signal.SIGKILL for kill in told["kills"]) >= 18
    # Some were killed inside the write of the checkpoint.
    assert torn >= 2


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.long
def test_a_signal_leaves_the_last_pass_saved(tmp_path, number):
    told = run(tmp_path, number, 4)
    for kill in told["kills"]:
        assert_as_quiet(kill["resumed"], told["quiet"])
        complete = math.floor(kill["killed"]["passes"])
        if "fit" in kill["killed"]["files"]:
            assert told["quiet"]["passes"] - kill["resumed"]["passes"] in (complete, complete - 1)
        if number == signal.SIGINT and kill["killed"]["code"] != 0:
            # An interrupt leaves nothing but the checkpoint.
            assert kill["killed"]["files"] in ([], ["fit"])
