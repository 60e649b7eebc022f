"""The precision of the arithmetic, where the user wants it otherwise."""

from __future__ import annotations

from typing import Any

import numpy as np

from dask_gmm.config import PRECISION


def arithmetic(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """Return the dtype in which rows of `dtype` are multiplied; sums over rows are in float64 either way.

    The Dask configuration value ``dask-gmm.precision`` decides: with 'auto', the default, float32 rows are
    multiplied in float32 while components are not far apart in units of their size (and in float64 beyond),
    which is about twice as fast; 'double' asks for float64 always.

    Raises
    ------
    ValueError
        Another value.
    """
    return np.dtype(np.float64) if PRECISION.get() == "double" else dtype
