"""The correlations of each component as heat maps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.plotting.canvas import axes_of, deviations_and_correlations, matrices_of, names_of

Array = NDArray[np.float64]

# Names of more features would lie over each other.
_MOST_NAMES = 12


@dataclass
class CovarianceDisplay:
    """A heat map of correlations for each component.

    Parameters
    ----------
    correlations : ndarray of shape (n, n_features, n_features)
    components : sequence of int
        Their numbers.
    weights : ndarray of shape (n,)
    names : sequence of str

    Attributes
    ----------
    figure_, ax_
        Of matplotlib; `ax_` is an array of axes.
    """

    correlations: Array
    components: Sequence[int]
    weights: Array
    names: Sequence[str]
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)

    @classmethod
    def from_estimator(cls, estimator: Any, components: Sequence[int] | None = None) -> Self:
        """Draw a fitted mixture.

        Parameters
        ----------
        estimator : GaussianMixture
        components : sequence of int, optional
            Which ones; all without it.
        """
        check_is_fitted(estimator)
        chosen = list(range(len(estimator.weights_)) if components is None else components)
        _, correlations = deviations_and_correlations(matrices_of(estimator)[chosen])
        weights = np.asarray(estimator.weights_, dtype=np.float64)[chosen]
        return cls(correlations, chosen, weights, names_of(estimator)).plot()

    def plot(self) -> Self:
        """Draw on a new figure."""
        n = len(self.components)
        columns = min(n, max(4, math.ceil(math.sqrt(n))))
        rows = math.ceil(n / columns)
        self.figure_, axes = axes_of(
            None, nrows=rows, ncols=columns, figsize=(1.7 * columns + 1, 1.8 * rows + 0.6), squeeze=False
        )
        self.ax_ = axes.ravel()
        image = None
        named = len(self.names) <= _MOST_NAMES
        for position, ax in enumerate(self.ax_):
            if position >= n:
                ax.set_axis_off()
                continue
            # From blue over white to red: both ends differ for every kind of colour vision.
            image = ax.imshow(self.correlations[position], vmin=-1, vmax=1, cmap="RdBu_r")
            ax.set_title(f"{self.components[position]} ({self.weights[position]:.1%})", fontsize=8)
            first = position % columns == 0
            last = position + columns >= n
            ticks = range(len(self.names)) if named else []
            ax.set_xticks(ticks, self.names if named and last else [""] * len(ticks), rotation=90, fontsize=7)
            ax.set_yticks(ticks, self.names if named and first else [""] * len(ticks), fontsize=7)
        if image is not None:
            self.figure_.colorbar(image, ax=list(self.ax_[:n]), label="correlation", shrink=0.8)
        return self
