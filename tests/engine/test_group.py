"""Chunks are read ahead of the arithmetic: in order, several at once from a store, few in memory."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

from dask_gmm.data.source import Block
from dask_gmm.engine.cache import KeptBlocks
from dask_gmm.engine.group import run_group
from dask_gmm.engine.read_ahead import AHEAD_BYTES, Blocks, Reading, look_ahead
from dask_gmm.errors import DataError

N_CHUNKS = 12


class SlowStore:
    """Chunks that take a while to come; chunk i is one row of i."""

    def __init__(self, seconds=0.02, broken=None):
        self.seconds, self.broken = seconds, broken
        self.reading = self.most_reading = self.alive = self.most_alive = 0
        self.lock = threading.Lock()
        self.begun = [threading.Event() for _ in range(N_CHUNKS)]

    def read(self, index):
        with self.lock:
            self.reading += 1
            self.alive += 1
            self.most_reading = max(self.most_reading, self.reading)
            self.most_alive = max(self.most_alive, self.alive)
        self.begun[index].set()
        # Later chunks come sooner: the order is not the store's.
        time.sleep(self.seconds * (1.5 - index / N_CHUNKS))
        with self.lock:
            self.reading -= 1
        if index == self.broken:
            raise DataError(f"chunk {index} is broken")
        rows = np.full((1, 1), float(index))
        return Block(rows=rows, name=f"chunk {index}", index=index, numbers=lambda: np.arange(1))


class Slow:
    """A reduction that takes a while for each block and lists them."""

    def __init__(self, store, seconds=0.0):
        self.store, self.seconds = store, seconds

    def zero(self):
        return []

    def update(self, value, block):
        time.sleep(self.seconds)
        with self.store.lock:
            self.store.alive -= 1
        return [*value, int(block.rows[0, 0])]


@pytest.mark.parametrize("ahead", [0, 1, 4])
def test_in_order_and_as_many_at_once_as_allowed(ahead):
    store = SlowStore()
    (value,) = run_group(Blocks(store, range(N_CHUNKS), ahead), [Slow(store, 0.005)])
    assert value == list(range(N_CHUNKS))
    assert store.most_reading == max(1, ahead)
    assert store.most_alive <= 1 + ahead


class Waiting(Slow):
    """A reduction on a block that ends only when the next one is being read."""

    def update(self, value, block):
        following = int(block.rows[0, 0]) + 1
        if following < N_CHUNKS:
            assert self.store.begun[following].wait(30)
        return super().update(value, block)


def test_reading_hides_behind_arithmetic():
    store = SlowStore(0.001)
    assert run_group(Blocks(store, range(N_CHUNKS), 1), [Waiting(store)]) == [list(range(N_CHUNKS))]


def test_an_error_of_reading_ends_the_group():
    store = SlowStore(broken=5)
    reduction = Slow(store)
    with pytest.raises(DataError, match="chunk 5 is broken"):
        run_group(Blocks(store, range(N_CHUNKS), 3), [reduction])
    assert store.reading == 0


def test_kept_blocks_are_the_same_blocks():
    store = SlowStore()
    kept = KeptBlocks(Reading(store, range(3, 9), 4)).reading
    assert [int(block.rows[0, 0]) for block in kept.begin().each()] == list(range(3, 9))
    assert store.most_reading == 4


@pytest.mark.parametrize(
    ("stored", "in_memory", "n_bytes", "expected"),
    [
        (True, False, AHEAD_BYTES // 4, 4),
        (True, False, 100, 16),
        (True, False, 2 * AHEAD_BYTES, 1),
        (True, False, None, 1),
        (False, False, 100, 1),
        (False, True, 100, 0),
    ],
)
def test_how_far_ahead(make_source, stored, in_memory, n_bytes, expected):
    source = make_source([np.zeros((1, 1))])
    source.stored, source.in_memory = stored, in_memory
    source.chunks = [type(source.chunks[0])("chunk", 1, n_bytes)]
    assert look_ahead(source) == expected


@pytest.mark.parametrize("number", [1, 3])
def test_an_interrupt_while_a_thread_begins_leaves_no_thread(monkeypatch, number):
    """A process waits for its threads when it ends: for ever, for one that nobody knows of."""
    begun = []

    class Interrupted(threading.Thread):
        def start(self):
            super().start()
            begun.append(self)
            if len(begun) == number:
                raise KeyboardInterrupt

    monkeypatch.setattr(threading, "Thread", Interrupted)
    store = SlowStore(0.001)
    with pytest.raises(KeyboardInterrupt) as caught:
        Blocks(store, range(N_CHUNKS), 4)
    # What was raised keeps its frames, and these what they made.
    assert caught.tb is not None
    for thread in begun:
        thread.join(10)
        assert not thread.is_alive()
