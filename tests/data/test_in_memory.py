"""Arrays in memory: blocks are views, and the source is its own reader."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.data import in_memory
from dask_gmm.data.in_memory import ArraySource
from tests.data.source_contract import ROWS, SourceContract


class TestArraySource(SourceContract):
    fingerprinted = True

    @pytest.fixture(autouse=True)
    def _small_blocks(self, monkeypatch):
        monkeypatch.setattr(in_memory, "_LEAST_BYTES", 200)

    def source(self, rows, folder):
        return ArraySource(rows)


def test_blocks_are_views():
    source = ArraySource(ROWS, {"sample_weight": np.ones(len(ROWS))})
    block = source.reader([0]).read(0)
    assert np.shares_memory(block.rows, ROWS)
    assert np.shares_memory(block.weights, source.weights)
