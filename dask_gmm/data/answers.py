"""What a prediction says of the rows of one block."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.checks import check_rows
from dask_gmm.data.source import Answer, Block


def checked_answer(block: Block, answer: Answer) -> NDArray[Any]:
    """Return `as_answer` of a block that nobody has checked yet.

    Raises
    ------
    DataError
        NaN or infinity: such a row would get a label like any other.
    """
    if not answer.checks:
        check_rows(block)
    return as_answer(block, answer)


def as_answer(block: Block, answer: Answer) -> NDArray[Any]:
    """Apply `answer` to a block and put `answer.missing` where rows were dropped."""
    values = answer.function(block) if len(block.rows) else None
    if block.kept is None and values is not None:
        return values
    shape = (block.n_positions,) if answer.n_columns is None else (block.n_positions, answer.n_columns)
    filled = np.full(shape, answer.missing, dtype=answer.dtype)
    if values is not None:
        filled[block.kept] = values
    return filled
