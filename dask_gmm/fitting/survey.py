"""What the first pass learns of the data, in one read: counts, moments, bad values, rows to start from.

Nothing here gets a pass of its own. When a start is given, the survey rides on the first E-step.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from dask_gmm.data.checks import check_rows, check_weights
from dask_gmm.data.source import Block
from dask_gmm.errors import DataError
from dask_gmm.fitting.coverage import Coverage
from dask_gmm.fitting.row_sample import Drawn, Sample, Sampling
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.measured import seen_values


@dataclass(frozen=True, slots=True)
class Surveyed:
    """What a survey found.

    Attributes
    ----------
    moments : Moments
    drawn : list of Drawn
        Candidates of the chunks seen, not yet joined.
    coverage : Coverage or None
        Which features are observed together, where some may not be.
    """

    moments: Moments
    drawn: list[Drawn] = field(default_factory=list)
    coverage: Coverage | None = None

    def sample(self, sampling: Sampling) -> Sample:
        """Return the sample in row order."""
        drawn = Drawn.joined(self.drawn, sampling.limit)
        ordered = drawn.chosen(np.argsort(drawn.numbers, kind="stable"))
        return Sample(ordered.rows, ordered.columns, ordered.keys)


@dataclass(frozen=True)
class Survey:
    """The first pass as a reduction.

    Attributes
    ----------
    n_features : int
    scatter : bool
        Whether the scatter matrix is wanted.
    sampling : Sampling or None
        None when no start has to be found.
    checked : bool
        The rows have been checked already.
    holes : bool
        A NaN is a value that was not observed.
    box : bool
        Whether the smallest and largest values are wanted.
    """

    n_features: int
    scatter: bool
    sampling: Sampling | None
    checked: bool = False
    holes: bool = False
    box: bool = False

    def zero(self) -> Surveyed:
        """Return the survey of no rows."""
        coverage = Coverage.zero(self.n_features) if self.holes else None
        return Surveyed(Moments.zero(self.n_features, scatter=self.scatter, box=self.box), coverage=coverage)

    def update(self, value: Surveyed, block: Block) -> Surveyed:
        """Check a block, add its moments and draw from it."""
        if not self.checked:
            check_rows(block)
            check_weights(block)
        drawn = list(value.drawn)
        if self.sampling is not None and len(block.rows):
            drawn = self._limited([*drawn, self._draw(block, self.sampling, self.holes)], self.sampling.limit)
        rows, weights = block.rows, block.weights
        if value.coverage is None:
            return Surveyed(value.moments.with_rows(rows, weights).with_box_of(rows), drawn)
        rows, inexact = seen_values(rows, block.columns)
        moments = value.moments.with_partial_rows(rows, weights, inexact)
        return Surveyed(moments, drawn, value.coverage.with_rows(rows, weights))

    def combine(self, values: Sequence[Surveyed]) -> Surveyed:
        """Merge in the order given."""
        moments = values[0].moments
        for value in values[1:]:
            moments = moments.merged(value.moments)
        drawn = [part for value in values for part in value.drawn]
        coverage = values[0].coverage
        for value in values[1:]:
            if coverage is not None and value.coverage is not None:
                coverage = coverage.merged(value.coverage)
        limited = [] if self.sampling is None else self._limited(drawn, self.sampling.limit)
        return Surveyed(moments, limited, coverage)

    @staticmethod
    def _draw(block: Block, sampling: Sampling, holes: bool) -> Drawn:
        numbers = block.numbers()
        keys = sampling.keys(numbers)
        drawn = Drawn(numbers, keys, block.rows, block.columns)
        if holes:
            told = ~np.isnan(block.rows).all(axis=1)
            drawn = drawn if told.all() else drawn.chosen(np.flatnonzero(told))
        if sampling.everything:
            return drawn
        return drawn.chosen(np.flatnonzero(drawn.keys <= sampling.threshold))

    @staticmethod
    def _limited(drawn: list[Drawn], limit: int) -> list[Drawn]:
        # Joining only now and then keeps the copying linear in the rows.
        if sum(len(part.keys) for part in drawn) <= 2 * limit:
            return drawn
        return [Drawn.joined(drawn, limit)]


def check_enough_rows(
    n_rows: int, n_features: int, n_components: int, estimator: str = "GaussianMixture"
) -> None:
    """Refuse fewer rows than components, or fewer than two, in scikit-learn's words.

    Raises
    ------
    DataError
    """
    if n_rows < 2:
        raise DataError(
            f"Found array with {n_rows} sample(s) (shape=({n_rows}, {n_features})) while a minimum of 2 is "
            f"required by {estimator}."
        )
    if n_rows < n_components:
        raise DataError(
            f"Expected n_samples >= n_components but got n_components = {n_components}, n_samples = {n_rows}"
        )


def check_squares(moments: Moments) -> None:
    """Refuse rows whose squared deviations from their mean overflow: no covariance can be estimated.

    Raises
    ------
    DataError
        Naming the first such feature.
    """
    finite = np.isfinite(moments.mean) & np.isfinite(moments.squares)
    if not finite.all():
        raise DataError(
            f"Feature {int(np.argmin(finite))} of X has values so large that their squares, of which "
            "covariances are sums, overflow float64. Scale the input data, for instance to unit variance."
        )
