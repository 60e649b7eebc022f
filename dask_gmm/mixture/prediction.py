"""Labels, probabilities and densities: what a fitted mixture says of rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Answer, Block
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.memory_pressure import give_back_if_short
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.mixture.fitted import OBSERVATION, FittedMixture, fitted_density
from dask_gmm.model.density import Density
from dask_gmm.model.observation.observation import Kernel, Observation

Quantity = Literal["labels", "probabilities", "log_density"]
#: What is said of them where they have attributes.
LONG_NAMES: Mapping[str, str] = {
    "labels": "most probable component of the Gaussian mixture",
    "probabilities": "posterior probability of each component of the Gaussian mixture",
    "log_density": "log density under the Gaussian mixture, in nats",
}


@dataclass(frozen=True)
class Prediction:
    """One quantity of a mixture as a function of blocks; picklable, so that it travels to lazy data.

    Attributes
    ----------
    density : Density
    observation : Observation
        How the rows are observed.
    quantity : {'labels', 'probabilities', 'log_density'}
    dtype : dtype
        Of the result.
    arithmetic : dtype
        Of the products.
    """

    density: Density
    observation: Observation
    quantity: Quantity
    dtype: np.dtype[Any]
    arithmetic: np.dtype[Any]

    @cached_property
    def _kernel(self) -> Kernel:
        with SingleBlasThread():
            return self.observation.kernel(self.density, self.arithmetic)

    def __getstate__(self) -> dict[str, Any]:
        # The kernel is made anew where it is needed.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __call__(self, block: Block) -> NDArray[Any]:
        """Return the quantity for the rows of a block."""
        kernel, rows = self._kernel, block.rows
        n_columns = self.answer.n_columns
        shape = (len(rows),) if n_columns is None else (len(rows), n_columns)
        out = np.empty(shape, dtype=np.int64 if self.quantity == "labels" else rows.dtype)
        if self.quantity == "labels":
            kernel.labels(block, out)
        elif self.quantity == "log_density":
            kernel.log_density(block, out)
        else:
            kernel.responsibilities(block, out)
        give_back_if_short()
        return out.astype(self.dtype, copy=False)

    @property
    def answer(self) -> Answer:
        """What sources need to know to lay out the result beforehand."""
        n_columns = self.density.n_components if self.quantity == "probabilities" else None
        missing = -1 if self.quantity == "labels" else np.nan
        return Answer(self, self.dtype, n_columns, missing, self.quantity, LONG_NAMES[self.quantity])


def prediction(model: FittedMixture, quantity: Quantity, rows_dtype: np.dtype[Any]) -> Answer:
    """Return `quantity` of a fitted model as a function of blocks.

    Labels are int64; other quantities are float32 where both model and rows are.
    """
    result = np.int64 if quantity == "labels" else np.result_type(rows_dtype, model.weights_)
    density, dtype = fitted_density(model), np.dtype(result)
    return Prediction(density, OBSERVATION, quantity, dtype, arithmetic(rows_dtype)).answer
