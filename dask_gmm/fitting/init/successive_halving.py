"""The race of the starts: successive halving, which here keeps the best third after each pass over all rows.

Jamieson and Talwalkar, Non-stochastic Best Arm Identification and Hyperparameter Optimization (2016).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace

from dask_gmm.fitting.em import Collapse, Run, best_of

# Of so many racing restarts one stays in the race after a pass.
_RACERS_PER_SURVIVOR = 3
# Two bounds that differ by less, in nats per row or relative, are one mixture's.
_ROUNDING = 1e-7


def keep_best_third(restarts: Sequence[Run | Collapse]) -> tuple[Run | Collapse, ...]:
    """End the racing restarts but the best third; where those ahead have collapsed, the others go on.

    Parameters
    ----------
    restarts : sequence of Run or Collapse
        All restarts of a mixture after a pass, by number.
    """
    runs = [restart for restart in restarts if isinstance(restart, Run)]
    racing = _ranked([run for run in runs if run.racing])
    if racing:
        n_ahead = math.ceil(len(racing) / _RACERS_PER_SURVIVOR)
        changed = {run.number: replace(run, racing=n_ahead > 1) for run in racing[:n_ahead]}
        changed |= {run.number: replace(run, racing=False, ending="outrun") for run in racing[n_ahead:]}
    elif all(run.ending == "outrun" for run in runs):
        changed = {run.number: replace(run, ending=None) for run in runs}
    else:
        return tuple(restarts)
    return tuple(changed.get(restart.number, restart) for restart in restarts)


def _ranked(runs: Sequence[Run]) -> list[Run]:
    """Return the best first: rounding must not choose between one mixture in two orders."""
    left, ranked = list(runs), []
    while left:
        highest = best_of(left).lower_bound
        ranked.append(next((run for run in left if same_bound(run.lower_bound, highest)), left[0]))
        left.remove(ranked[-1])
    return ranked


def same_bound(one: float, other: float) -> bool:
    """Return whether two bounds differ by no more than rounding."""
    return math.isclose(one, other, rel_tol=_ROUNDING, abs_tol=_ROUNDING)
