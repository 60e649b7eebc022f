"""Some of a source's chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_gmm.data.base_source import BaseSource
from dask_gmm.data.source import Block, Chunk, Reader, Source


class ChunkSubset(BaseSource):
    """The chunks `indices` of a source as a table, whose blocks keep the source's index and numbers.

    Parameters
    ----------
    source : Source
    indices : sequence of int
        In ascending order.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices
        self.n_features, self.dtype = source.n_features, source.dtype
        self.feature_names = source.feature_names
        # All of them may be a rule.
        everything = len(indices) == len(source.chunks)
        chosen = source.chunks if everything else [source.chunks[index] for index in indices]
        self.chunks: Sequence[Chunk] = chosen
        self.numbered, self.in_memory, self.stored = source.numbered, source.in_memory, source.stored

    @property
    def sample_shape(self) -> tuple[int | None]:
        """The number of rows, None where only reading tells."""
        n_rows = [chunk.n_rows for chunk in self.chunks]
        known = [n for n in n_rows if n is not None]
        return (sum(known) if len(known) == len(n_rows) else None,)

    def reader(self, numbers: Sequence[int]) -> SubsetReader:
        """Return a reader of these of the chosen chunks."""
        indices = {number: self._indices[number] for number in numbers}
        return SubsetReader(self._source.reader(list(indices.values())), indices)

    def futures(self, numbers: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that they are computed from."""
        return self._source.futures([self._indices[number] for number in numbers])

    def fingerprint(self, *columns: str | None) -> str | None:
        """Return the source's."""
        return self._source.fingerprint(*columns)


@dataclass(frozen=True, slots=True)
class SubsetReader:
    """Reads the chosen chunks.

    Attributes
    ----------
    reader : Reader
        Of the source.
    indices : mapping of int to int
        The source's chunk for each of the chosen ones.
    """

    reader: Reader
    indices: Mapping[int, int]

    def read(self, number: int) -> Block:
        """Read the chosen chunk `number`; the block's index is its number in the source."""
        return self.reader.read(self.indices[number])

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self.reader.supply(results)
