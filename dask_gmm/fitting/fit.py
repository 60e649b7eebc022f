"""A whole fit: starts, iterations, the ends of all restarts. The engine does the reading."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from dask_gmm.fitting.em import Run
from dask_gmm.fitting.loop import Candidate, Keeper, iterate, state_of
from dask_gmm.fitting.passes import Observer, Passes
from dask_gmm.fitting.settings import FitSettings, WarmStart
from dask_gmm.fitting.starts import EngineOf, find_starts, new_run


def fit_mixture(
    passes: Passes,
    settings: FitSettings,
    random_state: np.random.RandomState,
    warm: WarmStart | None,
    engine_of: EngineOf,
    observer: Observer,
    keeper: Keeper | None = None,
) -> Candidate:
    """Run EM from every start to its end, or from where `keeper` has it.

    Returns
    -------
    Candidate
        With at least one run.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    CollapsedComponentError
        Of the first restart, when every restart collapsed.
    """
    saved = keeper.load() if keeper is not None else None
    if saved is not None:
        begun = [Candidate(settings, restarts) for restarts in saved.restarts]
        passes.moments, passes.records = saved.moments, saved.records
    elif warm is not None:
        begun = [Candidate(settings, (_continued(settings, warm),))]
    else:
        begun = find_starts(passes, [settings], [random_state], engine_of)
        if keeper is not None:
            keeper.save(state_of(passes, begun))
    (candidate,) = iterate(passes, begun, observer, keeper)
    observer.begins(candidate.runs)
    if not candidate.runs:
        raise candidate.collapses[0].error
    return candidate


def _continued(settings: FitSettings, warm: WarmStart) -> Run:
    return replace(new_run(0, settings, warm.parameters), previous_bound=warm.lower_bound)
