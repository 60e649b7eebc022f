"""Pieces of arrays as rows: laid out, numbered, checked, without those that are missing."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Block
from dask_gmm.errors import DataError

#: Rows of cell i are numbered from i times this where the rows before the cell cannot be counted.
UNKNOWN_STRIDE = 2**40

#: What becomes of rows with a NaN or a null: an error; they are left out; they stay, with the NaN as a hole.
NanRule = Literal["error", "drop", "keep"]
NAN_RULES = ("error", "drop", "keep")


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


def under_nan_rule(block: Block, nan: NanRule) -> Block:
    """Return the block as a rule for NaN has it: without such rows, or with holes."""
    if nan == "drop":
        return without_nan_rows(block)
    return replace(block, holes=True) if nan == "keep" else block


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
    """Raise ValueError if `nan` is none of the rules."""
    if nan not in NAN_RULES:
        raise ValueError(f'nan must be "error", "drop" or "keep", got {nan!r}.')


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
