"""The candidates of a `GaussianMixtureIC`: what they are, how they compare, and which of them failed."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from dask_gmm.fitting.convergence import negligible_gap
from dask_gmm.fitting.evaluation import Evaluation
from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.fitting.loop import Candidate
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.model.covariance import covariance_types


def grid_of(estimator: Any) -> list[tuple[str, int]]:
    """Return covariance type and number of components of each candidate, in this order.

    Raises
    ------
    ValueError
        A number of components below one, an unknown covariance type, or none at all.
    """
    numbers = _numbers(estimator.n_components)
    return [(kind, number) for kind in _types(estimator.covariance_type) for number in numbers]


def candidate_settings(estimator: Any, most_to_start: int, *, shared_passes: bool) -> list[FitSettings]:
    """Return the settings of each candidate of `grid_of`."""
    return [
        FitSettings(
            StartSettings(
                n_components,
                covariance_type,
                estimator.init_params,
                float(estimator.reg_covar),
                weights=None,
                means=None,
                precisions=None,
            ),
            None if estimator.tol == "auto" else estimator.tol,
            estimator.max_iter,
            estimator.n_init,
            most_to_start,
            shared_passes=shared_passes,
            accelerate=estimator.accelerate,
            criterion=estimator.criterion,
        )
        for covariance_type, n_components in grid_of(estimator)
    ]


def _numbers(given: Any) -> list[int]:
    numbers = [given] if isinstance(given, Integral) else list(given)
    bad = [number for number in numbers if not isinstance(number, Integral) or number < 1]
    if bad or not numbers:
        raise ValueError(
            f"n_components of GaussianMixtureIC must be integers of at least 1, one or more; got {given!r}."
        )
    return list(dict.fromkeys(int(number) for number in numbers))


def _types(given: Any) -> list[str]:
    types = [given] if isinstance(given, str) else list(given)
    known = covariance_types()
    if not types or any(covariance_type not in known for covariance_type in types):
        raise ValueError(
            f"covariance_type of GaussianMixtureIC must be one or more of {', '.join(known)}; got {given!r}."
        )
    return list(dict.fromkeys(types))


def results_table(
    candidates: Sequence[Candidate], evaluations: Sequence[Evaluation | None]
) -> dict[str, NDArray[Any]]:
    """Return one column for each property of the candidates; numbers of those that collapsed are NaN or -1.

    Parameters
    ----------
    candidates : sequence of Candidate
    evaluations : sequence of Evaluation or None
        None for those that collapsed.
    """
    lines = [_line(*pair) for pair in zip(candidates, evaluations, strict=True)]
    return {name: np.array([line[name] for line in lines]) for name in lines[0]}


def _line(candidate: Candidate, evaluation: Evaluation | None) -> dict[str, Any]:
    start = candidate.settings.start
    line = {"n_components": start.n_components, "covariance_type": start.covariance_type}
    if evaluation is None:
        numbers = dict.fromkeys(("bic", "aic", "icl", "log_likelihood", "lower_bound", "remaining"), np.nan)
        counts = {"n_parameters": -1, "n_iter": -1, "converged": False}
        return {**line, **numbers, **counts, "error": str(candidate.collapses[0].error)}
    run = candidate.best
    return {
        **line,
        "bic": evaluation.bic,
        "aic": evaluation.aic,
        "icl": evaluation.icl,
        "log_likelihood": evaluation.log_likelihood,
        "lower_bound": run.lower_bound,
        "remaining": run.remaining,
        "n_parameters": evaluation.n_free,
        "n_iter": run.n_iter,
        "converged": run.converged,
        "error": "",
    }


def warn_of(
    estimator: Any, candidates: Sequence[Candidate], evaluations: Sequence[Evaluation | None], stacklevel: int
) -> None:
    """Warn of candidates and restarts that collapsed, and of candidates that stopped too early to compare."""
    told = [(UserWarning, text) for text in _of_collapses(candidates)]
    if estimator.max_iter > 0:
        told += [(ConvergenceWarning, text) for text in _of_unfinished(candidates, estimator.accelerate)]
    told += [(ConvergenceWarning, text) for text in _of_gaps(estimator, candidates, evaluations)]
    for category, text in told:
        warnings.warn(text, category, stacklevel=stacklevel + 1)


def _of_collapses(candidates: Sequence[Candidate]) -> Iterator[str]:
    for candidate in candidates:
        if candidate.runs:
            for collapse in candidate.collapses:
                yield f"{_name(candidate)}: restart {collapse.number} was left out. {collapse.error}"
        else:
            yield f"{_name(candidate)} collapsed. {candidate.collapses[0].error}"


def _of_unfinished(candidates: Sequence[Candidate], accelerated: bool) -> Iterator[str]:
    unfinished = [candidate for candidate in candidates if candidate.runs and not candidate.best.converged]
    if unfinished:
        yield (
            f"{len(unfinished)} of {len(candidates)} candidates did not converge: {_names(unfinished)}. The "
            "criteria of these are too high. Increase max_iter"
            + ("." if accelerated else ", or set accelerate=True.")
        )


def _of_gaps(
    estimator: Any, candidates: Sequence[Candidate], evaluations: Sequence[Evaluation | None]
) -> Iterator[str]:
    gaps = {
        _name(candidate): candidate.best.remaining * evaluation.weight
        for candidate, evaluation in zip(candidates, evaluations, strict=True)
        if evaluation is not None
        and candidate.best.converged
        and candidate.best.remaining
        > negligible_gap(estimator.criterion, evaluation.n_free, evaluation.weight)
    }
    if gaps:
        yield (
            f"tol={estimator.tol} was met, but up to {max(gaps.values()):.1g} nats are left to gain over all "
            f"rows, more than a tenth of the penalty of {estimator.criterion.upper()}: {', '.join(gaps)}. "
            "That may decide the choice. Set tol='auto'."
        )


def _names(candidates: Sequence[Candidate]) -> str:
    return ", ".join(_name(candidate) for candidate in candidates)


def _name(candidate: Candidate) -> str:
    start = candidate.settings.start
    return f"{start.n_components} components ({start.covariance_type})"
