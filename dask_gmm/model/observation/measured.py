"""Rows that were measured with known errors: the mixture is of where they truly are.

Bovy, Hogg and Roweis, Extreme deconvolution: inferring complete distribution functions from noisy,
heterogeneous and incomplete observations (2011). Rows whose errors are all zero are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.matrices_with_holes import recentred
from dask_gmm.model.density import Density
from dask_gmm.model.kernels.errors_in_range import Errors
from dask_gmm.model.kernels.noisy import NoisyKernel
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.holes import HOLES, HolesKernel
from dask_gmm.model.observation.observation import Observation, Observed, Part
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]

_ERROR, _CORRELATION = "error ", "correlation "


def errors_of(columns: Mapping[str, Array], n_features: int) -> Errors | None:
    """Return what a block's columns say of the errors of its rows; None where they say nothing."""
    if f"{_ERROR}0" not in columns:
        return None
    deviations = np.column_stack([columns[f"{_ERROR}{j}"] for j in range(n_features)])
    names = [name for name in columns if name.startswith(_CORRELATION)]
    pairs = np.array([name.split()[1:] for name in names], dtype=np.intp).reshape(-1, 2)
    correlations = np.empty((len(deviations), len(names)))
    for number, name in enumerate(names):
        correlations[:, number] = columns[name]
    return Errors(deviations, correlations, pairs)


def seen_values(
    rows: NDArray[Any], columns: Mapping[str, Array]
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Return rows with NaN beside an infinite error, and which rows have an error in what is left.

    None are inexact, and None stands for that, where `columns` say nothing of errors.
    """
    errors = errors_of(columns, rows.shape[1])
    if errors is None:
        return rows, None
    unmeasured = np.isinf(errors.deviations)
    if unmeasured.any():
        rows = np.where(unmeasured, np.nan, rows)
    # The error of a value that is missing says nothing, whatever it is.
    return rows, np.asarray((~np.isnan(rows) & (errors.deviations != 0.0)).any(axis=1))


@dataclass(frozen=True)
class Measured(Observation):
    """Rows have errors, in columns beside them."""

    takes_holes = True

    def more_shape(self, density: Density) -> tuple[int, ...]:
        return HOLES.more_shape(density)

    def kernel(self, density: Density, dtype: np.dtype[Any]) -> MeasuredRows:
        return MeasuredRows(density, HOLES.kernel(density, dtype))


class MeasuredRows:
    """Exact rows by the kernel for these, the others by one for errors; see `Kernel` for the methods.

    Parameters
    ----------
    density : Density
    exact_rows : HolesKernel
    """

    exact = False

    def __init__(self, density: Density, exact_rows: HolesKernel) -> None:
        self.density, self.origins = density, exact_rows.origins
        self._exact = exact_rows

    @cached_property
    def _measured(self) -> NoisyKernel:
        density = self.density
        covariances = density.structure.inverse(density.precisions_cholesky)
        matrices = density.structure.as_matrices(covariances, density.n_components, density.n_features)
        with np.errstate(divide="ignore"):
            return NoisyKernel(density.means, matrices, np.log(density.weights))

    def told(self, observed: Observed) -> NDArray[np.bool_] | None:
        return self._exact.told(self._seen(observed).rows)

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        seen = self._seen(observed)
        exact, rows = seen.exact, seen.rows
        if exact.any():
            self._exact.accumulate(statistics, Part.of(rows, exact))
        told = self._exact.told(rows)
        noisy = ~exact if told is None else ~exact & told
        if not noisy.any():
            return
        part = Part.of(rows, noisy)
        log_likelihood, sums = self._measured.statistics(part.rows, seen.errors.of(noisy), part.weights)
        nk, first, second = recentred(sums, self.density.means, self.origins)
        np.add(statistics.nk, nk, out=statistics.nk)
        np.add(statistics.first, first, out=statistics.first)
        density = self.density
        np.add(
            statistics.second,
            density.structure.second_of_matrices(second, density.precisions_cholesky),
            out=statistics.second,
        )
        if statistics.more.size:
            # What is expected of a feature stands for it.
            np.add(statistics.more, nk[:, np.newaxis], out=statistics.more)
        statistics.totals.add(Totals(log_likelihood, *part.totals))

    def completed(self, statistics: Statistics, moments: Moments) -> Statistics:
        return self._exact.completed(statistics, moments)

    def labels(self, observed: Observed, out: NDArray[np.int64]) -> None:
        self._write(observed, out, "labels")

    def log_density(self, observed: Observed, out: NDArray[Any]) -> None:
        self._write(observed, out, "log_density")

    def responsibilities(self, observed: Observed, out: NDArray[Any]) -> None:
        self._write(observed, out, "responsibilities")

    def denoise(self, observed: Observed, out: NDArray[Any]) -> None:
        """Write where the rows are expected to be truly to `out`, shape (n, n_features)."""
        seen = self._seen(observed)
        exact, rows = seen.exact, seen.rows
        if exact.any():
            part = np.empty((int(exact.sum()), out.shape[1]), dtype=out.dtype)
            self._exact.impute(Part.of(rows, exact), part)
            out[exact] = part
        if not exact.all():
            out[~exact] = self._measured.denoise(rows.rows[~exact], seen.errors.of(~exact))

    def _write(self, observed: Observed, out: NDArray[Any], name: str) -> None:
        seen = self._seen(observed)
        for which in (seen.exact, ~seen.exact):
            if not which.any():
                continue
            some = Part.of(seen.rows, which)
            part = np.empty((len(some.rows), *out.shape[1:]), dtype=out.dtype)
            if which is seen.exact:
                getattr(self._exact, name)(some, part)
            else:
                getattr(self._measured, name)(some.rows, seen.errors.of(which), part)
            out[which] = part

    def _seen(self, observed: Observed) -> Seen:
        """Return what rows say: an error that is infinite leaves nothing of a value."""
        rows, inexact = seen_values(observed.rows, observed.columns)
        part = Part(rows, observed.weights, {})
        errors = errors_of(observed.columns, self.density.n_features)
        if errors is None or inexact is None:
            n = len(rows)
            nothing = Errors(np.zeros(rows.shape), np.empty((n, 0)), np.empty((0, 2), np.intp))
            return Seen(part, nothing, np.ones(n, dtype=bool))
        counted = np.where(np.isnan(rows), 0.0, errors.deviations)
        return Seen(part, replace(errors, deviations=counted), ~inexact)


@dataclass(frozen=True, slots=True)
class Seen:
    """What rows with errors say.

    Attributes
    ----------
    rows : Part
        NaN where a value is missing, or has an infinite error.
    errors : Errors
        Zero where a value is missing.
    exact : ndarray of shape (n,), bool
        Which rows have no error in what they say: these have the numbers of rows without errors.
    """

    rows: Part
    errors: Errors
    exact: NDArray[np.bool_]


#: It has no state: this one is enough.
MEASURED = Measured()
