"""A kernel that a covariance type made of a mixture."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.kernel import Kernel
from dask_gmm.model.kernels.settled import SettledLabels, SettlingKernel
from dask_gmm.model.kernels.softmax import BITS

Array = NDArray[np.float64]
Labels = Callable[[NDArray[Any], NDArray[np.int64]], None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """A kernel for one mixture, with what is to be known of its sums.

    Attributes
    ----------
    kernel : Kernel
        Its statistics are, column by column, the sums of 1 and of x - origin, then whatever the covariance
        type makes second moments from (`Covariance.pooled`).
    origins : ndarray of shape (n_components, n_features)
        What each component's sums are about.
    far : callable
        Returns a kernel in float64 for rows so far away that sums of infinite terms are no number.
    second_of_scatter : callable or None
        Where the kernel leaves second moments out since no iteration changes them: makes them from the
        scatter of all rows about the origin, shape (n_features, n_features).
    quick : callable or None
        Returns a kernel that settles most labels faster.
    """

    kernel: Kernel
    origins: Array
    far: Callable[[], Kernel]
    second_of_scatter: Callable[[Array], Array] | None = None
    quick: Callable[[], SettlingKernel] | None = None

    def over(self, background: float, means: Array) -> Prepared:
        """Return the same over a background.

        Parameters
        ----------
        background : float
            Its log-joint, in nats; -inf for none.
        means : ndarray of shape (n_components, n_features)
        """
        if background == -np.inf:
            return self

        def with_background(kernel: Kernel) -> Kernel:
            kernel.background = BITS * background
            return kernel

        def far() -> Kernel:
            return with_background(self.far())

        # Where not all of a row is the components', their second moments are not those of all rows.
        if self.second_of_scatter is not None:
            return Prepared(far(), means, far)
        return Prepared(with_background(self.kernel), self.origins, far)

    def labels(self) -> Labels:
        """Return what writes each row's most probable component to an array."""
        return self.kernel.labels if self.quick is None else SettledLabels(self.quick(), self.kernel)
