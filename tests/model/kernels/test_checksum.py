"""Checksums see every bit and the order of rows, and nothing else."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.model.kernels.checksum import checksum, continued


@pytest.fixture(params=[np.float32, np.float64])
def rows(request):
    return np.random.default_rng(0).normal(size=(301, 3)).astype(request.param)


def by_definition(rows):
    """The checksum in Python's integers."""
    total = 0
    for position, word in enumerate(rows.ravel().view(f"u{rows.itemsize}").tolist()):
        mixed = word ^ (position * 0x9E3779B97F4A7C15 & (2**64 - 1))
        mixed ^= mixed >> 32
        mixed = mixed * 0xBF58476D1CE4E5B9 & (2**64 - 1)
        total += mixed ^ (mixed >> 29)
    return total & (2**64 - 1)


def test_it_is_the_same_on_every_processor(rows):
    assert checksum(rows) == by_definition(rows)


def test_the_layout_in_memory_does_not_matter(rows):
    spread = np.zeros((301, 6), rows.dtype)[:, ::2]
    spread[:] = rows
    assert checksum(rows) == checksum(np.asfortranarray(rows)) == checksum(spread)


@pytest.mark.parametrize(
    "change",
    [
        lambda rows: rows[::-1],
        lambda rows: rows[:, [0, 2, 1]],
        lambda rows: np.nextafter(rows, rows.dtype.type(9)),
        lambda rows: -rows,  # an even number of highest bits
        lambda rows: np.where(np.arange(301)[:, None] < 2, -rows, rows),
        lambda rows: np.where(np.arange(301)[:, None] == 300, 0, rows),
        lambda rows: np.roll(rows, 1, axis=0),
    ],
)
def test_changes_are_seen(rows, change):
    changed = np.ascontiguousarray(change(rows), dtype=rows.dtype)
    assert checksum(changed) != checksum(rows)


def test_each_single_bit_is_seen(rows):
    few = rows[:4]
    found = set()
    for bit in range(few.nbytes * 8):
        changed = few.copy()
        changed.view(np.uint8).reshape(-1)[bit // 8] ^= 1 << bit % 8
        found.add(checksum(changed))
    assert len(found | {checksum(few)}) == few.nbytes * 8 + 1


def test_blocks_in_another_order_or_cut_elsewhere_are_seen(rows):
    a, b = rows[:100], rows[100:]
    forth = continued(continued(0, 100, checksum(a)), 201, checksum(b))
    back = continued(continued(0, 201, checksum(b)), 100, checksum(a))
    assert forth != back
    assert continued(0, 2, 0) != continued(0, 3, 0)
