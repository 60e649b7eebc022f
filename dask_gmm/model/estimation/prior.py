"""The conjugate prior of a component: its mean normal, its covariance inverse Wishart."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Prior:
    """What is believed of each component before the data; what is None is taken from the moments of the data.

    Attributes
    ----------
    covariance_type : str
    n_components : int
    mean : ndarray of shape (n_features,), or None
    mean_precision : float
        How many rows the belief of the mean is worth.
    degrees_of_freedom : float or None
    scale : ndarray or None
        Of the shape of one covariance; for 'spherical' of one number.
    shrunk : bool
        Whether a scale from the data is that of a component rather than of all rows: divided by
        n_components to the power of 2 / n_features, with the same variance for all features where covariances
        are variances.
    """

    covariance_type: str
    n_components: int
    mean: Array | None
    mean_precision: float
    degrees_of_freedom: float | None
    scale: Array | None
    shrunk: bool = False

    def informed(self, moments: Moments, degrees_of_freedom: float) -> Prior:
        """Return the prior with what is missing from the moments of all rows."""
        structure = covariance_structure(self.covariance_type)
        scale = self.scale
        if scale is None:
            assert moments.scatter is not None
            covariance = moments.scatter / max(moments.weight - 1.0, np.finfo(float).tiny)
            if self.shrunk:
                covariance = covariance / self.n_components ** (2.0 / len(covariance))
            scale = structure.scale_of(covariance, equal=self.shrunk)
        return replace(
            self,
            mean=moments.mean.copy() if self.mean is None else self.mean,
            degrees_of_freedom=(
                degrees_of_freedom if self.degrees_of_freedom is None else self.degrees_of_freedom
            ),
            scale=scale,
        )

    @property
    def asks_rows(self) -> bool:
        """Whether something of it is still to be taken from the rows."""
        return self.mean is None or self.degrees_of_freedom is None or self.scale is None

    @property
    def complete(self) -> tuple[Array, float, float, Array]:
        """Mean, its precision, degrees of freedom and scale, once the prior is informed."""
        assert self.mean is not None
        assert self.degrees_of_freedom is not None
        assert self.scale is not None
        return self.mean, self.mean_precision, self.degrees_of_freedom, self.scale
