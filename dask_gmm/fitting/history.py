"""What a fit went through, pass by pass: for tables and plots, and to judge how far from done it stopped."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pandas as pd

from dask_gmm.fitting.em import Iteration, Run
from dask_gmm.fitting.passes import PassRecord


@dataclass(frozen=True, slots=True, repr=False)
class History:
    """The iterations of a fit.

    Attributes
    ----------
    best : int
        Number of the restart that was kept.
    restarts : tuple of tuple of Iteration
        Iterations of each restart, by its number; none for one that collapsed.
    passes : tuple of PassRecord
        All passes over the data in order, the survey for the start included. Restarts may share one.
    passes_left : int or None
        How many more are expected, from what callbacks hear while a fit runs; None where that is unknown.
    """

    best: int
    restarts: tuple[tuple[Iteration, ...], ...]
    passes: tuple[PassRecord, ...]
    passes_left: int | None = 0

    @classmethod
    def of_run(cls, run: Run, passes: tuple[PassRecord, ...], passes_left: int | None) -> History:
        """Return the history of one restart that still runs, as callbacks hear of it."""
        return cls(run.number, ((),) * run.number + (run.iterations,), passes, passes_left)

    def to_dicts(self, *, all_restarts: bool = False) -> list[dict[str, Any]]:
        """Return one dict per iteration, of the best restart or of all.

        Returns
        -------
        list of dict
            restart, iteration (from 1), pass_number, lower_bound, gain, remaining (estimate of what is left
            to gain, NaN where there is none; all in nats per row), seconds and n_bytes of the pass, rejected,
            leap (whether it was a surrogate step of those ahead in a race of starts).
        """
        numbers = range(len(self.restarts)) if all_restarts else [self.best]
        return [
            {
                "restart": number,
                "iteration": index + 1,
                "pass_number": iteration.pass_number,
                "lower_bound": iteration.lower_bound,
                "gain": iteration.gain,
                "remaining": iteration.remaining,
                "seconds": self.passes[iteration.pass_number].seconds,
                "n_bytes": self.passes[iteration.pass_number].n_bytes,
                "rejected": iteration.rejected,
                "leap": iteration.leap,
            }
            for number in numbers
            for index, iteration in enumerate(self.restarts[number])
        ]

    def to_frame(self, *, all_restarts: bool = False) -> pd.DataFrame:
        """Return `to_dicts` as a table."""
        return pd.DataFrame(self.to_dicts(all_restarts=all_restarts))

    @property
    def n_bytes(self) -> int | None:
        """Bytes of rows that all passes read; None where their size is unknown."""
        sizes = [record.n_bytes for record in self.passes if record.n_bytes is not None]
        return sum(sizes) if len(sizes) == len(self.passes) else None

    @property
    def seconds(self) -> float:
        """Seconds that all passes took."""
        return sum(record.seconds for record in self.passes)

    @property
    def n_rejected(self) -> int:
        """Passes of the best restart whose trial was undone."""
        return sum(iteration.rejected for iteration in self.restarts[self.best])

    @property
    def remaining(self) -> float:
        """Estimate of what the best restart left to gain, in nats per row; NaN where there is none."""
        iterations = self.restarts[self.best]
        return iterations[-1].remaining if iterations else float("nan")

    def __repr__(self) -> str:
        n_iter = len(self.restarts[self.best])
        return (
            f"<History: restart {self.best} of {len(self.restarts)}, {n_iter} iterations, {len(self.passes)} "
            f"passes in {self.seconds:.3g} s, {self.remaining:.2g} nats a row left to gain>"
        )
