"""The tree of merges keeps what is not merged yet, and nothing else."""

from __future__ import annotations

import gc
import weakref

import pytest

from dask_gmm.engine.merging import MergeTree
from dask_gmm.engine.plan import FAN_IN


class Task:
    """A future that knows what it is made of."""

    def __init__(self, key):
        self.key, self.status = key, "pending"


def grown(n_parts):
    """Return the tree, and weak references to its tasks by their keys."""
    tasks = weakref.WeakValueDictionary()

    def merge(below):
        return added(Task("+".join(task.key for task in below)))

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


def test_what_is_merged_is_let_go():
    tree, tasks = grown(2 * FAN_IN)
    first = "+".join(map(str, range(FAN_IN)))
    tree.let_go()
    assert len(tasks) == len(tree.keys)
    tasks[first].status = "finished"
    tasks[str(FAN_IN)].status = "finished"
    tree.let_go()
    gc.collect()
    # The first half is merged, and its merge not yet.
    assert set(tree.keys) - set(tasks) == {str(number) for number in range(FAN_IN)}
    tree.close()
    gc.collect()
    assert set(tasks) == {tree.root.key}
