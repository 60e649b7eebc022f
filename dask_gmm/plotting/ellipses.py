"""Two features of a mixture: ellipses of one and two deviations, over the density of some rows."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.fitting.row_sample import Sample
from dask_gmm.plotting.canvas import COLOURS, MOST_COLOURS, axes_of, matrices_of, names_of, position_of
from dask_gmm.plotting.sampled_rows import sampled_rows

Array = NDArray[np.float64]

# Rows that are drawn, and the cells along a side of their density.
_ROWS, _CELLS = 20_000, 80
_ANGLES = np.linspace(0.0, 2.0 * np.pi, 90)


@dataclass
class MixtureDisplay:
    """Ellipses of one and two standard deviations of each component, in two features.

    Parameters
    ----------
    weights : ndarray of shape (n_components,)
    means : ndarray of shape (n_components, 2)
    covariances : ndarray of shape (n_components, 2, 2)
    names : (str, str)
        Of the features.
    rows : ndarray of shape (n, 2), optional
        Whose density lies beneath.

    Attributes
    ----------
    figure_, ax_
        Of matplotlib, once it is drawn.
    lines_ : list of Line2D
        The ellipses: one, then two deviations of each component.

    Examples
    --------
    >>> import numpy as np
    >>> from dask_gmm import GaussianMixture
    >>> from dask_gmm.plotting import MixtureDisplay
    >>> X = np.random.default_rng(0).normal(size=(500, 3))
    >>> gm = GaussianMixture(2, random_state=0).fit(X)
    >>> display = MixtureDisplay.from_estimator(gm, X, features=(0, 2))  # doctest: +SKIP
    """

    weights: Array
    means: Array
    covariances: Array
    names: tuple[str, str]
    rows: NDArray[Any] | None = None
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)
    lines_: list[Any] = field(default_factory=list, init=False)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: Any = None,
        features: Sequence[int | str] = (0, 1),
        *,
        ax: Any = None,
        sample: Sample | None = None,
    ) -> Self:
        """Draw a fitted mixture.

        Parameters
        ----------
        estimator : GaussianMixture
        X : optional
            Rows whose density is drawn beneath: at most 20 000 are taken, in one pass, by their numbers.
        features : (feature, feature), default=(0, 1)
            Numbers or names.
        ax : matplotlib Axes, optional
        sample : Sample, optional
            Rows of X that were drawn already, as many at least.
        """
        check_is_fitted(estimator)
        names = names_of(estimator)
        first, second = (position_of(feature, names) for feature in features)
        chosen = [first, second]
        rows = None if X is None else sampled_rows(estimator, X, _ROWS, sample)[:, chosen]
        matrices = matrices_of(estimator, chosen)
        means = np.asarray(estimator.means_, dtype=np.float64)[:, chosen]
        weights = np.asarray(estimator.weights_, dtype=np.float64)
        return cls(weights, means, matrices, (names[first], names[second]), rows).plot(ax=ax)

    def plot(self, *, ax: Any = None, numbers: bool | None = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : matplotlib Axes, optional
            New ones without it.
        numbers : bool, optional
            Whether components are numbered; without it, where there are more of them than colours.
        """
        self.figure_, self.ax_ = axes_of(ax)
        if self.rows is not None and len(self.rows):
            told = self.rows[np.isfinite(self.rows).all(axis=1)]
            self.ax_.hist2d(*told.T, bins=_CELLS, cmap="Greys", norm=_counts(), rasterized=True)
        n_components = len(self.means)
        many = n_components > MOST_COLOURS
        self.lines_ = []
        for k, (mean, covariance) in enumerate(zip(self.means, self.covariances, strict=True)):
            colour = COLOURS[0] if many else COLOURS[k % MOST_COLOURS]
            for deviations, width in ((1.0, 1.6), (2.0, 0.8)):
                outline = mean + deviations * _circle() @ np.linalg.cholesky(covariance).T
                style = "-" if many else ("-", "--", "-.", ":")[k % 4]
                self.lines_ += self.ax_.plot(*outline.T, color=colour, linewidth=width, linestyle=style)
            if many if numbers is None else numbers:
                self.ax_.annotate(
                    str(k),
                    mean,
                    ha="center",
                    va="center",
                    fontsize=7,
                    color="black",
                    bbox={"boxstyle": "round,pad=0.1", "fc": "white", "ec": "none", "alpha": 0.7},
                )
            else:
                size = 30.0 + 120.0 * self.weights[k]
                self.ax_.scatter(*mean, s=size, color=colour, marker="X", edgecolor="white", zorder=3)
        self.ax_.set_xlabel(self.names[0])
        self.ax_.set_ylabel(self.names[1])
        self.ax_.set_title(f"{n_components} components: one and two standard deviations")
        return self


def _circle() -> Array:
    return np.column_stack([np.cos(_ANGLES), np.sin(_ANGLES)])


def _counts() -> Any:
    from matplotlib.colors import LogNorm

    # A single row is grey already.
    return LogNorm(vmin=0.3)
