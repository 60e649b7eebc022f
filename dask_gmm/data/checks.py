"""Checks of the rows themselves, made on blocks that a pass reads anyway."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.rows import UNKNOWN_STRIDE
from dask_gmm.data.source import Block, correlation_column, error_column
from dask_gmm.errors import DataError


def check_length(column: str, values: NDArray[Any], n_rows: int, where: str) -> None:
    """Raise DataError if a column has not one value for each row of the chunk that is called `where`."""
    if len(values) != n_rows:
        raise DataError(f"{where}: {column} has {len(values)} values here, X has {n_rows} rows.")


def check_rows(block: Block) -> None:
    """Refuse infinity, and NaN where it is no hole.

    Raises
    ------
    DataError
        Naming the chunk and the first bad row.
    """
    check_errors(block)
    rows = block.rows
    # The sum of finite numbers is finite unless it overflows, so it clears most blocks at one read.
    with np.errstate(over="ignore", invalid="ignore"):
        if not len(rows) or np.isfinite(rows.sum()):
            return
    good = np.isfinite(rows) | np.isnan(rows) if block.holes else np.isfinite(rows)
    finite = good.all(axis=1)
    if finite.all():
        return
    first = int(np.argmin(finite))
    bad = rows[first][~good[first]][0]
    what = "NaN" if np.isnan(bad) else f"infinity or a value too large for dtype({rows.dtype.name!r})"
    advice = (
        ' Fill them, or leave such rows out with nan="drop", of the estimator or of the source. '
        "Values behind a mask count as NaN."
        if np.isnan(bad)
        else ""
    )
    raise DataError(
        f"Input X contains {what}.\nThe first bad value is in row {_position(block, first)}, "
        f"{len(rows) - int(finite.sum())} of its {len(rows)} rows are bad.{advice}"
    )


def check_errors(block: Block) -> None:
    """Refuse errors that are none: negative or missing ones, correlations that cannot be.

    Raises
    ------
    DataError
        Naming the chunk, the row and the feature.
    """
    d = block.rows.shape[1]
    if error_column(0) not in block.columns:
        return
    errors = np.column_stack([block.columns[error_column(j)] for j in range(d)])
    seen = ~np.isnan(block.rows)
    with np.errstate(invalid="ignore"):
        bad = seen & ~(errors >= 0.0)
    if bad.any():
        row, feature = map(int, np.argwhere(bad)[0])
        raise DataError(
            f"The standard error of feature {feature} is {errors[row, feature]} beside a value, in row "
            f"{_position(block, row)}: give zero for an exact one, inf for one that is missing, or its error."
        )
    pairs = [(i, j) for j in range(d) for i in range(j) if correlation_column(i, j) in block.columns]
    if pairs:
        _check_correlations(block, pairs, seen & np.isfinite(errors))


def _check_correlations(block: Block, pairs: list[tuple[int, int]], seen: NDArray[np.bool_]) -> None:
    n, d = seen.shape
    matrices = np.tile(np.eye(d), (n, 1, 1))
    for i, j in pairs:
        values = block.columns[correlation_column(i, j)]
        both = seen[:, i] & seen[:, j]
        with np.errstate(invalid="ignore"):
            bad = both & ~(np.abs(values) <= 1.0)
        if bad.any():
            row = int(np.argmax(bad))
            raise DataError(
                f"The correlation between the errors of features {i} and {j} is {values[row]} in row "
                f"{_position(block, row)}; it lies between -1 and 1."
            )
        matrices[:, i, j] = matrices[:, j, i] = np.where(both, values, 0.0)
    least = np.linalg.eigvalsh(matrices)[:, 0] if n else np.ones(1)
    if least.min() < -1e-10:
        row = int(np.argmin(least))
        raise DataError(
            f"The correlations between the errors of row {_position(block, row)} cannot be true together: "
            f"their matrix has the eigenvalue {least[row]:.3g}."
        )


def check_weights(block: Block) -> None:
    """Refuse negative and non-finite sample weights.

    Raises
    ------
    DataError
        Naming the chunk and the first bad weight.
    """
    if block.weights is None:
        return
    good = np.isfinite(block.weights) & (block.weights >= 0)
    if good.all():
        return
    first = int(np.argmin(good))
    what = "Negative values" if block.weights[first] < 0 else "NaN or infinity"
    raise DataError(
        f"{what} in data passed to `sample_weight`: {block.weights[first]} in row {_position(block, first)}. "
        "Weights must be zero or more; a row of weight zero counts for nothing."
    )


def _position(block: Block, row: int) -> str:
    number = int(block.numbers()[row])
    if number < UNKNOWN_STRIDE:
        return f"{number} ({block.name})"
    # Nobody has counted the rows before this chunk.
    return f"{number % UNKNOWN_STRIDE} of its chunk ({block.name})"
