"""What every reduction must hold to: subclass `ReductionContract` for a new one.

Equal bits are asked for where the engine promises them: for the same chunks in the same groups, wherever and
in whatever steps the values are combined. Other groups give the same answer up to rounding.
"""

from __future__ import annotations

import pickle
import random
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from dask_gmm.data.source import Block
from dask_gmm.engine.merge_tree import LocalMerges, MergeTree
from dask_gmm.engine.plan import FAN_IN
from dask_gmm.engine.reduction import Reduction

# Enough for two levels of merges, the upper one and the last run of the lower one not full.
N_CHUNKS = 2 * FAN_IN + 5
ROWS_PER_CHUNK = 20
N_FEATURES = 3


def travelled(value: Any) -> Any:
    """Return what arrives of a value at another worker."""
    return pickle.loads(pickle.dumps(value))


def parts_of(value: Any) -> Iterator[Any]:
    """Return the arrays and other simple things that a value is made of."""
    if is_dataclass(value):
        value = [getattr(value, field.name) for field in fields(value)]
    elif isinstance(value, Mapping):
        value = [*value.items()]
    if isinstance(value, list | tuple):
        for part in value:
            yield from parts_of(part)
    else:
        yield value


class ReductionContract:
    """The promises of `dask_gmm.engine.reduction.Reduction`.

    It is given `N_CHUNKS` blocks of `ROWS_PER_CHUNK` rows with `N_FEATURES` positive features. Their tails
    are long: each order of additions has bits of its own.
    """

    @pytest.fixture
    def reduction(self) -> Reduction[Any]:
        """Return the reduction to test."""
        raise NotImplementedError

    def of(self, value: Any) -> Any:
        """Return what counts of a value, when something in it may differ without meaning."""
        return value

    def answer(self, value: Any) -> Any:
        """Return what of a value does not depend on how chunks are grouped."""
        return self.of(value)

    def read(self, make_source: Any, pieces: list[Any], weights: list[Any] | None = None) -> list[Block]:
        """Return the blocks of chunks with these rows."""
        reader = make_source(pieces, weights).reader(range(len(pieces)))
        return [reader.read(index) for index in range(len(pieces))]

    @pytest.fixture(params=[False, True], ids=["plain", "weighted"])
    def blocks(self, request: Any, make_source: Any) -> list[Block]:
        """Return all blocks, in order."""
        rng = np.random.default_rng(0)
        pieces = [rng.lognormal(sigma=1.5, size=(ROWS_PER_CHUNK, N_FEATURES)) for _ in range(N_CHUNKS)]
        weights = [rng.uniform(0.5, 2.0, size=ROWS_PER_CHUNK) for _ in pieces]
        return self.read(make_source, pieces, weights if request.param else None)

    # --- how the tests compute and compare ----------------------------------------------------------

    def over(self, reduction: Reduction[Any], blocks: list[Block]) -> Any:
        """Return the value of some blocks, as a task makes it."""
        value = reduction.zero()
        for block in blocks:
            value = reduction.update(value, block)
        return value

    def bits(self, value: Any) -> list[Any]:
        """Return what two values have in common only if they are the same to the last bit."""
        return [
            (part.dtype.str, part.shape, part.tobytes())
            if isinstance(part, np.ndarray)
            else part.hex()
            if isinstance(part, float)
            else part
            for part in parts_of(self.of(value))
        ]

    def assert_same_answer(self, actual: Any, expected: Any) -> None:
        """Compare up to rounding."""
        parts = zip(parts_of(self.answer(actual)), parts_of(self.answer(expected)), strict=True)
        for one, other in parts:
            if isinstance(other, np.ndarray | float):
                least = 1e-12 * np.max(np.abs(other), initial=0)
                np.testing.assert_allclose(one, other, rtol=1e-9, atol=least)
            else:
                assert one == other

    # --- zero ---------------------------------------------------------------------------------------

    def test_zero_is_a_new_value_each_time(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        before = self.bits(reduction.zero())
        self.over(reduction, blocks[:3])
        assert self.bits(reduction.zero()) == before

    def test_zero_adds_nothing(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        value = self.over(reduction, blocks)
        self.assert_same_answer(reduction.combine([reduction.zero(), value, reduction.zero()]), value)

    # --- update -------------------------------------------------------------------------------------

    def test_update_leaves_the_block(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        for block in blocks[:3]:
            rows = block.rows.copy()
            weights = None if block.weights is None else block.weights.copy()
            self.over(reduction, [block])
            np.testing.assert_array_equal(block.rows, rows)
            np.testing.assert_array_equal(block.weights, weights)

    def test_a_chunk_without_rows_adds_nothing(self, reduction: Reduction[Any], make_source: Any) -> None:
        rows = np.random.default_rng(0).lognormal(size=(ROWS_PER_CHUNK, N_FEATURES))
        blocks = self.read(make_source, [rows, rows[:0]])
        self.assert_same_answer(self.over(reduction, blocks), self.over(reduction, blocks[:1]))

    # --- combine ------------------------------------------------------------------------------------

    def test_combine_leaves_what_it_combines(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        values = [self.over(reduction, [block]) for block in blocks[:5]]
        before = [self.bits(value) for value in values]
        once, again = reduction.combine(values), reduction.combine(values)
        assert [self.bits(value) for value in values] == before
        assert self.bits(once) == self.bits(again)

    def test_combine_is_a_fold_from_the_left(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        values = [self.over(reduction, [block]) for block in blocks[:FAN_IN]]
        expected = self.bits(reduction.combine(values))
        for n_first in (1, 2, 3, FAN_IN - 1):
            first = reduction.combine(values[:n_first])
            assert self.bits(reduction.combine([first, *values[n_first:]])) == expected

    @pytest.mark.parametrize("chunks_per_group", [2, 7, N_CHUNKS])
    def test_any_groups_give_the_same_answer(
        self, reduction: Reduction[Any], blocks: list[Block], chunks_per_group: int
    ) -> None:
        groups = [blocks[i : i + chunks_per_group] for i in range(0, len(blocks), chunks_per_group)]
        values = [self.over(reduction, group) for group in groups]
        each = [self.over(reduction, [block]) for block in blocks]
        self.assert_same_answer(reduction.combine(values), reduction.combine(each))

    # --- on the way ---------------------------------------------------------------------------------

    def test_reduction_and_values_travel(self, reduction: Reduction[Any], blocks: list[Block]) -> None:
        there = travelled(reduction)
        value = self.over(reduction, blocks[:3])
        assert self.bits(self.over(there, blocks[:3])) == self.bits(value)
        assert self.bits(travelled(value)) == self.bits(value)

    @pytest.mark.parametrize("at_once", [2, 5, FAN_IN])
    def test_threads_and_a_cluster_have_the_same_bits(
        self, reduction: Reduction[Any], blocks: list[Block], at_once: int
    ) -> None:
        values = [self.over(reduction, [block]) for block in blocks]

        def merge(below: list[list[Any]]) -> list[Any]:
            merged = [reduction.combine([travelled(part.value) for part in parts]) for parts in below]
            return [SimpleNamespace(key=None, value=travelled(value)) for value in merged]

        parts: list[Any] = [SimpleNamespace(key=None, value=value) for value in values]
        on_cluster = MergeTree(parts, merge, at_once).root.value
        merges = LocalMerges([reduction])
        for number in random.Random(0).sample(range(len(values)), len(values)):
            merges.add(number, [values[number]])
        (on_threads,) = merges.result()
        assert self.bits(on_threads) == self.bits(on_cluster)
