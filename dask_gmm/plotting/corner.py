"""Every pair of some features of a mixture, and each feature alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.plotting.canvas import COLOURS, MOST_COLOURS, axes_of, matrices_of, names_of, position_of
from dask_gmm.plotting.ellipses import MixtureDisplay
from dask_gmm.plotting.sampled_rows import sampled_rows

Array = NDArray[np.float64]

_ROWS, _BINS, _POINTS = 20_000, 60, 300
# More features make cells too small to read.
_MOST_FEATURES = 8


@dataclass
class MixtureCornerDisplay:
    """A grid of `MixtureDisplay` for each pair of features, with the densities of each on the diagonal.

    Parameters
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, n)
    covariances : ndarray of shape (n_components, n, n)
    names : sequence of str
    rows : ndarray of shape (m, n), optional

    Attributes
    ----------
    figure_, ax_
        Of matplotlib; `ax_` is an array of shape (n, n).
    """

    weights: Array
    means: Array
    covariances: Array
    names: Sequence[str]
    rows: NDArray[Any] | None = None
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: Any = None, features: Sequence[int | str] | None = None
    ) -> Self:
        """Draw a fitted mixture; parameters as in `MixtureDisplay`. By default the first 8 features."""
        check_is_fitted(estimator)
        names = names_of(estimator)
        chosen = range(min(len(names), _MOST_FEATURES)) if features is None else features
        numbers = [position_of(feature, names) for feature in chosen]
        rows = None if X is None else sampled_rows(estimator, X, _ROWS)[:, numbers]
        return cls(
            np.asarray(estimator.weights_, dtype=np.float64),
            np.asarray(estimator.means_, dtype=np.float64)[:, numbers],
            matrices_of(estimator, numbers),
            [names[number] for number in numbers],
            rows,
        ).plot()

    def plot(self) -> Self:
        """Draw on a new figure."""
        n = len(self.names)
        side = max(1.6 * n, 4.0)
        self.figure_, axes = axes_of(None, nrows=n, ncols=n, figsize=(side, side), squeeze=False)
        self.ax_ = axes
        for i in range(n):
            for j in range(n):
                ax = axes[i, j]
                if j > i:
                    ax.set_axis_off()
                    continue
                if i == j:
                    self._density(ax, i)
                else:
                    self._pair(ax, i, j)
                ax.set_title("")
                ax.set_xlabel(self.names[j] if i == n - 1 else "")
                ax.set_ylabel(self.names[i] if j == 0 and i > 0 else "")
                ax.tick_params(labelsize=7, labelbottom=i == n - 1, labelleft=j == 0 and i > 0)
        return self

    def _pair(self, ax: Any, i: int, j: int) -> None:
        both = np.array([j, i])
        rows = None if self.rows is None else self.rows[:, both]
        matrices = self.covariances[:, both][:, :, both]
        names = (self.names[j], self.names[i])
        MixtureDisplay(self.weights, self.means[:, both], matrices, names, rows).plot(ax=ax, numbers=False)

    def _density(self, ax: Any, i: int) -> None:
        deviations = np.sqrt(self.covariances[:, i, i])
        low, high = (self.means[:, i] - 4 * deviations).min(), (self.means[:, i] + 4 * deviations).max()
        if self.rows is not None and len(self.rows):
            ax.hist(self.rows[:, i], bins=_BINS, range=(low, high), density=True, color="#BBBBBB")
        x = np.linspace(low, high, _POINTS)
        z = (x[:, np.newaxis] - self.means[:, i]) / deviations
        parts = self.weights * np.exp(-0.5 * z**2) / (deviations * np.sqrt(2 * np.pi))
        if len(self.means) <= MOST_COLOURS:
            for k in range(len(self.means)):
                ax.plot(x, parts[:, k], color=COLOURS[k], linewidth=0.9)
        ax.plot(x, parts.sum(axis=1), color="black", linewidth=1.1)
        ax.set_yticks([])
