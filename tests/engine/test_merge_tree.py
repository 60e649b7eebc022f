"""The tree of merges keeps what is not merged yet, and nothing else; its bits depend on the groups alone."""

from __future__ import annotations

import gc
import random
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from dask_gmm.engine.merge_tree import LocalMerges, MergeTree, values_per_merge
from dask_gmm.engine.plan import FAN_IN


class Task:
    """A future that knows what it is made of."""

    def __init__(self, key):
        self.key, self.status = key, "pending"


def grown(n_parts):
    """Return the tree, and weak references to its tasks by their keys."""
    tasks = weakref.WeakValueDictionary()

    def merge(below):
        return [added(Task("+".join(task.key for task in few))) for few in below]

    def added(task):
        tasks[task.key] = task
        return task

    return MergeTree([added(Task(str(number))) for number in range(n_parts)], merge), tasks


@pytest.mark.parametrize(
    ("n_parts", "n_merges"), [(1, 1), (FAN_IN, 1), (FAN_IN + 1, 3), (FAN_IN**2, FAN_IN + 1)]
)
def test_merges(n_parts, n_merges):
    tree, tasks = grown(n_parts)
    assert tree.root.key.split("+") == [str(number) for number in range(n_parts)]
    assert len(tree.keys) == n_parts + n_merges
    assert set(tree.keys) == set(tasks)


def test_what_is_merged_is_released():
    tree, tasks = grown(2 * FAN_IN)
    first = "+".join(map(str, range(FAN_IN)))
    tree.release_merged()
    assert len(tasks) == len(tree.keys)
    tasks[first].status = "finished"
    tasks[str(FAN_IN)].status = "finished"
    tree.release_merged()
    gc.collect()
    # The first half is merged, and its merge not yet.
    assert set(tree.keys) - set(tasks) == {str(number) for number in range(FAN_IN)}
    tree.close()
    gc.collect()
    assert set(tasks) == {tree.root.key}


class Number:
    def __init__(self, number):
        self.number = number


class Sum:
    """A reduction whose bits depend on the order of merging, and which counts the values in memory."""

    def __init__(self):
        self.held = weakref.WeakSet()
        self.most = 0

    def new(self, number):
        value = Number(number)
        self.held.add(value)
        self.most = max(self.most, len(self.held))
        return value

    def zero(self):
        return self.new(0.0)

    def combine(self, values):
        total = 0.0
        for value in values:
            total += value.number
        return self.new(total)


def sixteen_at_a_time(numbers):
    """Return the sum by the tree, written down as it is defined."""
    while len(numbers) > 1:
        numbers = [sum(numbers[i : i + FAN_IN], start=0.0) for i in range(0, len(numbers), FAN_IN)]
    return numbers[0]


SIZES = [1, 2, FAN_IN, FAN_IN + 1, 2 * FAN_IN + 5, FAN_IN**2, FAN_IN**2 + 1, 3 * FAN_IN**2 + 7]


@pytest.mark.parametrize("n_parts", SIZES)
def test_any_steps_have_the_bits_of_the_tree(n_parts):
    numbers = [float(number) for number in np.random.default_rng(0).lognormal(sigma=20, size=n_parts)]
    expected = sixteen_at_a_time(numbers)
    for at_once in (2, 3, 5, FAN_IN):
        done = []

        def merge(below, at_once=at_once, done=done):
            assert all(len(few) <= at_once for few in below)
            for few in below:
                total = 0.0
                for part in few:
                    total += part.number
                done.append(SimpleNamespace(key=len(done), number=total))
            return done[-len(below) :]

        parts = [SimpleNamespace(key=f"part {n}", number=number) for n, number in enumerate(numbers)]
        tree = MergeTree(parts, merge, at_once)
        assert tree.root.number == expected
        assert len(set(tree.keys)) == len(tree.keys) == n_parts + len(done)


@pytest.mark.parametrize("n_parts", SIZES)
@pytest.mark.parametrize("shuffled", [False, True])
@pytest.mark.parametrize("at_once", [None, 2, 3, FAN_IN])
def test_threads_merge_by_the_same_tree(n_parts, at_once, shuffled):
    numbers = [float(number) for number in np.random.default_rng(0).lognormal(sigma=20, size=n_parts)]
    order = list(range(n_parts))
    if shuffled:
        random.Random(0).shuffle(order)
    reduction = Sum()
    merged = LocalMerges([reduction], at_once)
    for number in order:
        merged.add(number, [reduction.new(numbers[number])])
    assert merged.result()[0].number == sixteen_at_a_time(numbers)
    if at_once == 2 and not shuffled:
        # One a level, one that comes, one that is made.
        assert reduction.most <= 5


@pytest.mark.parametrize(("n_bytes", "most"), [(1000, 2 * FAN_IN + 2), (24 << 20, 4)])
def test_threads_hold_few_large_values(n_bytes, most):
    held = weakref.WeakSet()

    class Large(Sum):
        def new(self, number):
            value = super().new(np.full(n_bytes // 8, number))
            held.add(value)
            self.most = max(self.most, len(held))
            return value

    reduction = Large()
    merged = LocalMerges([reduction])
    for number in range(FAN_IN + 2):
        merged.add(number, [reduction.new(float(number))])
    assert merged.result()[0].number[0] == sum(range(FAN_IN + 2))
    assert 2 < reduction.most <= most


def test_nothing_to_merge_is_the_value_of_no_rows():
    assert LocalMerges([Sum()]).result()[0].number == 0.0


def test_large_values_are_merged_few_at_a_time():
    assert values_per_merge(0) == values_per_merge(1000) == FAN_IN
    assert values_per_merge(4 << 20) == 8
    assert values_per_merge(1 << 30) == 2
