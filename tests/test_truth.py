"""What is fitted to rows with holes and errors is the truth but for chance, where simpler ways fail."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest


@pytest.fixture
def truth(monkeypatch):
    monkeypatch.syspath_prepend(str(Path(__file__).with_name("benchmarks")))
    return importlib.import_module("truth")


@pytest.mark.parametrize("share", [0.1, 0.3, pytest.param(0.5, marks=pytest.mark.long)])
def test_values_missing_at_random(truth, share):
    found = truth.compared(truth.OF_HOLES, 3000, 6, share=share)
    ours, dropping, filling = (found[name] for name in truth.OF_HOLES)
    assert ours[0] < 0.45
    assert ours[1] < 2.5
    for error, bias in (dropping, filling):
        assert error > 0.4
        assert bias > 6.0
        assert error > 2.0 * ours[0]


@pytest.mark.parametrize(
    ("deviation", "most", "times"),
    [(0.3, 0.2, 1.3), (1.0, 0.35, 3.0), pytest.param(3.0, 1.6, 5.0, marks=pytest.mark.long)],
)
def test_values_measured_with_errors(truth, deviation, most, times):
    found = truth.compared(truth.OF_ERRORS, 3000, 6, deviation=deviation)
    ours, ignoring = (found[name] for name in truth.OF_ERRORS)
    assert ours[0] < most
    assert ours[1] < 2.5
    assert ignoring[0] > times * ours[0]
    assert ignoring[1] > 1.5 * ours[1]


def test_shares_are_what_they_say(truth):
    rng = np.random.default_rng(0)
    rows = truth.drawn(rng, 20_000)
    for share in truth.SHARES:
        holes = np.isnan(truth.with_holes(rng, rows, share))
        assert holes.mean() == pytest.approx(share, abs=0.01)
        assert not holes[:, 0].any()
