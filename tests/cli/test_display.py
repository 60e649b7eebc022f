"""What people see of passes."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm import GaussianMixture, GaussianMixtureIC, from_array
from dask_gmm.cli.display import Display, pass_line
from dask_gmm.cli.log import Log
from dask_gmm.cli.outcome import _shown
from dask_gmm.cli.progress import PassDone, PassReport

MakeRows = Callable[..., NDArray[np.float64]]


def test_a_line_fits_a_terminal_of_80_columns() -> None:
    widest = 0
    for rows, bound, seconds in itertools.product((7, 999_999, 40_000_000_000), (-1.5, -1234.5), (3, 86_399)):
        done = PassDone(100, "pass", 1.0, rows, rows * 64, bound, -3.2e-4, 1e-3, seconds)
        widest = max(widest, len(pass_line(done)))
    assert 70 < widest < 80


def test_what_is_not_known_is_left_out() -> None:
    line = pass_line(PassDone(1, "start", 1.0, None, None, None, None, None, None))
    assert line == "  1  drew the rows to start from"
    first = pass_line(PassDone(2, "pass", 1.0, 100, None, -3.0, None, None, None))
    assert first == "  2    100 rows  bound -3.00000"


def test_passes_without_a_bound_say_what_they_were_for() -> None:
    lines = [
        pass_line(PassDone(7, name, 1.0, None, None, None, None, None, None))
        for name in ("evaluation", "check", "pass")
    ]
    told = ["evaluated the candidates", "the rows are still the same", "every restart collapsed"]
    assert lines == [f"  7  {text}" for text in told]


def test_a_step_that_was_undone_has_no_gain_but_a_gap() -> None:
    line = pass_line(PassDone(8, "pass", 1.0, None, None, -3.0, 0.0, 1e-3, 32.0, undone=True))
    assert line == "  8  bound -3.00000 undone  gap 1e-03  0:32 left"


def passes_of(estimator: Any, rows: Any) -> list[PassDone]:
    """Return what the bar hears while `estimator` is fitted."""
    heard: list[PassDone] = []
    estimator.set_callbacks(PassReport(from_array(rows), heard.append, lambda share: None))
    estimator.fit(rows)
    return heard


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_bar_tells_what_the_history_holds(make_rows: MakeRows, dtype: str) -> None:
    rows = da.from_array(make_rows(3000, 2, 3, spread=1.0).astype(dtype), chunks=(1000, 2))
    gm = GaussianMixture(
        3, init_params="random", accelerate=True, tol=1e-9, max_iter=300, n_init=2, random_state=5
    )
    heard = [done for done in passes_of(gm, rows) if done.lower_bound is not None]
    every = [one for iterations in gm.history_.restarts for one in iterations]
    for done in heard:
        same = [one for one in every if one.lower_bound == done.lower_bound and one.rejected == done.undone]
        assert same
        gaps = [None if np.isnan(one.remaining) else one.remaining for one in same]
        assert done.gap in gaps
    undone = [done for done in heard if done.undone]
    assert undone
    # Neither a step that was undone nor rounding to float32 looks like the end.
    assert all(done.gap for done in undone)
    assert all(done.seconds_left is None or done.seconds_left > 0 for done in heard[:-1])
    assert heard[-1].seconds_left == 0


def test_a_sweep_tells_when_its_criterion_will_be_decided(make_rows: MakeRows) -> None:
    rows = da.from_array(make_rows(3000, 2, 3, spread=3.0), chunks=(1000, 2))
    heard = passes_of(GaussianMixtureIC(range(1, 5), random_state=0), rows)
    assert [done.name for done in heard] == ["start", *["pass"] * (len(heard) - 2), "evaluation"]
    told = [done for done in heard if done.seconds_left is not None]
    # Not the thousand passes that max_iter allows.
    assert len(told) > 3
    assert all(done.seconds_left / done.seconds <= 3 * done.number for done in told)
    assert told[-1].seconds_left == 0


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
        # Neither full nor at an end: it pulses.
        assert (task.description, task.total, task.finished_time) == ("computing", None, None)
        display.share_done(0.25)
        assert (task.description, round(task.percentage)) == ("reading", 25)
