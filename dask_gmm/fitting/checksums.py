"""Whether a pass read what the first one read, by checksums that ride on the reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.source import Block
from dask_gmm.fitting.sketch import sketch
from dask_gmm.fitting.unchanged import changed
from dask_gmm.model.kernels.checksum import checksum, continued
from dask_gmm.model.moments import Moments

Array = NDArray[np.float64]

# Rounding of numbers that are computed again, relative to them: another processor or number of BLAS threads
# may round differently, and differences of large numbers enlarge that.
_ROUNDING = {np.dtype(np.float32): 1e-5, np.dtype(np.float64): 1e-9}


@dataclass(frozen=True, slots=True)
class Checksums:
    """What a pass read.

    Attributes
    ----------
    groups : ndarray of shape (n_groups,), uint64
        Checksum of the rows of each group.
    sums : ndarray of shape (n_features + 1,)
        Keyed sums of the features and of the weights; see `dask_gmm.fitting.sketch`. Those of features are
        zero where only checksums are taken.
    """

    groups: NDArray[np.uint64]
    sums: Array

    def changed_groups(self, now: Checksums) -> NDArray[np.intp]:
        """Return the numbers of the groups with other rows than in a later pass, to the last bit."""
        if len(self.groups) != len(now.groups):
            return np.arange(len(now.groups))
        return np.flatnonzero(self.groups != now.groups)

    def moved(self, now: Checksums, moments: Moments, dtype: np.dtype[Any]) -> NDArray[np.intp]:
        """Return which sums moved by more than rounding until a later pass.

        Parameters
        ----------
        now : Checksums
        moments : Moments
            The moments of all rows: the sums are as exact as the numbers are large.
        dtype : dtype
            The dtype of the rows.
        """
        rounding = _ROUNDING[np.dtype(dtype)] * np.sqrt(moments.n_rows)
        tolerances = [*(rounding * np.hypot(moments.deviation, moments.mean)), 1e-9 * moments.weight]
        with np.errstate(invalid="ignore"):
            distances = np.abs(now.sums - self.sums)
        # Where the first pass overflowed nothing can be compared.
        return np.flatnonzero(np.isfinite(self.sums) & ~(distances <= tolerances))


@dataclass(frozen=True, slots=True)
class Checksum:
    """Checksums as a reduction.

    Attributes
    ----------
    n_features : int
    stored : bool
        The rows are stored, so that every bit of them must stay. Those that are computed anew in each pass
        may come out rounded differently.
    sums : bool
        Whether the features are summed: in the first pass over computed rows, and in those that must be
        compared with it by more than a checksum.
    """

    n_features: int
    stored: bool
    sums: bool = False

    def zero(self) -> Checksums:
        """Return the checksums of no rows, as of a group."""
        return Checksums(np.zeros(1, np.uint64), np.zeros(self.n_features + 1))

    def update(self, value: Checksums, block: Block) -> Checksums:
        """Add a block."""
        value.groups[0] = continued(int(value.groups[0]), len(block.rows), checksum(block.rows))
        seed = crc32(block.name.encode(errors="replace"))
        if self.sums:
            with np.errstate(invalid="ignore"):
                value.sums[:-1] += sketch(block.rows, seed)
        if block.weights is not None:
            value.sums[-1:] += sketch(block.weights[:, np.newaxis], seed)
        return value

    def combine(self, values: Sequence[Checksums]) -> Checksums:
        """Join in the order given."""
        sums = np.zeros(self.n_features + 1)
        with np.errstate(invalid="ignore"):
            for value in values:
                sums += value.sums
        return Checksums(np.concatenate([value.groups for value in values]), sums)


class Comparison:
    """Compares every pass with the first.

    Parameters
    ----------
    reduction : Checksum
    dtype : dtype
        The dtype of the rows.
    group_name : callable
        Gives what an error calls a group.

    Attributes
    ----------
    first : Checksums or None
        The checksums of the first pass, once it is done.
    """

    def __init__(self, reduction: Checksum, dtype: np.dtype[Any], group_name: Callable[[int], str]) -> None:
        self.first: Checksums | None = None
        self._reduction, self._dtype, self._group_name = reduction, dtype, group_name
        self._by_sums = False

    @property
    def reduction(self) -> Checksum:
        """What rides on the next pass."""
        return replace(
            self._reduction, sums=not self._reduction.stored and (self.first is None or self._by_sums)
        )

    def holds(self, now: Checksums, moments: Moments | None) -> bool:
        """Compare a pass with the first.

        Parameters
        ----------
        now : Checksums
        moments : Moments or None
            The moments of all rows; None where this was the first pass.

        Returns
        -------
        bool
            False where the rows were computed and differ in their bits, by how much only the pass itself
            tells: it has to be repeated, with the `reduction` of now.

        Raises
        ------
        DataError
            The rows or weights are others, or in another order.
        """
        if self.first is None or moments is None:
            self.first = now
            return True
        groups = self.first.changed_groups(now)
        if len(groups) and self._reduction.stored:
            more = f" and {len(groups) - 1} more groups of chunks" if len(groups) > 1 else ""
            raise changed(f"{self._group_name(int(groups[0]))}{more} held other rows in the first pass")
        if len(groups) and not self._by_sums:
            self._by_sums = True
            return False
        self._check_sums(now, moments)
        return True

    def _check_sums(self, now: Checksums, moments: Moments) -> None:
        assert self.first is not None
        moved = self.first.moved(now, moments, self._dtype)
        if not self._by_sums:
            # Only the weights are summed, where there are any.
            moved = moved[moved == len(now.sums) - 1]
        if len(moved):
            which = "the weights" if moved[0] == len(now.sums) - 1 else f"the values of feature {moved[0]}"
            raise changed(
                f"{which} were others in the first pass. What is computed anew in each pass must come out "
                "the same: give random numbers a seed, or keep the rows with cache=True or persist()"
            )
