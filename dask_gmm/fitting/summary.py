"""What the rows of each component are like: one pass, as a reduction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from dask_gmm.data.checks import check_rows, check_weights
from dask_gmm.data.source import Block
from dask_gmm.fitting.quantiles import FINE, Quantiles
from dask_gmm.fitting.reductions import Evaluation
from dask_gmm.model.moments import Moments

# Clusters of the sketches of features: there is one for each component and feature.
_COARSE = 400


@dataclass(frozen=True, slots=True)
class Summarized:
    """The rows that were seen.

    Attributes
    ----------
    log_density : Quantiles
        Of all rows.
    moments : tuple of Moments
        Of the rows that each component is the most probable one of.
    features : tuple of tuple of Quantiles
        Of the same rows, for each component and feature.
    """

    log_density: Quantiles
    moments: tuple[Moments, ...] = ()
    features: tuple[tuple[Quantiles, ...], ...] = ()


class LogDensities(Evaluation):
    """Quantiles of the log density; rows are checked on the way."""

    def zero(self) -> Summarized:
        """Return the summary of no rows."""
        return Summarized(Quantiles.zero(FINE))

    def update(self, value: Summarized, block: Block) -> Summarized:
        """Add a block."""
        check_rows(block)
        check_weights(block)
        log_density = np.empty(len(block.rows), dtype=block.rows.dtype)
        self.kernel.log_density(block, log_density)
        return Summarized(value.log_density.with_numbers(log_density, block.weights))

    def combine(self, values: Sequence[Summarized]) -> Summarized:
        """Merge in the order given."""
        return Summarized(_together([value.log_density for value in values]))


class Summary(LogDensities):
    """The log density of all rows, and what those of each component are like."""

    def zero(self) -> Summarized:
        """Return the summary of no rows."""
        n_components, n_features = self.density.n_components, self.density.n_features
        return Summarized(
            Quantiles.zero(FINE),
            tuple(Moments.zero(n_features, scatter=False) for _ in range(n_components)),
            tuple(tuple(Quantiles.zero(_COARSE) for _ in range(n_features)) for _ in range(n_components)),
        )

    def update(self, value: Summarized, block: Block) -> Summarized:
        """Add a block."""
        log_density = super().update(value, block).log_density
        labels = np.empty(len(block.rows), dtype=np.int64)
        self.kernel.labels(block, labels)
        moments, features = list(value.moments), list(value.features)
        for component in range(len(moments)):
            here = labels == component
            rows = block.rows[here]
            weights = None if block.weights is None else block.weights[here]
            moments[component] = moments[component].with_rows(rows, weights)
            sketches = zip(features[component], rows.T, strict=True)
            features[component] = tuple(sketch.with_numbers(column, weights) for sketch, column in sketches)
        return Summarized(log_density, tuple(moments), tuple(features))

    def combine(self, values: Sequence[Summarized]) -> Summarized:
        """Merge in the order given."""
        moments = list(values[0].moments)
        for value in values[1:]:
            moments = [mine.merged(other) for mine, other in zip(moments, value.moments, strict=True)]
        features = tuple(
            tuple(_together(sketches) for sketches in zip(*components, strict=True))
            for components in zip(*(value.features for value in values), strict=True)
        )
        return Summarized(_together([value.log_density for value in values]), tuple(moments), features)


def _together(parts: Sequence[Quantiles]) -> Quantiles:
    merged, *others = parts
    for other in others:
        merged = merged.merged([other])
    return merged
