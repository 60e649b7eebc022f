"""How sure a mixture is of the component of each row, as a histogram or as a map of the samples."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.fitting.row_sample import Sample
from dask_gmm.mixture.validation import prediction_source
from dask_gmm.plotting.canvas import COLOURS, axes_of
from dask_gmm.plotting.sampled_rows import sampled_rows

#: No picture shows more.
MOST_ROWS = 50_000


@dataclass
class ResponsibilityDisplay:
    """The entropy of the responsibilities of rows, in bits: 0 where there is no doubt.

    Parameters
    ----------
    entropy : ndarray
        Of shape (n,) for a histogram, or of the two axes of gridded samples for a map; NaN where rows were
        left out.
    n_components : int
    extent : tuple of (str, str)
        Names of the two axes of a map.

    Attributes
    ----------
    figure_, ax_
        Of matplotlib.
    """

    entropy: NDArray[Any]
    n_components: int
    extent: tuple[str, str] = ("", "")
    figure_: Any = field(default=None, init=False)
    ax_: Any = field(default=None, init=False)

    @classmethod
    def from_estimator(cls, estimator: Any, X: Any, *, ax: Any = None, sample: Sample | None = None) -> Self:
        """Draw how sure a fitted mixture is of rows.

        Parameters
        ----------
        estimator : GaussianMixture
        X
            As in ``GaussianMixture.predict``. Samples with two axes (images, gridded variables) become a map,
            which is computed here; of all others at most 50 000 rows are taken, in one pass.
        ax : matplotlib Axes, optional
        sample : Sample, optional
            Rows of X that were drawn already, as many at least.
        """
        check_is_fitted(estimator)
        source = prediction_source(estimator, X)
        n_components = len(estimator.weights_)
        if len(source.sample_shape) == 2:
            names = [str(name or "") for name in source.dims] or ["", ""]
            resp = np.asarray(estimator.predict_proba(X))
            return cls(_bits(resp), n_components, (names[0], names[1])).plot(ax=ax)
        resp = np.asarray(estimator.predict_proba(sampled_rows(estimator, X, MOST_ROWS, sample)))
        return cls(_bits(resp), n_components).plot(ax=ax)

    def plot(self, *, ax: Any = None) -> Self:
        """Draw."""
        self.figure_, self.ax_ = axes_of(ax)
        most = np.log2(max(self.n_components, 2))
        if self.entropy.ndim == 2:
            image = self.ax_.imshow(self.entropy, vmin=0.0, vmax=most, cmap="viridis", origin="lower")
            self.figure_.colorbar(image, ax=self.ax_, label="entropy of responsibilities, bits")
            self.ax_.set_ylabel(self.extent[0])
            self.ax_.set_xlabel(self.extent[1])
        else:
            told = self.entropy[np.isfinite(self.entropy)]
            self.ax_.hist(told, bins=50, range=(0.0, most), color=COLOURS[0])
            self.ax_.set_yscale("log")
            self.ax_.set_xlabel("entropy of responsibilities, bits")
            self.ax_.set_ylabel("rows")
            sure = float((told < 0.1).mean()) if len(told) else 0.0
            self.ax_.set_title(f"{sure:.0%} of the rows are certain (below 0.1 bits)")
        return self


def _bits(resp: NDArray[Any]) -> NDArray[Any]:
    with np.errstate(divide="ignore", invalid="ignore"):
        terms = np.where(resp > 0.0, -resp * np.log2(resp), 0.0 * resp)
    entropy: NDArray[Any] = terms.sum(axis=-1)
    return entropy
