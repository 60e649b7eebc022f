"""What a fit went through, as arrays of a model file: 56 bytes an iteration, 16 a pass."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.em import Iteration
from dask_gmm.fitting.history import History
from dask_gmm.fitting.passes import PassRecord
from dask_gmm.storage.container import Arrays

_ITERATIONS, _PASSES, _COUNTS = "history_iterations", "history_passes", "history_counts"


def history_arrays(history: History) -> Arrays:
    """Return arrays from which `loaded_history` makes it again."""
    iterations = [
        (number, i.lower_bound, i.gain, i.remaining, i.rejected, i.pass_number, i.leap)
        for number, restart in enumerate(history.restarts)
        for i in restart
    ]
    # NaN stands for a size that is not known, -1 for a number of passes that is not.
    passes = [(p.seconds, np.nan if p.n_bytes is None else p.n_bytes) for p in history.passes]
    left = -1 if history.passes_left is None else history.passes_left
    return {
        _ITERATIONS: np.array(iterations, dtype=np.float64).reshape(-1, 7),
        _PASSES: np.array(passes, dtype=np.float64).reshape(-1, 2),
        _COUNTS: np.array([history.best, len(history.restarts), left], dtype=np.int64),
    }


def loaded_history(arrays: Arrays) -> History | None:
    """Return the history in a file; None where it has none.

    Raises
    ------
    ValueError, LookupError, OverflowError
        Something that `history_arrays` does not write.
    """
    if _COUNTS not in arrays:
        return None
    iterations, passes = arrays[_ITERATIONS], arrays[_PASSES]
    best, n_restarts, left = map(int, arrays[_COUNTS])
    restart, _, _, _, _, number, _ = iterations.T
    if not (
        0 <= best < n_restarts
        and _are_numbers_below(restart, n_restarts)
        and _are_numbers_below(number, len(passes))
        # Nothing else bounds what is made of it.
        and n_restarts <= max(10 * len(iterations), 10_000)
    ):
        raise ValueError("a history of restarts or passes that it does not have")
    return History(
        best,
        tuple(tuple(map(_iteration, iterations[restart == one])) for one in range(n_restarts)),
        tuple(PassRecord(float(seconds), None if np.isnan(size) else int(size)) for seconds, size in passes),
        None if left < 0 else left,
    )


def _are_numbers_below(values: NDArray[np.float64], end: int) -> bool:
    return bool(((values >= 0) & (values < end) & (values == np.floor(values))).all())


def _iteration(row: NDArray[np.float64]) -> Iteration:
    _, lower_bound, gain, remaining, rejected, number, leap = row.tolist()
    return Iteration(lower_bound, gain, remaining, bool(rejected), int(number), bool(leap))
