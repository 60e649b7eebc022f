"""What a worker needs is known beforehand, and the advice for one that is too small is right."""

from __future__ import annotations

import re

import pytest
from dask.utils import parse_bytes

from dask_gmm.engine.memory import BASE_BYTES, READING_BYTES, ChunkTooLargeError, TaskMemory

MEGABYTE = 1 << 20


@pytest.mark.parametrize("reading", [0, READING_BYTES])
@pytest.mark.parametrize("room", [100, 120, 300])
@pytest.mark.parametrize("n_threads", [1, 2])
def test_the_advice_fits_and_more_does_not(room, n_threads, reading):
    limit = BASE_BYTES + n_threads * room * MEGABYTE
    memory = TaskMemory(500 * MEGABYTE, "chunk c/0/0", 10_000, reading)
    with pytest.raises(ChunkTooLargeError, match="chunk c/0/0") as error:
        memory.check(limit, n_threads)
    advised = parse_bytes(re.search(r"at most ([\d.]+ \w+) a chunk", str(error.value))[1])
    TaskMemory(int(0.95 * advised), "", 10_000, reading).check(limit, n_threads)
    with pytest.raises(ChunkTooLargeError):
        TaskMemory(int(1.1 * advised), "", 10_000, reading).check(limit, n_threads)
    needed = parse_bytes(re.search(r"memory_limit to ([\d.]+ \w+)", str(error.value))[1])
    memory.check(int(1.01 * needed), n_threads)


def test_no_limit_is_no_problem():
    TaskMemory(10**12, "", 0).check(0, 4)
