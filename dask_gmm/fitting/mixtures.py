"""A whole fit: starts, iterations, the ends of all restarts. The engine does the reading."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from dask_gmm.fitting.accelerate.surrogate import SurrogateSteps
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.init.on_sample import EngineOf
from dask_gmm.fitting.init.restarts import find_starts, informed, new_run
from dask_gmm.fitting.loop import Candidate, Keeper, iterate, state_of
from dask_gmm.fitting.passes import Observer, Passes
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.settings import FitSettings, WarmStart
from dask_gmm.fitting.state import FitState
from dask_gmm.fitting.state_checks import check_state

_LOGGER = logging.getLogger("dask_gmm")


def fit_mixtures(
    passes: Passes,
    settings: Sequence[FitSettings],
    random_states: Sequence[np.random.RandomState],
    engine_of: EngineOf,
    observer: Observer,
    keeper: Keeper | None = None,
) -> list[Candidate]:
    """Run EM from every start of every mixture to its end, or from where `keeper` has it.

    The mixtures share passes; each ends as it would alone, to the last bit.

    Parameters
    ----------
    passes : Passes
    settings : sequence of FitSettings
        One for each mixture.
    random_states : sequence of RandomState
        Likewise, to draw the starts from.
    engine_of : callable
        Gives an engine for rows in memory.
    observer : Observer
    keeper : Keeper, optional

    Returns
    -------
    list of Candidate
        Those without runs collapsed.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    CollapsedComponentError
        Of the first restart of the first mixture, when all restarts of all mixtures collapsed.
    """
    candidates = None if keeper is None else _saved(passes, settings, keeper)
    if candidates is None:
        candidates = _begun(passes, settings, random_states, engine_of)
        if keeper is not None:
            keeper.save(state_of(passes, candidates))
    candidates = iterate(passes, candidates, observer, keeper, SurrogateSteps(engine_of))
    # Those that had nothing to do, too.
    observer.begins([run for candidate in candidates for run in candidate.runs])
    if not any(candidate.runs for candidate in candidates):
        raise candidates[0].collapses[0].error
    return candidates


def _saved(passes: Passes, settings: Sequence[FitSettings], keeper: Keeper) -> list[Candidate] | None:
    """Return the candidates as they were saved, and let `passes` know what it knew; None if nothing was."""

    def check(state: FitState) -> None:
        check_state(state, settings, passes.rows.n_features, scatter=passes.scatter)

    saved = keeper.load(check)
    if saved is None:
        return None
    _LOGGER.info("Going on from the checkpoint, after %d passes.", len(saved.records))
    passes.moments, passes.records, passes.sampling = saved.moments, saved.records, saved.sampling
    if passes.comparison is not None:
        passes.comparison.first = saved.checksums
    known = settings if passes.moments is None else informed(passes, settings)
    candidates = [Candidate(*pair) for pair in zip(known, saved.restarts, strict=True)]
    if not (keeper.data_known or any(candidate.active for candidate in candidates)):
        # No pass would see other rows.
        passes.check_rows()
    return candidates


def _begun(
    passes: Passes,
    settings: Sequence[FitSettings],
    random_states: Sequence[np.random.RandomState],
    engine_of: EngineOf,
) -> list[Candidate]:
    """Return the candidates before their first iteration: where earlier fits ended, or at starts."""
    if any(one.warm is not None and one.estimation.asks_moments for one in settings):
        if passes.rows.sample is None:
            # A prior may be of the moments of all rows, and no start asks for them.
            passes.survey(Sampling(1, 0, passes.rows.n_rows))
        settings = informed(passes, settings)
    cold = [pair for pair in zip(settings, random_states, strict=True) if pair[0].warm is None]
    found: Iterator[Candidate] = iter(())
    if cold:
        found = iter(find_starts(passes, [one for one, _ in cold], [stream for _, stream in cold], engine_of))
    return [
        next(found) if one.warm is None else Candidate(one, (_continued(one, one.warm),)) for one in settings
    ]


def _continued(settings: FitSettings, warm: WarmStart) -> Run:
    return replace(new_run(0, settings, warm.parameters), previous_bound=warm.lower_bound)
