"""One fit, of one mixture or of several that share its passes: what decides it, and how it goes."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np

from dask_gmm.checkpointing import Checkpoint, fit_identity
from dask_gmm.data.source import Source
from dask_gmm.engine.blas import SingleBlasThread
from dask_gmm.engine.cache import Cache
from dask_gmm.engine.choose import choose_engine
from dask_gmm.engine.memory_estimate import PassBytes
from dask_gmm.fitting.coverage import Coverage
from dask_gmm.fitting.evaluation import Evaluation
from dask_gmm.fitting.history import History
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.fitting.loop import Candidate
from dask_gmm.fitting.mixtures import fit_mixtures
from dask_gmm.fitting.passes import Passes, PassRecord
from dask_gmm.fitting.settings import FitSettings, WarmStart
from dask_gmm.mixture.fit_rows import engine_in_memory, rows_of, start_bytes, start_rows
from dask_gmm.model.estimation.estimation import Estimation
from dask_gmm.model.estimation.likelihood import MAXIMUM_LIKELIHOOD
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.observation import Observation
from dask_gmm.reporting.callbacks import FitReport


@dataclass(frozen=True, slots=True)
class FitSpec:
    """What decides a fit, apart from the rows. An estimator makes it once, in its own module.

    Attributes
    ----------
    mixtures : tuple of FitSettings
        One for each mixture to fit.
    random_states : tuple of RandomState
        What the starts of each are drawn from.
    parameters : mapping
        The constructor's parameters, by which a checkpoint knows the fit.
    cache : {'auto', True, False}
        Whether rows stay in memory between passes.
    checkpoint : str, path or None
        Where the state is kept after every pass.
    compared : bool
        Whether a last pass evaluates the mixtures, so that criteria can compare them.
    """

    mixtures: tuple[FitSettings, ...]
    random_states: tuple[np.random.RandomState, ...]
    parameters: Mapping[str, Any]
    cache: Cache = "auto"
    checkpoint: str | os.PathLike[str] | None = None
    compared: bool = False

    @property
    def most_passes(self) -> int:
        """Passes that the fit makes at most: for the start, the iterations and the comparison."""
        iterations = [one.max_iter * (1 if one.shared_passes else one.n_init) for one in self.mixtures]
        return 1 + max(iterations) + self.compared

    def pass_bytes(self, n_features: int) -> PassBytes:
        """Return the bytes of what a pass computes for all mixtures."""
        return PassBytes(
            values=sum(one.value_bytes(n_features) for one in self.mixtures),
            sample=0 if all(one.start.given for one in self.mixtures) else start_bytes(),
        )


@dataclass(frozen=True, slots=True)
class Fit:
    """How a fit went.

    Attributes
    ----------
    candidates : tuple of Candidate
        One for each mixture; those without runs collapsed, but not all.
    evaluations : tuple of Evaluation or None
        None for those that collapsed; empty where nothing is compared.
    records : tuple of PassRecord
        All passes.
    weight : float or None
        Sum of the weights of all rows; None where nothing was read.
    coverage : Coverage or None
        Which features were observed together, where some may not be.
    """

    candidates: tuple[Candidate, ...]
    evaluations: tuple[Evaluation | None, ...]
    records: tuple[PassRecord, ...]
    weight: float | None
    coverage: Coverage | None = None

    def history(self, index: int) -> History:
        """Return what one of the candidates went through."""
        candidate = self.candidates[index]
        return History(candidate.best.number, candidate.iterations, self.records)


def mixture_settings(
    source: Source,
    start: StartSettings,
    *,
    tol: float | None,
    max_iter: int,
    n_init: int,
    accelerate: bool,
    criterion: str = "bic",
    warm: WarmStart | None = None,
    observation: Observation = COMPLETE,
    estimation: Estimation = MAXIMUM_LIKELIHOOD,
) -> FitSettings:
    """Return the settings of one mixture to fit to `source`; the arguments are those of `FitSettings`."""
    return FitSettings(
        start,
        tol,
        max_iter,
        n_init,
        start_rows(source),
        # Restarts of rows in memory run one after another, as scikit-learn's do.
        shared_passes=not source.in_memory,
        accelerate=accelerate,
        criterion=criterion,
        observation=observation,
        estimation=estimation,
        warm=warm,
    )


def run_fit(spec: FitSpec, source: Source, report: FitReport) -> Fit:
    """Fit the mixtures of `spec` to the rows of `source`.

    Parameters
    ----------
    spec : FitSpec
    source : Source
    report : FitReport
        Is told how the fit goes, except that it is done: the estimator's attributes come before that.

    Raises
    ------
    DataError
        Rows that cannot be used, or too few of them.
    CollapsedComponentError
        Of the first mixture, when every mixture collapsed.
    ChunkTooLargeError, CheckpointError, ClusterError, DriverError, StoreError
        The machines or stores cannot do it.
    """
    # Restarts and candidates go on until the slowest is done, so where there are several, rows that the start
    # may take into memory stay there.
    keep = start_bytes() if sum(one.n_init for one in spec.mixtures) > 1 else 0
    computed = spec.pass_bytes(source.n_features)
    with (
        # Starts and M-steps too shall have the same bits on any number of cores.
        SingleBlasThread(),
        closing(choose_engine(source, spec.cache, computed, keep)) as engine,
        _checkpoint(spec, source) as keeper,
    ):
        report.fit_begins(n_groups=engine.n_groups, most_passes=spec.most_passes)
        passes = Passes(
            engine,
            rows_of(source, max(one.start_rows for one in spec.mixtures)),
            report,
            scatter=any(one.needs_scatter for one in spec.mixtures),
            least_rows=max(one.start.n_components for one in spec.mixtures),
            holes=any(one.observation.takes_holes for one in spec.mixtures),
            box=any(one.needs_box for one in spec.mixtures),
        )
        candidates = fit_mixtures(passes, spec.mixtures, spec.random_states, engine_in_memory, report, keeper)
        evaluations = _evaluated(passes, candidates) if spec.compared else ()
    weight = None if passes.moments is None else passes.moments.all_weight
    return Fit(tuple(candidates), evaluations, passes.records, weight, passes.coverage)


def _checkpoint(spec: FitSpec, source: Source) -> AbstractContextManager[Checkpoint | None]:
    """Return the checkpoint of the fit, held by this process while it is open."""
    if spec.checkpoint is None:
        return nullcontext()
    warm = [one.warm for one in spec.mixtures if one.warm is not None]
    return Checkpoint(spec.checkpoint, fit_identity(spec.parameters, source, warm))


def _evaluated(passes: Passes, candidates: Sequence[Candidate]) -> tuple[Evaluation | None, ...]:
    """Return how good each candidate is, None for those that collapsed."""
    fitted = [candidate for candidate in candidates if candidate.runs]
    mixtures = [candidate.best.parameters for candidate in fitted]
    evaluations = iter(passes.evaluate(mixtures, [candidate.settings for candidate in fitted]))
    return tuple(next(evaluations) if candidate.runs else None for candidate in candidates)
