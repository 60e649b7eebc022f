"""Where the restarts of a fit begin: on all rows while they fit the start's budget, beyond it on a sample.

Starts on a sample are fitted to it in memory: first many to few rows, then the best of them to all sampled
rows. What comes out is about p / (2 m) nats per row below the optimum on all rows, for p free parameters and
m sampled rows. The best ones race: passes over the data decide between them by successive halving, and the
first pass shows how the sample differs from the data; see `dask_gmm.fitting.accelerate.surrogate`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.em import Collapse, Ending, Run
from dask_gmm.fitting.init.initialization import find_start, given_start
from dask_gmm.fitting.init.on_sample import UNOBSERVED, EngineOf, passes_over, sample_for, sample_size
from dask_gmm.fitting.init.successive_halving import same_bound
from dask_gmm.fitting.loop import Candidate, iterate
from dask_gmm.fitting.methods import BeforeSurrogateStep, PlainEM
from dask_gmm.fitting.passes import Passes
from dask_gmm.fitting.row_sample import Sample, Sampling
from dask_gmm.fitting.settings import N_RACERS, FitSettings
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.parameters import Parameters

# Sampled rows for each free parameter on which many restarts are tried ...
_ROWS_TO_EXPLORE = 50
# ... and the number below which EM would fit the sample rather than the data.
_LEAST_ROWS_PER_PARAMETER = 10
# Restarts on few rows for each one asked for, and the nats per row that are enough to tell which are better.
_EXPLORERS = 4
_EXPLORING_TOL = 1e-3
# Nats per row to which the best are fitted: well below what the sample can tell, since EM that creeps may
# still have far to go. In memory that costs little.
_SAMPLE_TOL = 1e-5
_MOST_ITERATIONS = 100


def find_starts(
    passes: Passes,
    settings: Sequence[FitSettings],
    random_states: Sequence[np.random.RandomState],
    engine_of: EngineOf,
) -> list[Candidate]:
    """Find the restarts of each candidate before their first iteration, with one pass or none for all.

    Parameters
    ----------
    passes : Passes
    settings : sequence of FitSettings
        One for each candidate.
    random_states : sequence of RandomState
        One for each candidate; equal ones give a candidate the start that it would have had alone.
    engine_of : callable
        Gives an engine for rows in memory.
    """
    given = all(one.start.given for one in settings)
    if given and not any(one.estimation.asks_moments for one in settings):
        return [Candidate(one, _given_restarts(one)) for one in settings]
    sample, sampling, complete = _drawn(passes, settings, random_states[0])
    settings = informed(passes, settings)
    candidates = []
    for one, random_state in zip(settings, random_states, strict=True):
        if one.start.given:
            restarts = _given_restarts(one)
        elif complete and one.start.init_params != "sample":
            restarts = _restarts(sample, one, random_state, one.n_init)
        else:
            restarts = _sampled_restarts(sample, sampling, one, random_state, engine_of)
        candidates.append(Candidate(one, restarts))
    return candidates


def informed(passes: Passes, settings: Sequence[FitSettings]) -> list[FitSettings]:
    """Return the settings whose estimations know the moments of all rows, where any has a prior of them."""
    if not any(one.estimation.asks_moments for one in settings):
        return list(settings)
    moments = passes.known_moments()
    return [replace(one, estimation=one.estimation.informed(moments)) for one in settings]


def _drawn(
    passes: Passes, settings: Sequence[FitSettings], random_state: np.random.RandomState
) -> tuple[Sample, Sampling, bool]:
    """Return the rows to start from, how they were drawn, and whether they are all."""
    rows, seed = passes.rows, _seed(random_state)
    if rows.sample is not None:
        passes.check_coverage(rows.sample)
        n_rows = len(rows.sample.rows)
        passes.sample, passes.sampling = rows.sample, Sampling(n_rows, seed, n_rows)
        return passes.sample, passes.sampling, True
    budget = max(one.start_rows for one in settings)
    too_many = rows.n_rows is not None and rows.n_rows > budget
    if too_many or all(one.start.init_params == "sample" for one in settings):
        limit = max(sample_size(one, rows.n_features) for one in settings)
    else:
        limit = budget
    sampling = Sampling(limit, seed, rows.n_rows)
    sample = passes.survey(sampling)
    assert passes.moments is not None
    return sample, sampling, passes.moments.all_rows == len(sample.rows) <= budget


def _given_restarts(settings: FitSettings) -> tuple[Run | Collapse, ...]:
    start = settings.estimation.as_given(given_start(settings.start))
    return tuple(new_run(number, settings, start) for number in range(settings.n_init))


def _sampled_restarts(
    sample: Sample,
    sampling: Sampling,
    settings: FitSettings,
    random_state: np.random.RandomState,
    engine_of: EngineOf,
) -> tuple[Run | Collapse, ...]:
    """Return the restarts that are fitted to the sample and race on all rows."""
    sample, sampling = sample_for(settings, sample, sampling)
    n_free = settings.start.n_free(sample.rows.shape[1])
    if settings.start.partly_given or len(sample.rows) < _LEAST_ROWS_PER_PARAMETER * n_free:
        # EM would leave the parts that were given, or fit the sample rather than the data.
        return _restarts(sample, settings, random_state, settings.n_init)
    few = sample.narrowed(replace(sampling, limit=min(sampling.limit, _ROWS_TO_EXPLORE * n_free)))
    # What the sample tells of is where rows are; what is estimated of them, all rows decide.
    on_sample = (
        settings if settings.estimation.is_likelihood else replace(settings, estimation=MAXIMUM_LIKELIHOOD)
    )
    begun = _restarts(few, on_sample, random_state, _EXPLORERS * settings.n_init)
    quick = replace(on_sample, tol=_EXPLORING_TOL, accelerate=False)
    explored = _fitted(few, quick, [run.parameters for run in begun if isinstance(run, Run)], engine_of)
    best = _distinct(explored)[: N_RACERS * settings.n_init if settings.max_iter else 1]
    thorough = replace(on_sample, tol=_SAMPLE_TOL, accelerate=True)
    fitted = _distinct(_fitted(sample, thorough, [run.parameters for run in best], engine_of))
    racers = fitted[: settings.n_racers]
    if not racers:
        return _restarts(sample, settings, random_state, settings.n_init)
    return tuple(
        replace(
            new_run(number, settings, settings.estimation.started(run.parameters)),
            racing=True,
            method=(
                BeforeSurrogateStep(settings.accelerate) if settings.estimation.is_likelihood else PlainEM()
            ),
        )
        for number, run in enumerate(racers)
    )


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Return runs of different bounds, the highest first: others are one mixture in another order."""
    distinct: list[Run] = []
    for run in sorted(runs, key=lambda run: -run.lower_bound):
        if not distinct or not same_bound(run.lower_bound, distinct[-1].lower_bound):
            distinct.append(run)
    return distinct


