"""Rows in this process's memory: a NumPy array, cut into blocks that are views of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.fingerprint import joined, of_array
from dask_gmm.data.source import Answer, Block, Chunk, DataError

# A block's share of a core's time is about a millisecond; smaller ones cost more than they balance.
_BLOCK_BYTES = 1 << 20


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
        # Whole multiples of 256 rows keep the kernels' tiles full.
        self._block_rows = max(256, _BLOCK_BYTES // row_bytes // 256 * 256)
        self.chunks = [
            Chunk(
                f"rows {part.start} to {part.stop - 1}",
                part.stop - part.start,
                row_bytes * (part.stop - part.start),
            )
            for part in self._parts()
        ]

    def _parts(self) -> list[slice]:
        n_rows = len(self.rows)
        return [
            slice(first, min(first + self._block_rows, n_rows))
            for first in range(0, n_rows, self._block_rows)
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
        weights = None if self.weights is None else self.weights[first : first + len(rows)]
        return Block(
            rows, weights, lambda: np.arange(first, first + len(rows)), None, self.chunks[index].name
        )

    def with_weights(self, sample_weight: Any) -> ArraySource:
        """Return the same rows with weights; lazy ones are computed."""
        if hasattr(sample_weight, "compute"):
            sample_weight = sample_weight.compute()
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

        def fill(part: slice) -> None:
            result[part] = answer.function(self.rows[part])

        parts = self._parts()
        if len(parts) <= 1:
            for part in parts:
                fill(part)
            return result
        with ThreadPoolExecutor(thread_name_prefix="dask-gmm") as executor:
            list(executor.map(fill, parts))
        return result
