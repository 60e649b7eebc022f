"""Stores of rows with holes and errors, fitted, labelled and imputed by the commands on workers of 1 GB."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest

pytestmark = [pytest.mark.long, pytest.mark.timeout(1200)]


@pytest.mark.parametrize("name", ["holes", "errors", "grid"])
def test_two_million_rows(monkeypatch, tmp_path, name):
    """Every label and every imputed value is looked at; see the benchmark."""
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("benchmarks")))
    benchmark = importlib.import_module("out_of_core")
    found = benchmark.TASKS[name](tmp_path, 2_000_000)
    print(found)
    for step in found.values():
        # The command itself, and two workers that may not have more.
        assert max(step["MB"]) < 1000
