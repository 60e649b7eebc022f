"""Groups of chunks: complete, in order, balanced, bounded in number, and decided by the data alone."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from dask_gmm.data.source import Chunk
from dask_gmm.engine.plan import Plan, _consecutive

MEGABYTE = 1 << 20


def plan(sizes, in_memory=False):
    chunks = [Chunk(str(number), None, size) for number, size in enumerate(sizes)]
    return Plan.of(SimpleNamespace(chunks=chunks, in_memory=in_memory)).groups


def bytes_of(groups, sizes):
    return [sum(sizes[index] for index in group) for group in groups]


@settings(max_examples=100, deadline=None, derandomize=True)
@given(st.lists(st.none() | st.integers(0, 200 * MEGABYTE), max_size=300))
def test_every_chunk_is_in_one_group_in_order(sizes):
    groups = plan(sizes)
    assert [index for group in groups for index in group] == list(range(len(sizes)))
    assert all(len(group) for group in groups)


@pytest.mark.parametrize("n_chunks", [1, 2, 1000, 100_000])
@pytest.mark.parametrize("size", [1, MEGABYTE, 100 * MEGABYTE])
def test_the_scheduler_sees_hundreds_of_groups_at_most(n_chunks, size):
    assert 1 <= len(plan([size] * n_chunks)) <= 1024


def test_small_chunks_share_a_group_and_large_ones_do_not():
    assert plan([1000] * 50) == (range(0, 50),)
    assert plan([64 * MEGABYTE] * 5) == tuple(range(n, n + 1) for n in range(5))


def test_many_large_chunks_come_several_to_a_group():
    # So that the next one is read while one is worked on.
    assert {len(group) for group in plan([64 * MEGABYTE] * 2000)} == {4}
    assert len(plan([64 * MEGABYTE] * 256)) == 256


def test_chunks_of_unknown_size_are_groups_of_their_own():
    assert len(plan([None] * 7)) == 7


def test_rows_in_memory_are_cut_finer():
    sizes = [MEGABYTE] * 64
    assert len(plan(sizes, in_memory=True)) > len(plan(sizes))


@settings(max_examples=50, deadline=None, derandomize=True)
@given(
    st.lists(st.integers(1, 8 * MEGABYTE), min_size=200, max_size=300),
)
def test_groups_are_balanced(sizes):
    loads = bytes_of(plan(sizes), sizes)
    mean = sum(loads) / len(loads)
    # Chunks are not cut, so a group may miss its share by the largest chunk.
    assert max(loads) <= mean + max(sizes)
    assert min(loads) >= mean - max(sizes)


def test_nothing_to_plan():
    assert plan([]) == ()


def cut_one_by_one(sizes, target):
    """Cut as `Plan` does, chunk by chunk."""
    total = sum(sizes)
    n_groups = max(1, min(len(sizes), round(total / target)))
    groups = []
    first = done = 0
    for index, size in enumerate(sizes):
        done += size
        share = total * (len(groups) + 1) / n_groups
        if done + (sizes[index + 1] if index + 1 < len(sizes) else 0) / 2 > share:
            groups.append(range(first, index + 1))
            first = index + 1
    if first < len(sizes):
        groups.append(range(first, len(sizes)))
    return groups


@given(st.lists(st.integers(0, 50), max_size=60), st.integers(1, 300))
def test_groups_are_those_of_a_walk_along_the_chunks(sizes, target):
    assert _consecutive(np.array(sizes, dtype=np.int64), target) == cut_one_by_one(sizes, target)