def _restarts(
    sample: Sample, settings: FitSettings, random_state: np.random.RandomState, n_restarts: int
) -> tuple[Run | Collapse, ...]:
    restarts: list[Run | Collapse] = []
    for number in range(n_restarts):
        try:
            estimation = settings.estimation
            found = find_start(
                sample, settings.start, random_state, well_conditioned=not estimation.has_prior
            )
            restarts.append(new_run(number, settings, estimation.started(found)))
        except CollapsedComponentError as error:
            restarts.append(Collapse(number, error))
    return tuple(restarts)


def _fitted(
    sample: Sample, settings: FitSettings, starts: Sequence[Parameters], engine_of: EngineOf
) -> list[Run]:
    """Return the fits to rows in memory, without those that collapse."""
    settings = replace(settings, max_iter=_MOST_ITERATIONS, shared_passes=True)
    runs = tuple(new_run(number, settings, start) for number, start in enumerate(starts))
    passes = passes_over(sample, settings, engine_of)
    (candidate,) = iterate(passes, [Candidate(settings, runs)], UNOBSERVED)
    return candidate.runs


def new_run(number: int, settings: FitSettings, start: Parameters) -> Run:
    """Return a restart before its first iteration."""
    ending: Ending | None = "max_iter" if settings.max_iter == 0 else None
    return Run(number, start, ending=ending, method=PlainEM(settings.accelerate))


def _seed(random_state: np.random.RandomState) -> int:
    # From a copy: when all rows fit, the start must find the stream as the user gave it.
    copy = np.random.RandomState()
    copy.set_state(random_state.get_state())
    return int.from_bytes(copy.bytes(8), "little")
