"""Labels of float64 arithmetic at the price of float32: most rows are far from any border."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.kernel import Kernel
from dask_gmm.model.kernels.quadratic import QuadraticKernel

# Rows at a time: what is in doubt is copied.
_SLAB_ROWS = 16_384
# Fewer numbers are not worth a second kernel, which a machine compiles when it first needs it.
_FEWEST_NUMBERS = 1 << 16
# Where a larger share is in doubt, the first look is not worth its time.
_MOST_DOUBT = 0.3


class SettledLabels:
    """Writes the labels of a precise kernel, but asks it for those rows only that a quick one cannot settle.

    Parameters
    ----------
    quick : QuadraticKernel
        One that settles.
    precise : Kernel
    """

    def __init__(self, quick: QuadraticKernel, precise: Kernel) -> None:
        self._quick, self._precise = quick, precise

    def __call__(self, rows: NDArray[Any], out: NDArray[np.int64]) -> None:
        """Write each row's label to `out`; see `Kernel.labels`."""
        if rows.size < _FEWEST_NUMBERS:
            self._precise.labels(rows, out)
            return
        for start in range(0, len(rows), _SLAB_ROWS):
            slab, labels = rows[start : start + _SLAB_ROWS], out[start : start + _SLAB_ROWS]
            self._quick.labels(slab, labels)
            (doubtful,) = np.nonzero(labels < 0)
            if len(doubtful) > _MOST_DOUBT * len(slab):
                self._precise.labels(rows[start:], out[start:])
                return
            if len(doubtful):
                labels_of_few = np.empty(len(doubtful), np.int64)
                self._precise.labels(slab[doubtful], labels_of_few)
                labels[doubtful] = labels_of_few
