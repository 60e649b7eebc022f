"""Rows that were measured with known errors: the mixture is of where they truly are.

Bovy, Hogg and Roweis, Extreme deconvolution: inferring complete distribution functions from noisy,
heterogeneous and incomplete observations (2011). Rows whose errors are all zero are taken as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.matrices_with_holes import recentred
from dask_gmm.model.density import Density
from dask_gmm.model.kernels.noisy import Errors, NoisyKernel
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
        return self._told(observed, self._errors(observed)[0])

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        errors, exact = self._errors(observed)
        if exact.any():
            self._exact.accumulate(statistics, Part.of(observed, exact))
        told = self._told(observed, errors)
        noisy = ~exact if told is None else ~exact & told
        if not noisy.any():
            return
        part = Part.of(observed, noisy)
        log_likelihood, sums = self._measured.statistics(part.rows, errors.of(noisy), part.weights)
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
        errors, exact = self._errors(observed)
        if exact.any():
            part = np.empty((int(exact.sum()), out.shape[1]), dtype=out.dtype)
            self._exact.impute(Part.of(observed, exact), part)
            out[exact] = part
        if not exact.all():
            out[~exact] = self._measured.denoise(observed.rows[~exact], errors.of(~exact))

    def _write(self, observed: Observed, out: NDArray[Any], name: str) -> None:
        errors, exact = self._errors(observed)
        for which in (exact, ~exact):
            if not which.any():
                continue
            part = np.empty((int(which.sum()), *out.shape[1:]), dtype=out.dtype)
            if which is exact:
                getattr(self._exact, name)(Part.of(observed, which), part)
            else:
                getattr(self._measured, name)(observed.rows[which], errors.of(which), part)
            out[which] = part
        if name == "log_density":
            told = self._told(observed, errors)
            if told is not None:
                out[~told] = 0.0

    def _told(self, observed: Observed, errors: Errors) -> NDArray[np.bool_] | None:
        """Return which rows have a value of finite error; None where all do."""
        unmeasured = np.isinf(errors.deviations)
        rows = np.where(unmeasured, np.nan, observed.rows) if unmeasured.any() else observed.rows
        return self._exact.told(Part(rows, None, {}))

    def _errors(self, observed: Observed) -> tuple[Errors, NDArray[np.bool_]]:
        """Return the errors, and which rows have none."""
        errors = errors_of(observed.columns, self.density.n_features)
        if errors is None:
            n = len(observed.rows)
            nothing = np.zeros((n, self.density.n_features))
            return Errors(nothing, np.empty((n, 0)), np.empty((0, 2), np.intp)), np.ones(n, dtype=bool)
        # The error of a value that is missing says nothing.
        counted = np.where(np.isnan(observed.rows), 0.0, errors.deviations)
        filled = np.where(np.isnan(errors.deviations), np.inf, errors.deviations)
        exact: NDArray[np.bool_] = np.asarray((counted == 0.0).all(axis=1))
        return Errors(filled, errors.correlations, errors.pairs), exact


#: It has no state: this one is enough.
MEASURED = Measured()
