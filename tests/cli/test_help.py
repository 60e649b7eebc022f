"""What people read: help in groups with examples that parse, and models as tables."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import click
import pytest
from click.testing import CliRunner

from dask_gmm import GaussianMixture
from dask_gmm.cli import gmm
from dask_gmm.cli.grouped import GroupedCommand

COMMANDS = sorted(gmm.commands)


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_parse(name: str) -> None:
    command = gmm.commands[name]
    assert isinstance(command, GroupedCommand)
    program, group, own, *arguments = shlex.split(command.example)
    assert (program, group, own) == ("dask", "gmm", name)
    # What does not parse raises.
    command.make_context(name, arguments)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_lists_every_option(name: str) -> None:
    shown = CliRunner().invoke(gmm, [name, "--help"]).output
    command = gmm.commands[name]
    assert isinstance(command, GroupedCommand)
    assert command.example in " ".join(shown.split())
    listed = [line.split()[0] for line in shown.splitlines() if line.lstrip().startswith("--")]
    declared = [option.opts[0] for option in command.params if isinstance(option, click.Option)]
    assert set(declared) <= set(listed)


def test_options_of_a_kind_stand_together() -> None:
    shown = CliRunner().invoke(gmm, ["fit", "--help"]).output
    places = [shown.index(title) for title in ("Options:", "Mixture:", "Rows:", "Where it runs:")]
    assert places == sorted(places)
    assert places[1] < shown.index("--covariance-type") < places[2] < shown.index("--column") < places[3]


def test_a_model_as_a_table(run: Any, tmp_path: Path, make_rows: Any) -> None:
    model = tmp_path / "m.gmm"
    gm = GaussianMixture(3, random_state=0).fit(make_rows(300, 9, 3))
    gm.save(model)
    ended = run("info", model, "--log", "human")
    lines = ended.stderr.splitlines()
    assert "3 components (full) of 9 features" in lines[1]
    heaviest = max(range(3), key=lambda k: gm.weights_[k])
    assert lines[4].split()[:2] == [str(heaviest), f"{100 * gm.weights_[heaviest]:.1f}"]
    assert lines[-1] == "and 6 more features"
    assert max(map(len, lines[1:])) <= 80
    assert len(ended.result["means"][0]) == 9
    assert run("info", model, "--log", "json").stderr == ""


def test_on_a_terminal_the_table_is_enough(tmp_path: Path, make_rows: Any) -> None:
    model = tmp_path / "m.gmm"
    GaussianMixture(2, random_state=0).fit(make_rows(100, 2, 2)).save(model)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "dask_gmm", "info", str(model)]
    subprocess.run(command, stdout=theirs, stderr=theirs, check=True, timeout=60)
    os.close(theirs)
    shown = os.read(ours, 1 << 16).decode()
    os.close(ours)
    assert "2 components (full) of 2 features" in shown
    assert "{" not in shown
