"""What the rows of each component are like, and where the log density of most rows lies."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from dask_gmm.data.source import Source
from dask_gmm.engine.one_pass import one_pass
from dask_gmm.errors import DataError
from dask_gmm.fitting.precision import arithmetic
from dask_gmm.fitting.summary import LogDensities, Summarized, Summary
from dask_gmm.mixture.fitted import fitted_density
from dask_gmm.model.density import Density
from dask_gmm.model.observation.observation import Observation

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class MixtureSummary:
    """What `GaussianMixture.summarize` found.

    Attributes
    ----------
    feature_names : tuple of str
        ``x0``, ``x1`` and so on where the features have no names.
    n_rows : ndarray of shape (n_components,), int64
        Rows that the component is the most probable one of.
    weight : ndarray of shape (n_components,)
        Sum of their sample weights.
    mean, std, min, max : ndarray of shape (n_components, n_features)
        Of these rows, in units of the data; NaN for a component without rows.
    shares : tuple of float
        Which quantiles were asked for.
    quantiles : ndarray of shape (n_components, n_features, n_shares)
        Of the features of these rows. Their rank is off by about sqrt(q (1 - q)) / 130 at most.
    log_density : ndarray of shape (n_shares,)
        Quantiles of the log density of all rows, in nats. Their rank is off by about sqrt(q (1 - q)) / 1300.
    """

    feature_names: tuple[str, ...]
    n_rows: NDArray[np.int64]
    weight: Array
    mean: Array
    std: Array
    min: Array
    max: Array
    shares: tuple[float, ...]
    quantiles: Array
    log_density: Array

    def to_frame(self) -> pd.DataFrame:
        """Return a table with a line for each component and feature."""
        n_components, n_features = self.mean.shape
        index = pd.MultiIndex.from_product(
            [range(n_components), self.feature_names], names=["component", "feature"]
        )
        columns: dict[str, Any] = {
            "n_rows": np.repeat(self.n_rows, n_features),
            "weight": np.repeat(self.weight, n_features),
        }
        columns |= {name: getattr(self, name).ravel() for name in ("mean", "std", "min")}
        columns |= {f"q{share:g}": self.quantiles[..., i].ravel() for i, share in enumerate(self.shares)}
        return pd.DataFrame({**columns, "max": self.max.ravel()}, index=index)


def summarize(
    density: Density,
    observation: Observation,
    source: Source,
    shares: Sequence[float],
    names: Iterable[str] | None,
) -> MixtureSummary:
    """Return what rows are like under a mixture, in one pass.

    Raises
    ------
    ValueError
        Shares that do not lie between 0 and 1.
    """
    levels = checked_shares(shares)
    found = _pass(Summary(density, arithmetic(source.dtype), observation), source)
    moments = found.moments
    occupied = np.array([one.weight > 0 for one in moments])[:, np.newaxis]

    def table(values: Sequence[Any]) -> Array:
        return np.where(occupied, np.array(values), np.nan)

    return MixtureSummary(
        feature_names=tuple(f"x{j}" for j in range(density.n_features)) if names is None else tuple(names),
        n_rows=np.array([one.n_rows for one in moments]),
        weight=np.array([one.weight for one in moments]),
        mean=table([one.mean for one in moments]),
        std=table([np.sqrt(one.squares / max(one.weight, np.finfo(float).tiny)) for one in moments]),
        min=table([[sketch.least for sketch in sketches] for sketches in found.features]),
        max=table([[sketch.largest for sketch in sketches] for sketches in found.features]),
        shares=levels,
        quantiles=np.array([[sketch(levels) for sketch in sketches] for sketches in found.features]),
        log_density=found.log_density(levels),
    )


def threshold_of(
    attributes: Mapping[str, Any], observation: Observation, source: Source, contamination: float
) -> float:
    """Return the log density below which a share of the rows lies, in nats: one pass.

    Parameters
    ----------
    attributes : mapping
        Those of the fit, not yet set.
    observation : Observation
        How the rows were observed.
    source : Source
        Its rows.
    contamination : float
        The share.
    """
    fitted = SimpleNamespace(covariance_type=attributes["covariance_type_"], **attributes)
    found = _pass(LogDensities(fitted_density(fitted), arithmetic(source.dtype), observation), source)
    return float(found.log_density([contamination])[0])


def log_density_quantiles(
    density: Density, observation: Observation, source: Source, shares: Sequence[float]
) -> Array:
    """Return quantiles of the log density of rows, in nats: one pass."""
    levels = checked_shares(shares)
    found = _pass(LogDensities(density, arithmetic(source.dtype), observation), source)
    return found.log_density(levels)


def checked_shares(shares: Sequence[float]) -> tuple[float, ...]:
    """Return shares as numbers.

    Raises
    ------
    ValueError
        One that does not lie between 0 and 1.
    """
    levels = tuple(map(float, shares))
    if not all(0.0 <= level <= 1.0 for level in levels):
        raise ValueError(f"quantiles must lie between 0 and 1, got {list(shares)}.")
    return levels


def _pass(reduction: LogDensities, source: Source) -> Summarized:
    found: Summarized = one_pass(source, reduction)
    if not found.log_density.weight > 0:
        raise DataError("X has no row of positive weight: there is nothing to summarize.")
    return found
