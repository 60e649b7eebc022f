"""How a fit went: its bound, its gains, and what is left to gain."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from dask_gmm.plotting.canvas import COLOURS, axes_of


@dataclass
class ConvergenceDisplay:
    """The bound of each iteration, and below it the gain and the estimate of what is left to gain.

    Parameters
    ----------
    iterations : sequence of mapping
        As ``History.to_dicts`` gives them, of one restart.

    Attributes
    ----------
    figure_, ax_
        Of matplotlib; `ax_` is a pair.
    """

    iterations: Sequence[Mapping[str, Any]]
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)

    @classmethod
    def from_estimator(cls, estimator: Any) -> Self:
        """Draw how the best restart of a fitted mixture went.

        Raises
        ------
        ValueError
            The estimator has no history, such as one from an earlier release's file.
        """
        check_is_fitted(estimator)
        if not hasattr(estimator, "history_"):
            raise ValueError(
                "The estimator has no history_: it was loaded from a file without, or converted."
            )
        return cls(estimator.history_.to_dicts()).plot()

    def plot(self, *, ax: Any = None) -> Self:
        """Draw.

        Parameters
        ----------
        ax : pair of matplotlib Axes, optional
            For the bound, and for gains.
        """
        if ax is None:
            self.figure_, self.ax_ = axes_of(None, nrows=2, sharex=True, figsize=(6.4, 5.2))
        else:
            self.figure_, self.ax_ = ax[0].figure, ax
        upper, lower = self.ax_
        number = np.array([step["iteration"] for step in self.iterations])
        column = {
            name: np.array([step[name] for step in self.iterations], dtype=float)
            for name in ("lower_bound", "gain", "remaining")
        }
        upper.plot(number, column["lower_bound"], color=COLOURS[0], marker=".", label="lower bound")
        for kind, marker, colour in (("leap", "^", COLOURS[2]), ("rejected", "x", COLOURS[1])):
            which = np.array([bool(step[kind]) for step in self.iterations], dtype=bool)
            label = "leap" if kind == "leap" else "undone step"
            if which.any():
                upper.plot(
                    number[which], column["lower_bound"][which], marker, color=colour, label=label, zorder=3
                )
        upper.set_ylabel("nats per row")
        upper.legend()
        for name, colour, style in (("gain", COLOURS[0], "-"), ("remaining", COLOURS[1], "--")):
            shown = np.where(np.isfinite(column[name]) & (column[name] > 0.0), column[name], np.nan)
            label = "gain" if name == "gain" else "estimate of what is left"
            lower.plot(number, shown, style, color=colour, marker=".", label=label)
        lower.set_yscale("log")
        lower.set_ylabel("nats per row")
        lower.set_xlabel("iteration")
        lower.legend()
        return self
