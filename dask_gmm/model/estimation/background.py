"""A background: rows that belong to no component, uniform in a volume.

Banfield and Raftery, Model-based Gaussian and non-Gaussian clustering (1993), section 4; Hennig and Coretto,
The noise component in model-based cluster analysis (2008). Components are estimated as without it, from the
rows' remaining responsibilities.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError
from dask_gmm.model.density import Density
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.moments import Moments
from dask_gmm.model.parameters import Background, Parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

# Where EM begins: enough that rows far from all components find it.
_FIRST_WEIGHT = 0.05


@dataclass(frozen=True, eq=False)
class OverBackground(Estimation):
    """Another estimation, over a uniform background.

    Attributes
    ----------
    within : Estimation
        Of the components.
    log_volume : float or None
        None for the box of the data, along the axes, once it is informed.
    n_free : int
        Free parameters of the background.
    """

    within: Estimation
    log_volume: float | None
    n_free: int

    @property
    def has_prior(self) -> bool:  # type: ignore[override]
        return self.within.has_prior

    @property
    def asks_moments(self) -> bool:
        return self.log_volume is None or self.within.asks_moments

    @property
    def asks_box(self) -> bool:
        return self.log_volume is None

    @property
    def asks_rows(self) -> bool:
        return self.log_volume is None or self.within.asks_rows

    def informed(self, moments: Moments) -> OverBackground:
        within = self.within.informed(moments) if self.within.asks_moments else self.within
        if self.log_volume is not None:
            return replace(self, within=within)
        return replace(self, within=within, log_volume=log_volume_of(moments))

    def started(self, parameters: Parameters) -> Parameters:
        return parameters if parameters.background else self.as_given(self.within.started(parameters))

    def as_given(self, parameters: Parameters) -> Parameters:
        assert self.log_volume is not None
        background = Background(_FIRST_WEIGHT, self.log_volume, self.n_free)
        return replace(parameters, weights=(1.0 - _FIRST_WEIGHT) * parameters.weights, background=background)

    def density(self, parameters: Parameters) -> Density:
        return self.within.density(parameters)

    def objective(self, parameters: Parameters, statistics: Statistics) -> float:
        return self.within.objective(parameters, statistics)

    def maximize(
        self,
        parameters: Parameters,
        statistics: Statistics,
        origins: Array,
        *,
        reg_covar: float,
        dtype: np.dtype[np.floating],
    ) -> Parameters:
        found = self.within.maximize(parameters, statistics, origins, reg_covar=reg_covar, dtype=dtype)
        assert parameters.background is not None
        share = min(1.0, float(statistics.nk.sum()) / statistics.totals.weight)
        background = replace(parameters.background, weight=1.0 - share)
        return replace(found, weights=share * found.weights, background=background)


def log_volume_of(moments: Moments) -> float:
    """Return the logarithm of the volume of the box of all rows.

    Raises
    ------
    DataError
        A feature that has the same value in all rows.
    """
    assert moments.lowest is not None
    assert moments.highest is not None
    lengths = moments.highest - moments.lowest
    if not (lengths > 0.0).all():
        raise DataError(
            f"Feature {int(np.argmin(lengths))} of X has the same value in all rows, so that their box has "
            "no volume for a background to be uniform in. Leave it out, or give background_volume."
        )
    return float(np.log(lengths).sum())
