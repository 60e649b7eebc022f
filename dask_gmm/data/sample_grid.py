"""The geometry of arrays whose features lie along one axis, or in several arrays on one grid.

All other axes are samples. Their chunk grid cuts them into cells, numbered in C order; rows are
numbered in C order over the sample axes, whatever the chunking.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Block
from dask_gmm.errors import DataError

#: Rows of cell i are numbered from i times this where the rows before the cell cannot be counted.
UNKNOWN_STRIDE = 2**40

NAN_RULES = ("error", "drop")


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
    first, total = sizes[0], sum(sizes)
    regular = range(0, total, first) if first else range(0)
    if len(regular) == len(sizes) and all(size == first for size in sizes[:-1]):
        return regular
    return tuple(int(start) for start in np.cumsum([0, *sizes[:-1]]))


def as_rows(piece: NDArray[Any], feature_axis: int, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return an n-dimensional piece as rows of shape (n, n_features), without a copy where its memory allows.

    The result is C- or Fortran-ordered and of native byte order.
    """
    n_features = piece.shape[feature_axis]
    n_rows = math.prod(n for axis, n in enumerate(piece.shape) if axis != feature_axis)
    if feature_axis == piece.ndim - 1 and piece.flags.c_contiguous:
        rows = piece.reshape(n_rows, n_features)
    else:  # if this has to copy, it runs along whole columns
        rows = np.moveaxis(piece, feature_axis, 0).reshape(n_features, n_rows).T
    contiguous = rows.flags.c_contiguous or rows.flags.f_contiguous
    return rows.astype(dtype, order="K" if contiguous else "C", copy=False)


def stack_rows(
    pieces: Sequence[Callable[[], NDArray[Any]]], n_rows: int, dtype: np.dtype[Any]
) -> NDArray[Any]:
    """Return rows of shape (n_rows, len(pieces)) whose columns are the pieces, read one after the other."""
    columns = np.empty((len(pieces), n_rows), dtype=dtype)
    for column, read in zip(columns, pieces, strict=True):
        column[:] = read().reshape(-1)
    return columns.T


def without_nan_rows(block: Block) -> Block:
    """Return the block without the rows that contain a NaN."""
    rows, numbers = block.rows, block.numbers
    kept = ~np.isnan(rows).any(axis=1)
    if kept.all():
        return block
    in_columns = rows.flags.f_contiguous
    rows = np.compress(kept, rows.T, axis=1).T if in_columns else np.compress(kept, rows, axis=0)
    columns = {name: column[kept] for name, column in block.columns.items()}
    return replace(block, rows=rows, numbers=lambda: numbers()[kept], kept=kept, columns=columns)


def unknown_numbers(index: int, n_rows: int) -> NDArray[np.int64]:
    """Return unique row numbers of cell `index` where the rows before it cannot be counted."""
    return index * UNKNOWN_STRIDE + np.arange(n_rows, dtype=np.int64)


def normal_feature_axis(feature_axis: int, ndim: int, what: str) -> int:
    """Return `feature_axis` counted from the front.

    Raises
    ------
    ValueError
        Fewer than two axes, or an axis that does not exist; `what` names the array.
    """
    if ndim < 2:
        raise ValueError(
            f"Expected 2D array, got {ndim}D array instead: {what} needs one axis of features and "
            "at least one of samples. Reshape it to (-1, 1) if it has a single feature."
        )
    if not -ndim <= feature_axis < ndim:
        raise ValueError(f"feature_axis={feature_axis} does not exist: {what} has {ndim} axes.")
    return feature_axis % ndim


def check_nan_rule(nan: str) -> None:
    """Raise ValueError if `nan` is neither "error" nor "drop"."""
    if nan not in NAN_RULES:
        raise ValueError(f'nan must be "error" or "drop", got {nan!r}.')


def check_piece(piece: NDArray[Any], expected: Sequence[int | None], name: str) -> None:
    """Raise DataError if a piece does not have the announced shape (None: any length) or no real numbers."""
    if piece.dtype.kind not in "biuf":
        raise DataError(f"{name} has dtype {piece.dtype}, but real numbers were announced.")
    agrees = len(expected) == piece.ndim and all(
        e is None or e == n for e, n in zip(expected, piece.shape, strict=True)
    )
    if not agrees:
        announced = tuple("unknown" if e is None else e for e in expected)
        raise DataError(f"{name} has shape {piece.shape}, but {announced} was announced.")


def cell_shape_lcm(shapes: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """Return the smallest cell that is made of whole chunks of every array on the grid."""
    return tuple(reduce(math.lcm, axis) for axis in zip(*shapes, strict=True))
