"""Some of a source's chunks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from dask_gmm.data.source import Block, Chunk, Source


class ChosenChunks:
    """The chunks `indices` of a source, as far as the engine needs one; blocks have the index of the source.

    Parameters
    ----------
    source : Source
    indices : sequence of int
        In ascending order.
    """

    def __init__(self, source: Source, indices: Sequence[int]) -> None:
        self._source, self._indices = source, indices
        # All of them may be a rule.
        everything = len(indices) == len(source.chunks)
        chosen = source.chunks if everything else [source.chunks[index] for index in indices]
        self.chunks: Sequence[Chunk] = chosen
        self.in_memory, self.stored = source.in_memory, source.stored

    def reader(self, numbers: Sequence[int]) -> ChosenReader:
        """Return a reader of these of the chosen chunks."""
        indices = {number: self._indices[number] for number in numbers}
        return ChosenReader(self._source.reader(list(indices.values())), indices)

    def futures(self, numbers: Sequence[int]) -> Mapping[Any, Any]:
        """Return the futures that they are computed from."""
        return self._source.futures([self._indices[number] for number in numbers])


@dataclass(frozen=True, slots=True)
class ChosenReader:
    """Reads the chosen chunks.

    Attributes
    ----------
    reader : Reader
        Of the source.
    indices : mapping of int to int
        The source's chunk for each of the chosen ones.
    """

    reader: Any
    indices: Mapping[int, int]

    def read(self, number: int) -> Block:
        """Read the chosen chunk `number`; the block's index is its number in the source."""
        block: Block = self.reader.read(self.indices[number])
        return block

    def supply(self, results: Mapping[Any, Any]) -> None:
        """Take what persisted chunks hold."""
        self.reader.supply(results)
