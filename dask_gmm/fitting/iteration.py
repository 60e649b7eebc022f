"""One EM iteration of several restarts: the E-step in a pass that they share, then each one's M-step."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from dask_gmm.errors import CollapsedComponentError
from dask_gmm.fitting.em import Collapse, Run
from dask_gmm.fitting.passes import Expectation, Passes
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.kept_statistics import KeptStatistics, adds_up


def advance_together(
    passes: Passes,
    runs: Sequence[Run],
    settings: Sequence[FitSettings],
    *,
    sampling: Sampling | None = None,
) -> list[Run | Collapse]:
    """Advance each run by one iteration with its settings, in one pass over the data.

    Parameters
    ----------
    passes : Passes
    runs : sequence of Run
    settings : sequence of FitSettings
        The settings of each run.
    sampling : Sampling, optional
        How to draw a sample of the rows in the same pass.
    """
    expectations = passes.e_steps("pass", [run.parameters for run in runs], settings, sampling)
    return [
        _advance(run, one, expectation, passes)
        for run, one, expectation in zip(runs, settings, expectations, strict=True)
    ]


def _advance(run: Run, settings: FitSettings, expectation: Expectation, passes: Passes) -> Run | Collapse:
    """Return the run after its M-step, after a trial that is undone, or how it collapsed."""
    number, statistics = len(passes.records) - 1, expectation.statistics
    stopping = _stopping(run, settings, passes)
    objective = settings.estimation.objective(run.parameters, statistics)
    if run.rejects(objective):
        return run.undo_trial(number, stopping)
    try:
        maximized = settings.estimation.maximize(
            run.parameters,
            statistics,
            expectation.kernel.origins,
            reg_covar=settings.start.reg_covar,
            dtype=passes.rows.dtype,
        )
    except CollapsedComponentError as error:
        if run.method.on_trial:
            return run.undo_trial(number, stopping)
        return Collapse(run.number, error)
    origins, density = expectation.kernel.origins, expectation.kernel.density
    objective = settings.estimation.objective_after(objective, statistics, origins, density, maximized)
    kept = KeptStatistics(run.parameters, origins, statistics)
    following = run.advance(objective, maximized, number, stopping)
    return replace(following, kept=kept if adds_up(statistics) else None)


def passes_left(passes: Passes, runs: Sequence[Run], settings: Sequence[FitSettings]) -> int | None:
    """Return how many more passes these unfinished runs are expected to need together.

    Returns
    -------
    int or None
        At most what `max_iter` leaves; None where it is unknown for one of the runs.
    """
    left = [run.passes_left(_stopping(run, one, passes)) for run, one in zip(runs, settings, strict=True)]
    known = [n_passes for n_passes in left if n_passes is not None]
    return max(known, default=0) if len(known) == len(left) else None


def _stopping(run: Run, settings: FitSettings, passes: Passes) -> Stopping:
    assert passes.moments is not None
    return Stopping.of(settings, run.parameters.n_free, passes.moments.all_weight)
