"""The reductions that fitting asks of the engine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.checks import check_rows, check_weights
from dask_gmm.data.source import Block
from dask_gmm.model.density import Density
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.observation import Kernel, Observation
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Evaluation:
    """A mixture to evaluate on rows.

    Attributes
    ----------
    density : Density
    dtype : dtype
        The dtype of the products.
    observation : Observation
        How the rows were observed.
    """

    density: Density
    dtype: np.dtype[Any]
    observation: Observation = COMPLETE

    @cached_property
    def kernel(self) -> Kernel:
        """The kernel that evaluates this mixture; made anew on every worker, the same one."""
        return self.observation.kernel(self.density, self.dtype)

    def __getstate__(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


class EStep(Evaluation):
    """E-step: blocks of rows in, `Statistics` out."""

    def zero(self) -> Statistics:
        """Return the statistics of no rows."""
        density = self.density
        more = self.observation.more_shape(density)
        return Statistics.zero(density.covariance_type, density.n_components, density.n_features, more)

    def update(self, value: Statistics, block: Block) -> Statistics:
        """Add a block's statistics."""
        self.kernel.accumulate(value, block)
        return value

    def combine(self, values: Sequence[Statistics]) -> Statistics:
        """Sum in the order given."""
        merged = self.zero()
        for value in values:
            merged.add(value)
        return merged


class LogLikelihood(Evaluation):
    """The log-likelihood of rows that are checked on the way."""

    def zero(self) -> Totals:
        """Return the totals of no rows."""
        return Totals()

    def update(self, value: Totals, block: Block) -> Totals:
        """Add a block's log-likelihood."""
        check_rows(block)
        check_weights(block)
        log_density = np.empty(len(block.rows), dtype=block.rows.dtype)
        self.kernel.log_density(block, log_density)
        told = self.kernel.told(block)
        weights = block.weights
        if told is not None:
            log_density = log_density[told]
            weights = None if weights is None else weights[told]
        n_rows = len(log_density)
        if weights is None:
            value.add(Totals(float(log_density.sum(dtype=np.float64)), float(n_rows), n_rows))
        else:
            counted = weights > 0
            total = float(weights[counted] @ log_density[counted])
            value.add(Totals(total, float(weights.sum()), n_rows))
        return value

    def combine(self, values: Sequence[Totals]) -> Totals:
        """Sum in the order given."""
        merged = Totals()
        for value in values:
            merged.add(value)
        return merged
