"""Rows of another source, each block changed after it was read: nothing is written, nothing is rechunked."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.abilities import (
    CountsRows,
    HasCoordinates,
    HasFeatureDim,
    HasNanRule,
    KeepsKeys,
    Rechunkable,
    TakesColumns,
)
from dask_gmm.data.looking import LookingMixin
from dask_gmm.data.rows import NanRule
from dask_gmm.data.source import Answer, Block, Chunk, Reader, Source, byte_counts
from dask_gmm.storage.fingerprint import extended, of_parts

if TYPE_CHECKING:
    import xarray as xr

#: Rows of shape (n, n_features) in, rows of shape (n, n_out) out; picklable.
RowMap = Callable[[NDArray[Any]], NDArray[Any]]


@dataclass(frozen=True, slots=True)
class RowMapping:
    """What is done to rows, and what comes of it.

    Attributes
    ----------
    function : callable
        Maps rows of shape (n, n_features) to rows of shape (n, n_out), each by itself.
    n_features : int
        Columns that come out.
    dtype : dtype
        Of what comes out, float32 or float64.
    feature_names : tuple of str or None
        Of what comes out.
    identity : str
        A text that changes when the function does.
    """

    function: RowMap
    n_features: int
    dtype: np.dtype[Any]
    feature_names: tuple[str, ...] | None
    identity: str

    def __call__(self, block: Block) -> Block:
        """Return the block with the rows that come out."""
        if len(block.rows):
            rows = np.asarray(self.function(block.rows), dtype=self.dtype)
        else:
            rows = np.empty((0, self.n_features), self.dtype)
        return replace(block, rows=rows)


class BlockMapping(Protocol):
    """What is done to blocks: a `RowMapping`, or one that lays columns beside the rows as well."""

    @property
    def n_features(self) -> int: ...  # noqa: D102
    @property
    def dtype(self) -> np.dtype[Any]: ...  # noqa: D102
    @property
    def feature_names(self) -> tuple[str, ...] | None: ...  # noqa: D102
    @property
    def identity(self) -> str: ...  # noqa: D102
    def __call__(self, block: Block) -> Block: ...  # noqa: D102


@dataclass(frozen=True, slots=True)
class MappedReader:
    """Reads blocks and changes them.

    Attributes
    ----------
    rows : Reader
    mapping : RowMapping
    """

    rows: Reader
    mapping: BlockMapping

    def read(self, index: int) -> Block:
        """Read chunk `index`, and change its rows."""
        return self.mapping(self.rows.read(index))

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self.rows.supply(results)


@dataclass(frozen=True, slots=True)
class _Composed:
    """An answer for what comes out of a mapping, as a function of what goes in."""

    answer: Answer
    mapping: BlockMapping

    def __call__(self, block: Block) -> NDArray[Any]:
        return self.answer.function(self.mapping(block))


class MappedSource(LookingMixin):
    """Rows of one source, changed block by block after reading; `map_source` makes it.

    Parameters
    ----------
    source : Source
    mapping : RowMapping
    """

    def __init__(self, source: Source, mapping: BlockMapping) -> None:
        self.source, self.mapping = source, mapping
        self.n_features, self.dtype = mapping.n_features, mapping.dtype
        self.feature_names = mapping.feature_names
        factor = mapping.n_features * mapping.dtype.itemsize / (source.n_features * source.dtype.itemsize)
        # Rows that become narrower were in memory as they are read.
        self.chunks = source.chunks if factor <= 1.0 else _WiderChunks(source.chunks, factor)
        self.sample_shape, self.numbered = source.sample_shape, source.numbered
        self.grid, self.dims = source.grid, source.dims
        self.in_memory, self.stored = source.in_memory, source.stored

    def reader(self, indices: Sequence[int]) -> MappedReader:
        """Return a reader that changes what the source's reads."""
        return MappedReader(self.source.reader(indices), self.mapping)

    def futures(self, indices: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that the rows are computed from."""
        return self.source.futures(indices)

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return a text that changes when a row or the mapping does, None where only reading would tell."""
        return extended(self.source.fingerprint(*columns), of_parts([self.mapping.identity]))

    def apply(self, answer: Answer) -> Any:
        """Return the answer for the changed rows as the source gives it back."""
        return self.source.apply(replace(answer, function=_Composed(answer, self.mapping)))

    def _of(self, source: Source) -> Source:
        return map_source(source, self.mapping)

    def __repr__(self) -> str:
        return f"MappedSource({self.source!r}, features={self.n_features}, {self.dtype})"


class _WiderChunks(Sequence[Chunk]):
    """The chunks of a source whose rows become wider."""

    def __init__(self, chunks: Sequence[Chunk], factor: float) -> None:
        self._chunks, self._factor = chunks, factor

    def __len__(self) -> int:
        return len(self._chunks)

    @overload
    def __getitem__(self, index: int) -> Chunk: ...
    @overload
    def __getitem__(self, index: slice) -> list[Chunk]: ...
    def __getitem__(self, index: int | slice) -> Chunk | list[Chunk]:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        chunk = self._chunks[index]
        return chunk if chunk.n_bytes is None else replace(chunk, n_bytes=round(self._factor * chunk.n_bytes))

    def byte_counts(self) -> NDArray[np.int64]:
        """Return the bytes of each chunk's rows."""
        counts: NDArray[np.int64] = np.rint(self._factor * byte_counts(self._chunks, 0)).astype(np.int64)
        return counts


# --- what a mapped source can do because its own source can ---


class _Ruled:
    source: Any
    _of: Callable[[Any], Source]

    @property
    def nan(self) -> NanRule:
        rule: NanRule = self.source.nan
        return rule

    def with_nan(self, nan: NanRule) -> Source:
        return self._of(self.source.with_nan(nan))


class _TakingColumns:
    source: Any
    _of: Callable[[Any], Source]

    def take_column(self, name: str, values: Any) -> tuple[Source, Any]:
        source, left = self.source.take_column(name, values)
        return self._of(source), left


class _Counting:
    source: Any
    _of: Callable[[Any], Source]

    def counted(self) -> tuple[Source, Sequence[int]]:
        source, n_rows = self.source.counted()
        return self._of(source), n_rows


class _Regular:
    source: Any
    _of: Callable[[Any], Source]

    def regularly_chunked(self) -> Source:
        return self._of(self.source.regularly_chunked())


class _Keyed:
    source: Any
    _of: Callable[[Any], Source]

    def with_keys(self, names: Sequence[str]) -> Source:
        return self._of(self.source.with_keys(names))


class _OnCoordinates:
    source: Any

    @property
    def coordinates(self) -> xr.Dataset:
        found: xr.Dataset = self.source.coordinates
        return found


class _AlongFeatures:
    source: Any

    @property
    def feature_dim(self) -> Hashable | None:
        dim: Hashable | None = self.source.feature_dim
        return dim


_ABILITIES: Mapping[type, type] = {
    HasNanRule: _Ruled,
    TakesColumns: _TakingColumns,
    CountsRows: _Counting,
    Rechunkable: _Regular,
    KeepsKeys: _Keyed,
    HasCoordinates: _OnCoordinates,
    HasFeatureDim: _AlongFeatures,
}


@cache
def _class_with(kind: Hashable, abilities: tuple[type, ...]) -> type[MappedSource]:
    assert isinstance(kind, type)
    return type(kind.__name__, (kind, *abilities), {"__module__": kind.__module__})


def map_source(
    source: Source, mapping: BlockMapping, kind: type[MappedSource] = MappedSource
) -> MappedSource:
    """Return the rows of `source` with each block changed after it is read.

    It can do whatever `source` can do: take columns, count rows, drop those with a NaN, keep keys, give
    predictions its coordinates.

    Parameters
    ----------
    source : Source
    mapping : BlockMapping
    kind : type, optional
        What it is to be; its own abilities come first.
    """
    abilities = (mixin for ability, mixin in _ABILITIES.items() if isinstance(source, ability))
    hashable: Any = kind
    return _class_with(hashable, tuple(abilities))(source, mapping)
