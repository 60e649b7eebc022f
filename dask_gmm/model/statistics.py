"""The sufficient statistics of one pass: the small value that travels.

All first and second moments are about one origin per component, fixed before the pass, so that
statistics of different rows simply add. The origin is the component's mean before the pass (or one
point near all the data where that loses nothing); moments about zero would cancel
catastrophically on data with an offset.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import covariance_structure

Array = NDArray[np.float64]


@dataclass(slots=True)
class Totals:
    """Scalars of a pass.

    Attributes
    ----------
    log_likelihood : float
        Sum of sample weight times log density, in nats.
    weight : float
        Sum of the sample weights; the number of rows when there are none.
    n_rows : int
        Rows seen, dropped ones not counted.
    """

    log_likelihood: float = 0.0
    weight: float = 0.0
    n_rows: int = 0

    def add(self, other: Totals) -> None:
        """Add `other` in place."""
        self.log_likelihood += other.log_likelihood
        self.weight += other.weight
        self.n_rows += other.n_rows


@dataclass(frozen=True, slots=True)
class Statistics:
    """What the M-step needs to know of the rows.

    Attributes
    ----------
    nk : ndarray of shape (n_components,)
        Sum of responsibilities times sample weights.
    first : ndarray of shape (n_components, n_features)
        Sum of r (x - origin_k).
    second : ndarray
        Sum of r (x - origin_k)(x - origin_k)^T in the covariance type's shape, see
        `dask_gmm.model.covariance`.
    totals : Totals
    more : ndarray
        Whatever else a kernel sums; of a shape that its observation says, mostly empty.
    """

    nk: Array
    first: Array
    second: Array
    totals: Totals
    more: Array

    @classmethod
    def zero(
        cls, covariance_type: str, n_components: int, n_features: int, more: tuple[int, ...] = (0,)
    ) -> Statistics:
        """Return the statistics of no rows; `more` is the shape of what else is summed."""
        second_shape = covariance_structure(covariance_type).second_shape(n_components, n_features)
        return cls(
            np.zeros(n_components),
            np.zeros((n_components, n_features)),
            np.zeros(second_shape),
            Totals(),
            np.zeros(more),
        )

    def add(self, other: Statistics) -> None:
        """Add `other`, of other rows about the same origins, in place."""
        np.add(self.nk, other.nk, out=self.nk)
        np.add(self.first, other.first, out=self.first)
        np.add(self.second, other.second, out=self.second)
        np.add(self.more, other.more, out=self.more)
        self.totals.add(other.totals)

    @property
    def mean_log_likelihood(self) -> float:
        """Mean log density of a row, in nats: the lower bound of the parameters that made them."""
        return self.totals.log_likelihood / self.totals.weight
