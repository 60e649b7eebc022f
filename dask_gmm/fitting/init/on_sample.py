"""EM on a sample in memory, without reporting."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from dask_gmm.fitting.em import Collapse, Run
from dask_gmm.fitting.passes import Engine, GroupDone, Passes, Rows
from dask_gmm.fitting.row_sample import Sample, Sampling
from dask_gmm.fitting.settings import FitSettings

EngineOf = Callable[[Sample], Engine]

# Sampled rows for each free parameter: with them the start is within 1e-3 nats per row of its optimum.
_ROWS_PER_PARAMETER = 500


class _Unobserved:
    """Reports nothing: what happens on the sample is part of the start."""

    def pass_begins(self, name: str) -> GroupDone | None:
        return None

    def pass_ends(self) -> None:
        pass

    def begins(self, runs: Sequence[Run]) -> None:
        pass

    def pass_done(self, restarts: Sequence[Run | Collapse], *_: object) -> bool:
        return False


UNOBSERVED = _Unobserved()


def sample_size(settings: FitSettings, n_features: int) -> int:
    """Return how many rows are sampled where there are too many to start from all."""
    return min(settings.start_rows, _ROWS_PER_PARAMETER * settings.start.n_free(n_features))


def sample_for(settings: FitSettings, sample: Sample, sampling: Sampling) -> tuple[Sample, Sampling]:
    """Return the part of a sample that a mixture would have got alone, and how it is drawn."""
    if sample.keys is None:
        sample = sample.keyed(sampling.seed)
    narrower = replace(sampling, limit=sample_size(settings, sample.rows.shape[1]))
    return sample.narrowed(narrower), narrower


def passes_over(sample: Sample, settings: FitSettings, engine_of: EngineOf) -> Passes:
    """Return what runs passes over a sample for mixtures with these settings.

    Parameters
    ----------
    sample : Sample
    settings : FitSettings
    engine_of : callable
        Gives an engine for rows in memory.
    """
    n_rows, n_features = sample.rows.shape
    return Passes(
        engine_of(sample),
        Rows(n_rows, n_features, sample.rows.dtype, sample.rows.dtype, sample.rows.nbytes, sample),
        UNOBSERVED,
        scatter=settings.needs_scatter,
        least_rows=settings.start.n_components,
        holes=settings.observation.takes_holes,
    )
