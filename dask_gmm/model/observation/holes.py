"""Rows of which some values are missing at random: a NaN is a value that was not observed.

Ghahramani and Jordan, Supervised learning from incomplete data via an EM approach (1994); Little and Rubin,
Statistical Analysis with Missing Data (2002), chapter 11. A row's density is that of its observed values,
under the marginal of the mixture; its moments are those of the whole row given these. A row without any value
says nothing and counts for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.parts import Sums, WithHoles
from dask_gmm.model.density import Density
from dask_gmm.model.draws import choose, draw_conditionally
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.complete import COMPLETE, CompleteKernel
from dask_gmm.model.observation.observation import Kernel, Observation, Observed, Part
from dask_gmm.model.statistics import Statistics, Totals

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Holes(Observation):
    """A NaN is a value that was not observed."""

    takes_holes = True

    def more_shape(self, density: Density) -> tuple[int, ...]:
        return density.structure.holes_shape(density.n_components, density.n_features)

    def kernel(self, density: Density, dtype: np.dtype[Any]) -> HolesKernel:
        return HolesKernel(density, COMPLETE.kernel(density, dtype))


class HolesKernel:
    """Complete rows by the kernel for complete rows, the others by one for holes; see `Kernel`.

    Parameters
    ----------
    density : Density
    complete : Kernel
        For rows without holes, which have the bits of a plain fit.
    """

    exact = False

    def __init__(self, density: Density, complete: Kernel) -> None:
        assert isinstance(complete, CompleteKernel)
        self.density, self.origins = density, complete.origins
        self._complete = complete

    @cached_property
    def _with_holes(self) -> WithHoles:
        return self.density.structure.with_holes(self.density.components)

    def told(self, observed: Observed) -> NDArray[np.bool_] | None:
        holes = _holes(observed.rows)
        if holes is None:
            return None
        empty = _empty(holes)
        return ~empty if empty.any() else None

    def accumulate(self, statistics: Statistics, observed: Observed) -> None:
        holes = _holes(observed.rows)
        if holes is None:
            self._add_complete(statistics, observed)
            return
        partial = ~_empty(holes)
        if not self._with_holes.takes_complete_rows:
            complete = _complete(holes)
            if complete.any():
                self._add_complete(statistics, Part.of(observed, complete))
            partial &= ~complete
        if partial.any():
            part = Part.of(observed, partial)
            log_likelihood, sums = self._with_holes.kernel.statistics(part.rows, part.weights)
            for name, added in self._with_holes.sums(sums, self.origins)._asdict().items():
                own = getattr(statistics, name)
                np.add(own, added, out=own)
            statistics.totals.add(Totals(log_likelihood, *part.totals))

    def _add_complete(self, statistics: Statistics, observed: Observed) -> None:
        if not statistics.more.size:
            self._complete.accumulate(statistics, observed)
            return
        density = self.density
        part = Statistics.zero(
            density.covariance_type, density.n_components, density.n_features, statistics.more.shape
        )
        self._complete.accumulate(part, observed)
        # Each feature was observed.
        part.more[...] = part.nk[:, np.newaxis]
        statistics.add(part)

    def completed(self, statistics: Statistics, moments: Moments) -> Statistics:
        # Where the kernel leaves second moments of complete rows out, `moments` has those of complete rows.
        before = statistics.second.copy()
        completed = self._complete.completed(statistics, moments)
        if self._complete.leaves_second_out:
            completed.second[...] += before
        if not completed.more.size or (completed.more == completed.nk[:, np.newaxis]).all():
            return completed
        sums = Sums(completed.nk, completed.first, completed.second, completed.more)
        structure = self.density.structure
        covariances = structure.inverse(self.density.precisions_cholesky)
        filled = structure.filled_up(sums, self.density.means, covariances, self.origins)
        return replace(completed, first=filled.first, second=filled.second)

    def labels(self, observed: Observed, out: NDArray[np.int64]) -> None:
        self._write(observed, out, "labels", int(np.argmax(self.density.weights)))

    def log_density(self, observed: Observed, out: NDArray[Any]) -> None:
        self._write(observed, out, "log_density", 0.0)

    def responsibilities(self, observed: Observed, out: NDArray[Any]) -> None:
        self._write(observed, out, "responsibilities", self.density.weights / self.density.weights.sum())

    def impute(self, observed: Observed, out: NDArray[Any]) -> None:
        """Write the rows with their expected values in the holes to `out`, shape (n, n_features)."""
        out[...] = observed.rows
        holes = _holes(observed.rows)
        if holes is not None:
            some = ~_complete(holes)
            filled = self._with_holes.fill(observed.rows[some])
            # What was observed stays as it is, to the last bit.
            out[some] = np.where(holes[some], filled, observed.rows[some])

    def draw(self, observed: Observed, out: NDArray[Any], seeds: NDArray[np.uint64]) -> None:
        """Write the rows with values drawn given the others in the holes to `out`, shape (n, n_features).

        Parameters
        ----------
        seeds : ndarray of shape (n,)
            Decide the draws of each row.
        """
        out[...] = observed.rows
        holes = _holes(observed.rows)
        if holes is None:
            return
        resp = np.empty((len(out), self.density.n_components))
        self.responsibilities(Part(observed.rows.astype(np.float64), None, {}), resp)
        components = choose(resp, seeds)
        means, factors = self.density.means, self.density.precisions_cholesky
        precisions = self.density.structure.precision_matrices(factors, *means.shape)
        for k in np.unique(components):
            here = np.flatnonzero((components == k) & holes.any(axis=1))
            rows = observed.rows[here].astype(np.float64)
            out[here] = draw_conditionally(rows, means[k], precisions[k], seeds[here])

    def _write(self, observed: Observed, out: NDArray[Any], name: str, of_nothing: Any) -> None:
        holes = _holes(observed.rows)
        if holes is None:
            getattr(self._complete, name)(observed, out)
            return
        complete, empty = _complete(holes), _empty(holes)
        for which, write in (
            (complete, getattr(self._complete, name)),
            (~complete & ~empty, lambda part, to: getattr(self._with_holes.kernel, name)(part.rows, to)),
        ):
            if which.any():
                part = np.empty((int(which.sum()), *out.shape[1:]), dtype=out.dtype)
                write(Part.of(observed, which), part)
                out[which] = part
        out[empty] = of_nothing


def _holes(rows: NDArray[Any]) -> NDArray[np.bool_] | None:
    """Return where values are missing, None where none is: seen at one read."""
    with np.errstate(over="ignore", invalid="ignore"):
        if not np.isnan(rows.sum()):
            return None
    holes = np.isnan(rows)
    return holes if holes.any() else None


def _complete(holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows have no hole. Column by column: along the rows NumPy takes several times as long."""
    some = holes[:, 0].copy()
    for column in holes.T[1:]:
        some |= column
    return ~some


def _empty(holes: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Return which rows have nothing but holes."""
    left = np.flatnonzero(holes[:, 0])
    for column in holes.T[1:]:
        if not len(left):
            break
        left = left[column[left]]
    empty = np.zeros(len(holes), dtype=np.bool_)
    empty[left] = True
    return empty


#: It has no state: this one is enough.
HOLES = Holes()
