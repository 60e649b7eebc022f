"""The estimate of a pass."""

from __future__ import annotations

import time

import numpy as np
import pytest

from dask_gmm.data.source import Chunk
from dask_gmm.engine.pass_cost import Cost, measure, read_largest
from dask_gmm.engine.plan import Plan

N_CHUNKS, ROWS = 8, 1000
CHUNK_BYTES = ROWS * 4 * 8


class Sleeping:
    """A reduction that takes a known time for a chunk."""

    def zero(self):
        return 0

    def update(self, value, block):
        time.sleep(0.02)
        return value + 1

    def combine(self, values):
        return sum(values)


@pytest.fixture
def make_sleepy(make_source):
    """Chunks that take so many seconds to come."""

    def make(seconds, n_chunks=N_CHUNKS):
        source = make_source([np.ones((ROWS, 4))] * n_chunks, seconds=lambda index: seconds)
        source.chunks = [Chunk(f"piece {index}", ROWS, CHUNK_BYTES) for index in range(n_chunks)]
        return source

    return make


def test_reads_the_largest_chunk(make_source):
    source = make_source([np.ones((n, 2)) for n in (3, 5, 4)])
    source.chunks = [Chunk("", n, 16 * n) for n in (3, 5, 4)]
    assert read_largest(source).rows.shape == (5, 2)


@pytest.mark.parametrize("reading", [0.01, 0.02, 0.04])
def test_measures_what_a_pass_waits_for(make_sleepy, reading):
    source = make_sleepy(reading)
    cost = measure(source, Plan.of(source).groups, Sleeping(), 1)
    assert cost.reading * CHUNK_BYTES >= reading
    assert cost.arithmetic * CHUNK_BYTES >= 0.02
    # Look-ahead hides the shorter of the two, apart from the first chunk of a group.
    assert cost.both * CHUNK_BYTES >= max(reading, 0.02)
    assert cost.both < 0.9 * (cost.reading + cost.arithmetic)
    assert cost.seconds_per_pass(N_CHUNKS * CHUNK_BYTES, 1, 1) >= N_CHUNKS * max(reading, 0.02)


def test_a_large_group_is_sampled(make_sleepy):
    source = make_sleepy(0.001, 100)
    source.chunks = [Chunk("", ROWS, 64 << 20)] * 100
    measure(source, [range(100)], Sleeping(), 1)
    assert max(source.reads) == 3


def test_threads_share_the_groups():
    cost = Cost(reading=1e-9, arithmetic=2e-9, both=2e-9)
    one, four = cost.seconds_per_pass(10**10, 16, 1), cost.seconds_per_pass(10**10, 16, 4)
    assert one == pytest.approx(20, rel=0.01)
    assert four == pytest.approx(5, rel=0.02)
    # Five rounds of four for 17 groups, and never less than one group takes.
    assert cost.seconds_per_pass(10**10, 17, 4) > four
    assert cost.seconds_per_pass(10**10, 16, 1000) == pytest.approx(20 / 16, rel=0.05)
    assert cost.seconds_per_pass(0, 0, 4) == 0
