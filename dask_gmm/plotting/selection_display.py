"""Which number of components and which covariance type a criterion chose."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.plotting.canvas import COLOURS, MOST_COLOURS, axes_of

_CRITERIA = ("bic", "aic", "icl")


@dataclass
class SelectionDisplay:
    """BIC, AIC and ICL by number of components, a line for each covariance type, the choice marked.

    Parameters
    ----------
    results : mapping of str to ndarray
        The table of `GaussianMixtureIC`.
    criterion : str
        What chose.
    best : int
        The chosen line of the table.

    Attributes
    ----------
    figure_, ax_
        Of matplotlib; `ax_` is an array of three.
    """

    results: Mapping[str, NDArray[Any]]
    criterion: str
    best: int
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Draw what a fitted `GaussianMixtureIC` compared."""
        check_is_fitted(estimator)
        return cls(estimator.results_, estimator.criterion, int(estimator.best_index_)).plot()

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : sequence of three matplotlib Axes, optional
        """
        if ax is None:
            self.figure_, self.ax_ = axes_of(None, ncols=3, figsize=(11, 3.6))
        else:
            self.figure_, self.ax_ = ax[0].figure, ax
        kinds = list(dict.fromkeys(map(str, self.results["covariance_type"])))
        numbers = np.asarray(self.results["n_components"])
        for panel, name in zip(self.ax_, _CRITERIA, strict=True):
            scores = np.asarray(self.results[name], dtype=float)
            for index, kind in enumerate(kinds):
                own = np.asarray(self.results["covariance_type"]) == kind
                order = np.argsort(numbers[own], kind="stable")
                style = ("-", "--", "-.", ":")[index % 4]
                panel.plot(
                    numbers[own][order],
                    scores[own][order],
                    style,
                    marker=".",
                    label=kind,
                    color=COLOURS[index % MOST_COLOURS],
                )
            if name == self.criterion:
                panel.plot(
                    numbers[self.best],
                    scores[self.best],
                    "o",
                    markersize=12,
                    markerfacecolor="none",
                    markeredgecolor="black",
                    label="chosen",
                )
            panel.set_title(name.upper() + (" (chose)" if name == self.criterion else ""))
            panel.set_xlabel("number of components")
            panel.xaxis.get_major_locator().set_params(integer=True)
        self.ax_[0].set_ylabel("the lower, the better")
        self.ax_[list(_CRITERIA).index(self.criterion)].legend(fontsize=8)
        return self
