"""Labels, probabilities and densities: what a fitted mixture says of rows."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Answer, Block, Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.memory_pressure import give_back_if_short
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.mixture.fitted import FittedMixture, fitted_density, observation_of, refuse_background
from dask_gmm.model.density import Density
from dask_gmm.model.draws import row_seeds
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.holes import HOLES, HolesKernel
from dask_gmm.model.observation.measured import MEASURED, MeasuredRows
from dask_gmm.model.observation.observation import Kernel, Observation

# Factors of so many bytes: to make a kernel of them takes longer than to evaluate a row, so it is kept for
# those who predict row by row, as servers do.
_SMALL_BYTES = 1 << 16

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
        if self.density.precisions_cholesky.nbytes <= _SMALL_BYTES:
            return _kept_kernel(_ByBits(self.observation, self.density, self.arithmetic))
        return _new_kernel(self.observation, self.density, self.arithmetic)

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


class _ByBits:
    """What a kernel is made of, as a key: two are equal where their numbers are, to the last bit."""

    def __init__(self, observation: Observation, density: Density, arithmetic: np.dtype[Any]) -> None:
        self.parts = observation, density, arithmetic
        arrays = density.weights, density.means, density.precisions_cholesky
        self._bits = (
            observation,
            density.covariance_type,
            density.background,
            arithmetic,
            *((array.shape, array.tobytes()) for array in arrays),
        )

    def __hash__(self) -> int:
        return hash(self._bits)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _ByBits) and self._bits == other._bits


@lru_cache(maxsize=4)
def _kept_kernel(key: _ByBits) -> Kernel:
    return _new_kernel(*key.parts)


def _new_kernel(observation: Observation, density: Density, arithmetic: np.dtype[Any]) -> Kernel:
    with SingleBlasThread():
        return observation.kernel(density, arithmetic)


@dataclass(frozen=True)
class ExpectedRows(ABC):
    """Rows as a mixture expects them, as a function of blocks; picklable, so that it travels to lazy data.

    Attributes
    ----------
    density : Density
    dtype : dtype
        Of the rows.
    """

    density: Density
    dtype: np.dtype[Any]

    def __getstate__(self) -> dict[str, Any]:
        # Kernels are made anew where they are needed.
        return {field.name: getattr(self, field.name) for field in fields(self)}

    def __call__(self, block: Block) -> NDArray[Any]:
        """Return the rows of a block as they are expected to be."""
        out = np.empty(block.rows.shape, dtype=self.dtype)
        self._write(block, out)
        give_back_if_short()
        return out

    @abstractmethod
    def _write(self, block: Block, out: NDArray[Any]) -> None: ...

    def answer(self, name: str, long_name: str) -> Answer:
        """Return it as an answer of this name."""
        return Answer(self, self.dtype, self.density.n_features, np.nan, name, long_name)


@dataclass(frozen=True)
class Imputation(ExpectedRows):
    """Rows with their holes filled.

    Attributes
    ----------
    seed : int or None
        Of draws from the conditional distribution; None for its mean.
    """

    seed: int | None

    @cached_property
    def _kernel(self) -> HolesKernel:
        with SingleBlasThread():
            return HOLES.kernel(self.density, np.dtype(np.float64))

    def _write(self, block: Block, out: NDArray[Any]) -> None:
        if self.seed is None:
            self._kernel.impute(block, out)
        else:
            self._kernel.draw(block, out, row_seeds(block.rows, block.numbers(), self.seed))


@dataclass(frozen=True)
class Denoising(ExpectedRows):
    """Where rows are expected to be truly."""

    @cached_property
    def _kernel(self) -> MeasuredRows:
        with SingleBlasThread():
            return MEASURED.kernel(self.density, np.dtype(np.float64))

    def _write(self, block: Block, out: NDArray[Any]) -> None:
        self._kernel.denoise(block, out)


def imputation(model: FittedMixture, rows_dtype: np.dtype[Any], seed: int | None = None) -> Answer:
    """Return the rows with their holes filled, of the rows' dtype, as a function of blocks."""
    function = Imputation(fitted_density(model), rows_dtype, seed)
    return function.answer("imputed", "rows with missing values filled in")


def denoising(model: FittedMixture, rows_dtype: np.dtype[Any]) -> Answer:
    """Return where rows are expected to be truly, of the rows' dtype, as a function of blocks."""
    return Denoising(fitted_density(model), rows_dtype).answer("denoised", "expected values without errors")


def prediction(model: FittedMixture, quantity: Quantity, source: Source) -> Answer:
    """Return `quantity` of a fitted model as a function of blocks of `source`.

    Labels are int64; other quantities are float32 where both model and rows are.
    """
    result = np.int64 if quantity == "labels" else np.result_type(source.dtype, model.weights_)
    density, dtype = fitted_density(model), np.dtype(result)
    observation = observation_of(model, source)
    if observation is not COMPLETE:
        refuse_background(model, "A prediction for rows with missing values or errors")
    return Prediction(density, observation, quantity, dtype, arithmetic(source.dtype)).answer
