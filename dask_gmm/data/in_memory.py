"""Rows in this process's memory: a NumPy array, cut into blocks that are views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.parallel import Threads
from dask_gmm.data.scheduler import computed
from dask_gmm.data.source import SAMPLE_WEIGHT, Answer, Block, Chunk
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import joined, of_array

# As many blocks balance any usual number of threads, ...
_BLOCKS = 64
# ... unless they would take less than about a millisecond, for some 30 microseconds of Python, ...
_LEAST_BYTES = 1 << 20
# ... or a thread that ends last would let the others wait.
_MOST_BYTES = 16 << 20


class ArraySource:
    """A validated array in memory.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features), float32 or float64
    weights : ndarray of shape (n,), float64, optional
    feature_names : tuple of str, optional
    """

    numbered = True
    in_memory = True
    stored = False

    def __init__(
        self,
        rows: NDArray[Any],
        weights: NDArray[np.float64] | None = None,
        feature_names: tuple[str, ...] | None = None,
    ) -> None:
        self.rows = rows
        self.weights = weights
        self.feature_names = feature_names
        self.n_features = int(rows.shape[1])
        self.dtype = rows.dtype
        self.sample_shape = (len(rows),)
        row_bytes = max(1, self.n_features * rows.itemsize)
        block_bytes = min(max(_LEAST_BYTES, rows.nbytes // _BLOCKS), _MOST_BYTES)
        # An even number of equal blocks, for two threads or four.
        n_blocks = 2 * round(rows.nbytes / block_bytes / 2) or 1
        self._block_rows = max(1, -(-len(rows) // n_blocks))
        self.chunks = [
            Chunk(
                f"rows {part.start} to {part.stop - 1}",
                part.stop - part.start,
                row_bytes * (part.stop - part.start),
            )
            for part in _parts(len(rows), self._block_rows)
        ]

    def reader(self, indices: Sequence[int]) -> ArraySource:
        """Return the source itself: nothing travels."""
        return self

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return nothing: the rows are here."""
        return {}

    def fingerprint(self) -> str | None:
        """Return a text that changes when a value does."""
        rows = of_array(self.rows)
        return rows if self.weights is None else joined(rows, of_array(self.weights))

    def read(self, index: int) -> Block:
        """Return a view of block `index`."""
        first = index * self._block_rows
        rows = self.rows[first : first + self._block_rows]
        columns = {} if self.weights is None else {SAMPLE_WEIGHT: self.weights[first : first + len(rows)]}
        return Block(
            rows=rows,
            name=self.chunks[index].name,
            index=index,
            numbers=lambda: np.arange(first, first + len(rows)),
            columns=columns,
        )

    def with_weights(self, sample_weight: Any) -> ArraySource:
        """Return the same rows with weights; lazy ones are computed."""
        if hasattr(sample_weight, "compute"):
            sample_weight = computed(sample_weight)
        refuse_masked(sample_weight, "sample_weight")
        weights = np.asarray(sample_weight, dtype=np.float64)
        if weights.ndim != 1:
            raise ValueError(f"Sample weights must be 1D array or scalar, got {weights.ndim}D array.")
        if len(weights) != len(self.rows):
            raise DataError(
                f"sample_weight has {len(weights)} values, X has {len(self.rows)} rows: "
                "give one weight for each row."
            )
        return ArraySource(self.rows, weights, self.feature_names)

    def apply(self, answer: Answer) -> NDArray[Any]:
        """Return the answer for all rows, block by block on this process's threads."""
        shape = (len(self.rows),) if answer.n_columns is None else (len(self.rows), answer.n_columns)
        result = np.empty(shape, dtype=answer.dtype)
        # The result of a block is held twice for a moment: it too should be small.
        row_bytes = self.n_features * self.rows.itemsize + (answer.n_columns or 1) * answer.dtype.itemsize
        parts = _parts(len(self.rows), max(1, _LEAST_BYTES // row_bytes))

        def fill(number: int) -> None:
            result[parts[number]] = answer.function(self.rows[parts[number]])

        with closing(Threads()) as threads:
            threads.run(len(parts), fill)
        return result


def _parts(n_rows: int, block_rows: int) -> list[slice]:
    return [slice(first, min(first + block_rows, n_rows)) for first in range(0, n_rows, block_rows)]
