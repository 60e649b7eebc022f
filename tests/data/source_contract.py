"""What every kind of data must hold: subclass `SourceContract` for a new one."""

from __future__ import annotations

import math
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray

from dask_gmm.data.abilities import HasNanRule
from dask_gmm.data.aligned import with_column, with_nan_rule, with_weights
from dask_gmm.data.looking import LookingMixin
from dask_gmm.data.source import SAMPLE_WEIGHT, Answer, Block, Reader, Source, byte_counts
from dask_gmm.errors import DataError

Rows = NDArray[np.float64]

N_ROWS, N_FEATURES = 60, 3
ROWS = np.random.default_rng(0).normal(size=(N_ROWS, N_FEATURES))
WEIGHTS = np.random.default_rng(1).uniform(size=N_ROWS)
#: What must not be found in anything that travels or is shown.
SECRET = "open-sesame"

TOTAL = Answer(lambda block: block.rows.sum(axis=1), np.dtype(np.float64), None, np.nan)
PAIRS = Answer(lambda block: block.rows[:, :2].astype(np.float32), np.dtype(np.float32), 2, np.nan)


class SourceContract:
    """The promises of `dask_gmm.data.source.Source`."""

    #: The class of the answers.
    answers: type = np.ndarray
    #: Whether a text tells that rows were changed.
    fingerprinted = False
    #: Whether `source` leaves out rows with a NaN.
    drops_missing = False

    def source(self, rows: Rows, folder: Path) -> Source:
        """Return a source of these rows in several chunks; what was made in `folder` before is replaced."""
        raise NotImplementedError

    def index_of(self, number: int) -> int:
        """Return the index of the block of chunk `number`."""
        return number

    @pytest.fixture
    def made(self, tmp_path: Path) -> Source:
        return self.source(ROWS, tmp_path)

    def test_it_has_all_that_is_called(self, made: Source) -> None:
        assert isinstance(made, Source)
        assert isinstance(made.reader([0]), Reader)
        assert len(made.chunks) > 1
        assert made.n_features == N_FEATURES
        assert made.grid is None or len(made.grid) == len(made.chunks)
        assert made.dims == () or len(made.dims) == len(made.sample_shape)
        assert made.feature_names is None or len(made.feature_names) == N_FEATURES

    def test_chunks_are_what_is_read(self, made: Source) -> None:
        blocks = read_all(made)
        for number, (chunk, block) in enumerate(zip(made.chunks, blocks, strict=True)):
            assert chunk.n_rows in (None, block.n_positions)
            assert chunk.n_bytes is None or chunk.n_bytes >= block.rows.nbytes
            assert chunk.name
            assert block.name
            assert block.index == self.index_of(number)
        counted = byte_counts(made.chunks, unknown=-1).tolist()
        assert counted == [-1 if chunk.n_bytes is None else chunk.n_bytes for chunk in made.chunks]
        lengths = [length for length in made.sample_shape if length is not None]
        if len(lengths) == len(made.sample_shape):
            assert math.prod(lengths) == sum(block.n_positions for block in blocks)

    def test_rows_are_read_as_announced(self, made: Source) -> None:
        for block in read_all(made):
            assert block.rows.dtype == made.dtype
            assert block.rows.dtype.isnative
            assert block.rows.shape[1] == made.n_features
            assert block.rows.flags.forc
            assert block.kept is None
            assert block.weights is None
        np.testing.assert_array_equal(in_row_order(made), ROWS)

    def test_numbers_are_unique(self, made: Source) -> None:
        blocks = read_all(made)
        numbers = np.concatenate([block.numbers() for block in blocks])
        assert numbers.dtype == np.int64
        assert len({*numbers.tolist()}) == N_ROWS
        assert [len(block.numbers()) for block in blocks] == [len(block.rows) for block in blocks]

    def test_a_reader_travels(self, made: Source) -> None:
        indices = range(len(made.chunks))
        here, there = made.reader(indices), pickle.dumps(made.reader(indices))
        here.supply({})
        for index in indices:
            one, other = here.read(index), pickle.loads(there).read(index)
            assert one.rows.tobytes() == other.rows.tobytes()
            assert one.numbers().tolist() == other.numbers().tolist()
            assert (one.name, one.index) == (other.name, other.index)

    def test_a_reader_of_some_chunks_reads_them(self, made: Source) -> None:
        last = len(made.chunks) - 1
        alone, whole = made.reader([last]).read(last), read_all(made)[last]
        np.testing.assert_array_equal(alone.rows, whole.rows)
        np.testing.assert_array_equal(alone.numbers(), whole.numbers())

    def test_no_secret_travels_or_is_shown(self, made: Source) -> None:
        assert SECRET.encode() not in pickle.dumps(made.reader(range(len(made.chunks))))
        assert SECRET not in repr(made)
        assert SECRET not in " ".join(chunk.name for chunk in made.chunks)

    def test_without_a_cluster_nothing_is_persisted_there(self, made: Source) -> None:
        assert dict(made.futures(range(len(made.chunks)))) == {}

    @pytest.mark.parametrize("answer", [TOTAL, PAIRS], ids=["one value", "two columns"])
    def test_answers_are_of_the_kind_of_the_data(self, made: Source, answer: Answer) -> None:
        given = made.apply(answer)
        assert isinstance(given, self.answers)
        whole = Block(rows=ROWS, name="all", index=0, numbers=lambda: np.arange(N_ROWS))
        expected, columns = answer.function(whole), () if answer.n_columns is None else (answer.n_columns,)
        if isinstance(given, (np.ndarray, da.Array)):
            assert given.dtype == answer.dtype
            assert given.ndim == len(made.sample_shape) + len(columns)
        (computed,) = dask.compute(given, scheduler="sync")
        values = np.asarray(computed)
        assert values.dtype == answer.dtype
        if None not in made.sample_shape:
            assert values.shape == (*made.sample_shape, *columns)
        np.testing.assert_array_equal(values.reshape(expected.shape), expected)

    @pytest.mark.parametrize(
        "given",
        [np.asarray, lambda weights: da.from_array(weights, chunks=13), lambda weights: weights.tolist()],
        ids=["array", "dask array in other chunks", "list"],
    )
    def test_weights_are_aligned_with_the_rows(self, made: Source, given: Any) -> None:
        weighted = with_weights(made, given(WEIGHTS))
        assert isinstance(weighted, Source)
        assert len(weighted.chunks) == len(made.chunks)
        np.testing.assert_array_equal(in_row_order(weighted), ROWS)
        np.testing.assert_array_equal(column_in_row_order(weighted, "sample_weight"), WEIGHTS)
        (values,) = dask.compute(weighted.apply(TOTAL), scheduler="sync")
        np.testing.assert_array_equal(np.asarray(values).reshape(-1), ROWS.sum(axis=1))

    def test_other_columns_stand_beside_the_weights(self, made: Source) -> None:
        source = with_column(with_weights(made, WEIGHTS), "errors", 2 * WEIGHTS)
        np.testing.assert_array_equal(column_in_row_order(source, "sample_weight"), WEIGHTS)
        np.testing.assert_array_equal(column_in_row_order(source, "errors"), 2 * WEIGHTS)
        replaced = with_weights(source, 3 * WEIGHTS)
        np.testing.assert_array_equal(column_in_row_order(replaced, "sample_weight"), 3 * WEIGHTS)
        np.testing.assert_array_equal(column_in_row_order(replaced, "errors"), 2 * WEIGHTS)

    def test_columns_need_a_value_for_each_row(self, made: Source) -> None:
        with pytest.raises(DataError, match="errors has 59 values, X has 60 rows"):
            with_column(made, "errors", WEIGHTS[1:])

    def test_the_fingerprint_changes_with_the_rows(self, tmp_path: Path) -> None:
        made = self.source(ROWS, tmp_path)
        before = made.fingerprint()
        assert (before is not None) == self.fingerprinted
        assert before == made.fingerprint()
        weighted = {with_weights(made, w).fingerprint() for w in (WEIGHTS, WEIGHTS + 1)}
        changed = self.source(np.where(ROWS[7, 1] == ROWS, 9.0, ROWS), tmp_path).fingerprint()
        assert len({before, changed, *weighted}) == (4 if self.fingerprinted else 1)

    def test_missing_rows_are_left_out(self, tmp_path: Path) -> None:
        if not self.drops_missing:
            pytest.skip("this kind of data has no missing rows")
        rows = ROWS.copy()
        rows[[0, 17, 18, 59], [0, 2, 1, 1]] = np.nan
        kept = ~np.isnan(rows).any(axis=1)
        source = with_weights(self.source(rows, tmp_path), WEIGHTS)
        blocks = read_all(source)
        assert sum(block.n_positions for block in blocks) == N_ROWS
        numbers = np.concatenate([block.numbers() for block in blocks])
        assert sorted(numbers.tolist()) == np.flatnonzero(kept).tolist()
        for block in blocks:
            np.testing.assert_array_equal(block.rows, rows[block.numbers()])
            np.testing.assert_array_equal(block.weights, WEIGHTS[block.numbers()])
        (values,) = dask.compute(source.apply(TOTAL), scheduler="sync")
        np.testing.assert_array_equal(np.asarray(values).reshape(-1), rows.sum(axis=1))

    def test_rows_with_nan_can_be_kept(self, tmp_path: Path) -> None:
        rows = ROWS.copy()
        rows[[0, 17, 18, 59], [1, 2, 1, 1]] = np.nan
        made = self.source(rows, tmp_path)
        if not isinstance(made, HasNanRule):
            pytest.skip("no source that users make")
        source = made.with_nan("keep")
        assert source.nan == "keep"
        blocks = read_all(source)
        assert all(block.holes for block in blocks)
        np.testing.assert_array_equal(in_row_order(source), rows)
        (values,) = dask.compute(source.apply(TOTAL), scheduler="sync")
        np.testing.assert_array_equal(np.asarray(values).reshape(-1), rows.sum(axis=1))

    def test_it_can_be_looked_at(self, made: Source) -> None:
        if not isinstance(made, LookingMixin):
            pytest.skip("no source that users have in hand")
        assert made.shape == (*made.sample_shape, N_FEATURES)
        if None not in made.sample_shape:
            assert len(made) == N_ROWS
        assert bool(made)
        first = read_all(made, [0])[0].rows[:3]
        np.testing.assert_array_equal(made.head(3).to_numpy(), first)
        assert len(made.head(10 * N_ROWS)) == N_ROWS
        if made.feature_names is not None:
            assert tuple(made.head().columns) == made.feature_names
        (computed,) = dask.compute(made.to_dask(), scheduler="sync")
        np.testing.assert_array_equal(np.asarray(computed).reshape(-1, N_FEATURES), ROWS)
        shown = made._repr_html_()
        assert "<table>" in shown
        assert SECRET not in shown

    def test_rows_with_nan_can_be_left_out(self, tmp_path: Path) -> None:
        rows = ROWS.copy()
        rows[[0, 17, 18, 59], [1, 2, 1, 1]] = np.nan
        kept = ~np.isnan(rows).any(axis=1)
        made = with_weights(self.source(rows, tmp_path), WEIGHTS)
        if not isinstance(getattr(made, "source", made), HasNanRule):  # none of those that users make
            with pytest.raises(TypeError, match="with_nan"):
                with_nan_rule(made, "drop")
            return
        source = with_nan_rule(made, "drop")
        blocks = read_all(source)
        order = np.argsort(np.concatenate([block.numbers() for block in blocks]))
        np.testing.assert_array_equal(np.concatenate([block.rows for block in blocks])[order], rows[kept])
        weights = np.concatenate([block.columns[SAMPLE_WEIGHT] for block in blocks])
        np.testing.assert_array_equal(weights[order], WEIGHTS[kept])
        (values,) = dask.compute(source.apply(TOTAL), scheduler="sync")
        np.testing.assert_array_equal(np.asarray(values).reshape(-1), rows.sum(axis=1))


def read_all(source: Source, indices: Sequence[int] | None = None) -> list[Block]:
    """Return the blocks as a worker reads them."""
    indices = range(len(source.chunks)) if indices is None else indices
    reader: Reader = pickle.loads(pickle.dumps(source.reader(indices)))
    return [reader.read(index) for index in indices]


def in_row_order(source: Source) -> NDArray[Any]:
    """Return all rows in the order of their numbers."""
    blocks = read_all(source)
    order = np.argsort(np.concatenate([block.numbers() for block in blocks]))
    rows = np.concatenate([block.rows for block in blocks])[order]
    if source.numbered:
        assert np.concatenate([block.numbers() for block in blocks])[order].tolist() == [*range(len(rows))]
    return rows


def column_in_row_order(source: Source, name: str) -> NDArray[np.float64]:
    """Return a column in the order of the rows' numbers."""
    blocks = read_all(source)
    order = np.argsort(np.concatenate([block.numbers() for block in blocks]))
    column: NDArray[np.float64] = np.concatenate([block.columns[name] for block in blocks])[order]
    assert column.dtype == np.float64
    return column
