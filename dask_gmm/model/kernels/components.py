"""What a covariance type makes kernels from."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Components:
    """A mixture's components as arrays.

    Attributes
    ----------
    centre : ndarray of shape (n_features,)
        A point near all rows: the mixture's own mean.
    means : ndarray of shape (n_components, n_features)
    factors : ndarray
        Of the precisions, in the covariance type's shape.
    peaks : ndarray of shape (n_components,)
        Log-joint of each component at its own mean, in nats.
    """

    centre: Array
    means: Array
    factors: Array
    peaks: Array
