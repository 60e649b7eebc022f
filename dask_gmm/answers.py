"""Labels, probabilities and densities: what a fitted mixture says of rows."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Answer
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.model.density import Density
from dask_gmm.model.estep import choose_kernel

Quantity = Literal["labels", "probabilities", "log_density"]


@dataclass(frozen=True, slots=True)
class Prediction:
    """One quantity of a mixture as a function of rows; picklable, so that it travels to lazy data.

    Attributes
    ----------
    density : Density
    quantity : {'labels', 'probabilities', 'log_density'}
    dtype : dtype
        Of the result.
    """

    density: Density
    quantity: Quantity
    dtype: np.dtype[Any]

    def __call__(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Return the quantity for rows of shape (n, n_features)."""
        kernel = choose_kernel(self.density, rows.dtype)
        n_columns = self.answer.n_columns
        shape = (len(rows),) if n_columns is None else (len(rows), n_columns)
        out = np.empty(shape, dtype=np.int64 if self.quantity == "labels" else rows.dtype)
        with SingleBlasThread():
            if self.quantity == "labels":
                kernel.labels(rows, out)
            elif self.quantity == "log_density":
                kernel.log_density(rows, out)
            else:
                kernel.responsibilities(rows, out)
        return out.astype(self.dtype, copy=False)

    @property
    def answer(self) -> Answer:
        """What sources need to know to lay out the result beforehand."""
        n_columns = self.density.n_components if self.quantity == "probabilities" else None
        return Answer(self, self.dtype, n_columns, -1 if self.quantity == "labels" else np.nan)


def prediction(density: Density, quantity: Quantity, dtype: np.dtype[Any]) -> Answer:
    """Return `quantity` as a function of rows: labels in int64, other quantities in `dtype`."""
    return Prediction(density, quantity, np.dtype(np.int64) if quantity == "labels" else dtype).answer
