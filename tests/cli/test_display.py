"""What people see of passes."""

from __future__ import annotations

import itertools
import json

import pytest

from dask_gmm.cli.display import Display, pass_line
from dask_gmm.cli.log import Log
from dask_gmm.cli.outcome import _shown
from dask_gmm.cli.progress import PassDone, passes_left


def test_a_line_fits_a_terminal_of_80_columns() -> None:
    widest = 0
    for rows, bound, seconds in itertools.product((7, 999_999, 40_000_000_000), (-1.5, -1234.5), (3, 86_399)):
        done = PassDone(100, "pass", 1.0, rows, rows * 64, bound, -3.2e-4, 1e-3, seconds)
        widest = max(widest, len(pass_line(done)))
    assert 70 < widest < 80


def test_what_is_not_known_is_left_out() -> None:
    line = pass_line(PassDone(1, "start", 1.0, None, None, None, None, None, None))
    assert line == "  1  found the start"
    first = pass_line(PassDone(2, "pass", 1.0, 100, None, -3.0, None, None, None))
    assert first == "  2    100 rows  bound -3.00000"


def test_passes_left() -> None:
    assert passes_left([-3.0], 1e-3, 100) is None
    assert passes_left([-3.0, -2.0], 1e-3, 100) == 98
    # Gains halve: 0.5 now, below 0.1 after three more.
    assert passes_left([-3.0, -2.0, -1.5], 0.1, 100) == 3
    assert passes_left([-3.0, -2.0, -1.5], 0.1, 4) == 1
    assert passes_left([-3.0, -2.0, -1.95], 0.1, 100) == 0
    # Gains that grow, and a tolerance that is never met, say nothing but the most passes.
    assert passes_left([-3.0, -2.9, -2.0], 0.1, 10) == 7
    assert passes_left([-3.0, -2.0, -1.5], 0.0, 10) == 7


def test_a_result_on_a_terminal_is_the_same_json() -> None:
    result = {"a": 1.5, "means": [[1.0, 2.0], [3.0, 4.0]], "lines": [{"x": None}], "names": ["b"], "none": []}
    shown = _shown(result)
    assert json.loads(shown) == result
    assert max(map(len, shown.splitlines())) < 20


def test_the_clock_goes_on_while_a_start_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("rich")
    monkeypatch.setenv("COLUMNS", "80")
    display = Display(Log("human"))
    with display:
        display.share_done(0.5)
        (task,) = display._bar.tasks
        assert (task.description, round(task.percentage)) == ("reading", 50)
        display.share_done(1.0)
        assert (task.description, round(task.percentage)) == ("computing", 100)
        assert task.finished_time is None
