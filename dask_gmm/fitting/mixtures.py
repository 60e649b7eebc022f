"""A whole fit: starts, iterations, the ends of all restarts. The engine does the reading."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from dask_gmm.fitting.accelerate.surrogate import SurrogateSteps
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.on_sample import EngineOf
from dask_gmm.fitting.init.restarts import find_starts, new_run
from dask_gmm.fitting.loop import Candidate, Keeper, iterate, state_of
from dask_gmm.fitting.passes import Observer, Passes
from dask_gmm.fitting.settings import FitSettings, WarmStart
from dask_gmm.fitting.state import FitState
from dask_gmm.fitting.state_checks import check_state


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

    def begin() -> list[Candidate]:
        if warm is not None:
            return [Candidate(settings, (_continued(settings, warm),))]
        return find_starts(passes, [settings], [random_state], engine_of)

    (candidate,) = _fitted(passes, [settings], begin, SurrogateSteps(engine_of), observer, keeper)
    observer.begins(candidate.runs)
    if not candidate.runs:
        raise candidate.collapses[0].error
    return candidate


def fit_mixtures(
    passes: Passes,
    settings: Sequence[FitSettings],
    random_states: Sequence[np.random.RandomState],
    engine_of: EngineOf,
    observer: Observer,
    keeper: Keeper | None = None,
) -> list[Candidate]:
    """Fit several mixtures in passes that they share; each as `fit_mixture` would alone, to the last bit.

    Returns
    -------
    list of Candidate
        Those without runs collapsed.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    """

    def begin() -> list[Candidate]:
        return find_starts(passes, settings, random_states, engine_of)

    return _fitted(passes, settings, begin, SurrogateSteps(engine_of), observer, keeper)


def _fitted(
    passes: Passes,
    settings: Sequence[FitSettings],
    begin: Callable[[], list[Candidate]],
    surrogate: SurrogateSteps,
    observer: Observer,
    keeper: Keeper | None,
) -> list[Candidate]:
    def check(state: FitState) -> None:
        check_state(state, settings, passes.rows.n_features, scatter=passes.scatter)

    saved = keeper.load(check) if keeper is not None else None
    if keeper is not None and saved is not None:
        candidates = [Candidate(*pair) for pair in zip(settings, saved.restarts, strict=True)]
        passes.moments, passes.records, passes.sampling = saved.moments, saved.records, saved.sampling
        if passes.comparison is not None:
            passes.comparison.first = saved.checksums
        if not (keeper.data_known or any(candidate.active for candidate in candidates)):
            # No pass would see other rows.
            passes.check_rows()
    else:
        candidates = begin()
        if keeper is not None:
            keeper.save(state_of(passes, candidates))
    return iterate(passes, candidates, observer, keeper, surrogate)


def _continued(settings: FitSettings, warm: WarmStart) -> Run:
    return replace(new_run(0, settings, warm.parameters), previous_bound=warm.lower_bound)
