"""Sample weights beside the rows of a table: whatever they are given as, they become a one-column source.

Its chunks are those of the rows, so that a worker reads both with the same number.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Protocol

import dask.array as da
import dask.dataframe as dd
import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.masks import refuse_masked
from dask_gmm.data.recut import RecutRows
from dask_gmm.data.source import SAMPLE_WEIGHT, Block, Chunk, Reader
from dask_gmm.errors import DataError
from dask_gmm.storage.fingerprint import joined, of_array


class WeightReader(Reader, Protocol):
    """A reader that takes the results of futures."""

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take the results of ``WeightSource.futures``, before the first read."""
        ...


class WeightSource(Protocol):
    """The part of a one-feature `Source` that weights need."""

    @property
    def n_features(self) -> int: ...  # noqa: D102

    @property
    def chunks(self) -> Sequence[Chunk]: ...  # noqa: D102

    def reader(self, indices: Sequence[int]) -> WeightReader:
        """Return what a worker needs to read the chunks `indices`."""
        ...

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that the chunks are computed from."""
        ...


def align_weights(sample_weight: Any, n_rows: Sequence[int | None]) -> WeightSource:
    """Return the weights as a source whose chunks have `n_rows` rows.

    Parameters
    ----------
    sample_weight : array-like, dask array, dask Series, or Source of one feature
        Arrays in memory need known row counts, and so do lazy ones in another number of chunks; else what is
        lazy is aligned chunk by chunk without them.
    n_rows : sequence of int or None
        Rows of each chunk of X, None where unknown.

    Raises
    ------
    DataError
        The lengths or chunks do not agree.
    """
    weights: WeightSource
    if isinstance(sample_weight, da.Array):
        weights = _from_dask_array(sample_weight, n_rows)
    elif isinstance(sample_weight, dd.Series):
        weights = _from_dask_series(sample_weight)
    elif hasattr(sample_weight, "reader"):
        weights = sample_weight
    else:
        refuse_masked(sample_weight, "sample_weight")
        values = np.asarray(sample_weight)
        if values.dtype.kind == "c":
            raise ValueError(f"Complex data not supported: sample_weight has dtype {values.dtype}.")
        weights = _Slices(_one_dimensional(values.astype(np.float64)), n_rows)
    weights = _cut_anew(weights, n_rows)
    _check_chunks(weights, n_rows)
    return weights


def read_weights(reader: Reader, index: int, n_rows: int, name: str) -> NDArray[np.float64]:
    """Read the weights of chunk `index`, which has `n_rows` rows and is called `name`.

    Raises
    ------
    DataError
        There are more or fewer weights than rows.
    """
    values = np.ascontiguousarray(reader.read(index).rows[:, 0], dtype=np.float64)
    if len(values) != n_rows:
        raise DataError(f"{name}: sample_weight has {len(values)} values here, X has {n_rows} rows.")
    return values


@dataclass(frozen=True, slots=True)
class WeightedReader:
    """Reads rows and their weights together.

    Attributes
    ----------
    rows, weights : WeightReader
    """

    rows: WeightReader
    weights: WeightReader

    def read(self, index: int) -> Block:
        """Read chunk `index`; raises DataError where there are more or fewer weights than rows."""
        block = self.rows.read(index)
        weights = read_weights(self.weights, index, block.n_positions, block.name)
        weights = weights if block.kept is None else weights[block.kept]
        return replace(block, columns={**block.columns, SAMPLE_WEIGHT: weights})

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self.rows.supply(results)
        self.weights.supply(results)


def needs_row_counts(sample_weight: Any, n_chunks: int) -> bool:
    """Tell whether these weights can only be aligned with `n_chunks` chunks whose rows were counted.

    So it is for those in memory, and for lazy ones in another number of chunks.
    """
    if isinstance(sample_weight, dd.Series):
        return len(_from_dask_series(sample_weight).chunks) != n_chunks
    if isinstance(sample_weight, da.Array):
        return bool(sample_weight.ndim == 1 and sample_weight.numblocks[0] != n_chunks)
    return not hasattr(sample_weight, "reader") or len(sample_weight.chunks) != n_chunks


def _from_dask_array(weights: da.Array, n_rows: Sequence[int | None]) -> WeightSource:
    from dask_gmm.data.dask_array import DaskArraySource

    weights = _one_dimensional(weights)
    if None not in n_rows and not math.isnan(weights.shape[0]):
        _check_length(len(weights), n_rows)
        weights = weights.rechunk((tuple(n_rows),))
    return DaskArraySource(weights[:, None])


def _from_dask_series(weights: dd.Series) -> WeightSource:
    from dask_gmm.data.dask_dataframe import DaskFrameSource

    return DaskFrameSource(weights.to_frame(name="sample_weight"))


def _cut_anew(weights: WeightSource, n_rows: Sequence[int | None]) -> WeightSource:
    """Return weights that have another number of chunks in those of X, where its rows are known."""
    wanted = [count for count in n_rows if count is not None]
    if weights.n_features != 1 or len(weights.chunks) == len(n_rows) or len(wanted) < len(n_rows):
        return weights
    counts = [chunk.n_rows for chunk in weights.chunks if chunk.n_rows is not None]
    if len(counts) < len(weights.chunks):
        if not hasattr(weights, "lengths"):
            return weights
        counts = weights.lengths()
    _check_length(sum(counts), n_rows)
    return RecutRows(weights, counts, wanted)


def _one_dimensional(weights: Any) -> Any:
    if weights.ndim != 1:
        raise ValueError(
            f"sample_weight must be one-dimensional, a value for each row; it has {weights.ndim} dimensions."
        )
    return weights


def _check_length(length: int, n_rows: Sequence[int | None]) -> None:
    total = sum(count for count in n_rows if count is not None)
    if length != total:
        raise DataError(
            f"sample_weight has {length} values, X has {total} rows: give one weight for each row."
        )


def check_column(weights: WeightSource) -> None:
    """Raise DataError if weights have several columns."""
    if weights.n_features != 1:
        raise DataError(f"sample_weight has {weights.n_features} columns; it needs one.")


def _check_chunks(weights: WeightSource, n_rows: Sequence[int | None]) -> None:
    check_column(weights)
    if len(weights.chunks) != len(n_rows):
        raise DataError(
            f"sample_weight has {len(weights.chunks)} chunks, X has {len(n_rows)}, and they can only be "
            "matched chunk by chunk. Make the weights from the same data, for example as one of its columns."
        )
    for chunk, count in zip(weights.chunks, n_rows, strict=True):
        if count is not None and chunk.n_rows is not None and count != chunk.n_rows:
            raise DataError(
                f"sample_weight has {chunk.n_rows} values in {chunk.name}, where X has {count} rows."
            )


class _Slices:
    """Weights in this process's memory: each group of chunks gets its part."""

    n_features = 1

    def __init__(self, weights: NDArray[np.float64], n_rows: Sequence[int | None]) -> None:
        counts = [count for count in n_rows if count is not None]
        if len(counts) < len(n_rows):
            raise DataError(
                "The rows of X are not counted; give sample_weight as a lazy collection with its chunks."
            )
        _check_length(len(weights), n_rows)
        bounds = np.cumsum([0, *counts])
        self.parts = [weights[first:stop] for first, stop in pairwise(bounds)]
        self.chunks = [Chunk(f"weights of chunk {i}", count, 8 * count) for i, count in enumerate(counts)]

    def fingerprint(self) -> str | None:
        return joined(*map(of_array, self.parts))

    def reader(self, indices: Sequence[int]) -> _SliceReader:
        return _SliceReader({index: self.parts[index] for index in indices})

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        return {}


class _SliceReader:
    def __init__(self, parts: Mapping[int, NDArray[np.float64]]) -> None:
        self.parts = parts

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take nothing: the weights are here."""

    def read(self, index: int) -> Block:
        part = self.parts[index]
        name = f"weights of chunk {index}"
        return Block(rows=part[:, None], name=name, index=index, numbers=lambda: np.arange(len(part)))
