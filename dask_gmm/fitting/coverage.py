"""Which features are observed together: what a fit to rows with holes can know at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.errors import DataError, warn_caller

Array = NDArray[np.float64]

# A feature that so few rows have tells little of its correlations.
_RARE = 0.01
# Pairs that a warning names.
_NAMED = 3


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many rows have which features.

    Attributes
    ----------
    n_rows, n_empty : int
        All rows, and those that have no feature.
    pairs : ndarray of shape (n_features, n_features)
        Weight of the rows that have both features; of one feature on the diagonal.
    """

    n_rows: int
    n_empty: int
    pairs: Array

    @classmethod
    def zero(cls, n_features: int) -> Coverage:
        """Return the coverage of no rows."""
        return cls(0, 0, np.zeros((n_features, n_features)))

    def with_rows(self, rows: NDArray[Any], weights: Array | None) -> Coverage:
        """Return the coverage of these rows too."""
        seen = (~np.isnan(rows)).astype(np.float64)
        counted = seen if weights is None else seen * weights[:, np.newaxis]
        empty = int(len(seen) - seen.any(axis=1).sum())
        return Coverage(self.n_rows + len(rows), self.n_empty + empty, self.pairs + counted.T @ seen)

    def merged(self, other: Coverage) -> Coverage:
        """Return the coverage of both sets of rows."""
        return Coverage(self.n_rows + other.n_rows, self.n_empty + other.n_empty, self.pairs + other.pairs)

    def check(self, names: Sequence[str] | None) -> None:
        """Refuse rows that are all empty, and features that no row has.

        Raises
        ------
        DataError
            Naming the features.
        """
        if self.n_empty == self.n_rows:
            raise DataError(f"All {self.n_rows} rows of X are empty: every value is missing.")
        missing = np.flatnonzero(np.diagonal(self.pairs) == 0.0)
        if len(missing):
            raise DataError(
                f"{_listed(missing, names)} missing in every row: nothing can be said of it. Leave it out."
            )

    def advice(self, names: Sequence[str] | None) -> str | None:
        """Return what a user should know of the holes before trusting a fit, None where that is nothing."""
        told = []
        if self.n_empty:
            told.append(f"{self.n_empty} of {self.n_rows} rows are empty and count for nothing.")
        shares = np.diagonal(self.pairs) / max(float(np.diagonal(self.pairs).max()), 1e-300)
        rare = np.flatnonzero(shares < _RARE)
        if len(rare):
            told.append(f"{_listed(rare, names)} observed in less than {_RARE:.0%} of the rows.")
        apart = [tuple(pair) for pair in np.argwhere(np.triu(self.pairs == 0.0, 1))]
        if apart:
            listed = ", ".join(f"{_name(i, names)} and {_name(j, names)}" for i, j in islice(apart, _NAMED))
            more = f" and {len(apart) - _NAMED} other pairs" if len(apart) > _NAMED else ""
            told.append(
                f"Never observed together: {listed}{more}. The data say nothing of their covariance; what is "
                "fitted depends on the start."
            )
        return " ".join(told) or None


def warn_of_coverage(coverage: Coverage | None, names: Sequence[str] | None) -> None:
    """Warn where holes leave something open.

    Warns
    -----
    UserWarning
    """
    advice = None if coverage is None else coverage.advice(names)
    if advice is not None:
        warn_caller(advice, UserWarning)


def _name(feature: int, names: Sequence[str] | None) -> str:
    return f"feature {feature}" if names is None else repr(str(names[feature]))


def _listed(features: NDArray[np.intp], names: Sequence[str] | None) -> str:
    listed = ", ".join(_name(int(feature), names) for feature in features[:_NAMED])
    more = f" and {len(features) - _NAMED} other features" if len(features) > _NAMED else ""
    return f"{listed[0].upper()}{listed[1:]}{more} {'is' if len(features) == 1 else 'are'}"
