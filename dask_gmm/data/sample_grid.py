"""The geometry of arrays whose features lie along one axis, or in several arrays on one grid.

All other axes are samples. Their chunk grid cuts them into cells, numbered in C order; rows are
numbered in C order over the sample axes, whatever the chunking.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class SampleGrid:
    """A chunk grid over the sample axes.

    Attributes
    ----------
    shape : tuple of int
        Shape of the sample axes.
    starts : tuple of sequence of int
        For each sample axis, where its cells start: a range (regular cells, cheap to pickle) or a tuple.
    """

    shape: tuple[int, ...]
    starts: tuple[Sequence[int], ...]

    @classmethod
    def regular(cls, shape: Sequence[int], cell: Sequence[int]) -> SampleGrid:
        """Return the grid of equal cells, the last along each axis cut off; no samples are one empty cell."""
        return cls(
            tuple(shape), tuple(range(0, max(n, 1), max(c, 1)) for n, c in zip(shape, cell, strict=True))
        )

    @classmethod
    def irregular(cls, sizes: Sequence[Sequence[int]]) -> SampleGrid:
        """Return the grid whose cells have these sizes along each axis, as in ``dask.array.Array.chunks``."""
        shape = tuple(int(sum(axis)) for axis in sizes)
        return cls(shape, tuple(_starts(axis) for axis in sizes))

    def __len__(self) -> int:
        return math.prod(self.blocks)

    @property
    def blocks(self) -> tuple[int, ...]:
        """Number of cells along each sample axis."""
        return tuple(len(starts) for starts in self.starts)

    @property
    def is_regular(self) -> bool:
        """Whether all cells are equal but the last along each axis."""
        return all(isinstance(starts, range) for starts in self.starts)

    @property
    def sizes(self) -> tuple[tuple[int, ...], ...]:
        """Sizes of the cells along each sample axis, as in ``dask.array.Array.chunks``."""
        return tuple(
            tuple(stop - start for start, stop in zip(starts, [*starts[1:], n], strict=True))
            for n, starts in zip(self.shape, self.starts, strict=True)
        )

    def position(self, index: int) -> tuple[int, ...]:
        """Return the place of cell `index` in the grid."""
        return tuple(int(i) for i in np.unravel_index(index, self.blocks))

    def region(self, index: int) -> tuple[slice, ...]:
        """Return the samples of cell `index`, one slice an axis."""
        return tuple(
            slice(starts[i], starts[i + 1] if i + 1 < len(starts) else n)
            for i, starts, n in zip(self.position(index), self.starts, self.shape, strict=True)
        )

    def cell_shape(self, index: int) -> tuple[int, ...]:
        """Return the shape of cell `index`."""
        return tuple(s.stop - s.start for s in self.region(index))

    def n_rows(self, index: int) -> int:
        """Return the number of rows of cell `index`."""
        return math.prod(self.cell_shape(index))

    def row_counts(self) -> NDArray[np.int64]:
        """Return the number of rows of each cell."""
        counts: NDArray[np.int64] = np.ones(1, dtype=np.int64)
        for starts, n in zip(self.starts, self.shape, strict=True):
            ends = np.append(np.asarray(starts[1:], dtype=np.int64), n)
            counts = np.multiply.outer(counts, ends - np.asarray(starts, dtype=np.int64)).reshape(-1)
        return counts

    def numbers(self, index: int) -> NDArray[np.int64]:
        """Return the global numbers of the rows of cell `index`, in the order in which it is read."""
        total: NDArray[np.int64] = np.zeros((), dtype=np.int64)
        stride = math.prod(self.shape)
        for along, n in zip(self.region(index), self.shape, strict=True):
            stride //= max(n, 1)
            total = np.add.outer(total, stride * np.arange(along.start, along.stop, dtype=np.int64))
        return total.reshape(-1)


def _starts(sizes: Sequence[int]) -> Sequence[int]:
    """Return where cells of these sizes start, as a range if they are regular."""
    first, total = next(iter(sizes), 0), sum(sizes)
    regular = range(0, total, first) if first else range(0)
    if len(regular) == len(sizes) and all(size == first for size in sizes[:-1]):
        return regular
    return tuple(int(start) for start in np.cumsum([0, *sizes[:-1]]))


def cell_shape_lcm(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the smallest cell that is made of whole chunks of every array on the grid."""
    return tuple(reduce(math.lcm, axis) for axis in zip(*shapes, strict=True))
