"""Rows with errors in units in which no product of variances leaves the range of float64.

The determinant of a row's covariance is a product over its features: in the data's own units, or beside an
error like 1e99, it may be no number at all.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

# Binary exponents of all features together that products can do without other units.
_MOST_EXPONENTS = 64
# Errors of so many deviations leave nothing of a value, to the last bit, but the density of the value itself.
_MOST_DEVIATIONS = 2.0**50


@dataclass(frozen=True, slots=True)
class Errors:
    """What is known of the errors of rows.

    Attributes
    ----------
    deviations : ndarray of shape (n, d)
        Standard errors; inf where a value is missing.
    correlations : ndarray of shape (n, n_pairs)
        Of the errors of two values of a row.
    pairs : ndarray of shape (n_pairs, 2)
        Which two features, the first one first.
    """

    deviations: Array
    correlations: Array
    pairs: NDArray[np.intp]

    def of(self, which: NDArray[np.bool_]) -> Errors:
        """Return those of some rows."""
        return Errors(self.deviations[which], self.correlations[which], self.pairs)


@dataclass(frozen=True, slots=True)
class Units:
    """Units of the features: powers of two, so that nothing is rounded.

    Attributes
    ----------
    scales : ndarray of shape (d,)
        What values are multiplied by.
    centre : ndarray of shape (d,)
        The mean of the components' means, in these units.
    limits : ndarray of shape (d,)
        The largest errors that are computed with, in the data's units.
    """

    scales: Array
    centre: Array
    limits: Array

    @classmethod
    def of(cls, means: Array, covariances: Array) -> Units:
        """Return those for a mixture, all one where its own will do.

        Parameters
        ----------
        means : ndarray of shape (K, d)
        covariances : ndarray of shape (K, d, d)
        """
        deviations = np.sqrt(np.diagonal(covariances, axis1=1, axis2=2).max(axis=0))
        usable = np.where((deviations > 0.0) & np.isfinite(deviations), deviations, 1.0)
        exponents = np.frexp(usable)[1]
        if np.abs(exponents).sum() <= _MOST_EXPONENTS:
            exponents = np.zeros_like(exponents)
        scales = np.ldexp(1.0, -exponents)
        return cls(scales, means.mean(axis=0) * scales, _MOST_DEVIATIONS * usable)

    def rows(
        self, rows: NDArray[np.float64], errors: Errors
    ) -> tuple[NDArray[np.float64], Errors, Array | None]:
        """Return rows and errors in these units, and what log densities are short of, None for nothing."""
        seen = ~np.isnan(rows) & np.isfinite(errors.deviations)
        if (self.scales == 1.0).all() and not (seen & (errors.deviations > self.limits)).any():
            return rows, errors, None
        # A value and its error become smaller together: their ratio is all that counts.
        share = np.where(seen, self.limits / np.maximum(errors.deviations, self.limits), 1.0)
        values = share * rows * self.scales + (1.0 - share) * self.centre
        deviations = np.where(seen, share * errors.deviations * self.scales, errors.deviations)
        more = np.where(seen, np.log(self.scales) + np.log(share), 0.0).sum(axis=1)
        return values.astype(rows.dtype), replace(errors, deviations=deviations), more
