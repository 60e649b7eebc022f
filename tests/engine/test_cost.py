"""The estimate of a pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from dask_gmm.data.arrays import ArraySource
from dask_gmm.engine.cost import Cost, measure, read_largest


class Sleeping:
    """A work that takes a known time."""

    def start(self) -> int:
        return 0

    def add(self, value: int, block: Any) -> int:
        import time

        time.sleep(0.02)
        return value + 1

    def merge(self, values: Any) -> int:
        return sum(values)


def test_measures_a_chunk() -> None:
    block, read_seconds = read_largest(ArraySource(np.ones((1000, 4))))
    assert block.rows.shape == (1000, 4)
    cost = measure(block, read_seconds, Sleeping())
    assert 0.02 <= cost.work_seconds * 32_000 < 0.2
    assert cost.read_seconds < cost.work_seconds


def test_threads_share_the_groups() -> None:
    cost = Cost(read_seconds=1e-9, work_seconds=2e-9)
    one, four = cost.of_pass(10**10, 16, 1), cost.of_pass(10**10, 16, 4)
    assert one == pytest.approx(20, rel=0.01)
    assert four == pytest.approx(5, rel=0.02)
    # Five rounds of four for 17 groups, and never less than one group takes.
    assert cost.of_pass(10**10, 17, 4) > four
    assert cost.of_pass(10**10, 16, 1000) == pytest.approx(20 / 16, rel=0.05)
    assert cost.of_pass(0, 0, 4) == 0
