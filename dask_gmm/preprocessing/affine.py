"""Rows minus a centre, divided by scales, times a matrix: what scaling and principal components both are."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


@dataclass(frozen=True, slots=True)
class Affine:
    """An affine map of rows, picklable.

    Attributes
    ----------
    centre : ndarray of shape (n_features,), or None
        Subtracted before anything is multiplied, so that large offsets cost no digits.
    scale : ndarray of shape (n_features,), or None
        What centred features are divided by.
    matrix : ndarray of shape (n_features, n_out), or None
        What they are multiplied by then.
    """

    centre: Array | None
    scale: Array | None
    matrix: Array | None

    def __call__(self, rows: Array) -> Array:
        """Return the mapped rows, in the dtype of `rows`."""
        mapped = np.array(rows, dtype=np.float64) if self.centre is None else rows - self.centre
        if self.scale is not None:
            mapped /= self.scale
        if self.matrix is not None:
            mapped = mapped @ self.matrix
        return mapped.astype(rows.dtype, copy=False)

    @property
    def identity(self) -> str:
        """A text that changes with the numbers."""
        digest = sha256()
        for part in (self.centre, self.scale, self.matrix):
            digest.update(b"-" if part is None else np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:16]
