"""The candidates of a `GaussianMixtureIC`: what they are, how they compare, and which of them failed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from numbers import Integral
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from dask_gmm.errors import ComparisonWarning, warn_caller
from dask_gmm.fitting.convergence import negligible_gap
from dask_gmm.fitting.evaluation import Evaluation
from dask_gmm.fitting.loop import Candidate
from dask_gmm.model.covariance import covariance_types, spelled


def candidate_grid(
    n_components: Any, covariance_type: Any, n_factors: Any = 1, noise: str = "diag"
) -> list[tuple[str, int]]:
    """Return covariance type and number of components of each candidate, in this order.

    Parameters
    ----------
    n_components, covariance_type, n_factors
        As the user gave them to `GaussianMixtureIC`: one or several.
    noise : {'diag', 'spherical'}

    Raises
    ------
    ValueError
        A number of components below one, an unknown covariance type, or none at all.
    """
    numbers, factors = _numbers("n_components", n_components), _numbers("n_factors", n_factors)
    kinds = [
        spelled(kind, n_factors=number, noise=noise) for kind in _types(covariance_type) for number in factors
    ]
    return [(kind, number) for kind in dict.fromkeys(kinds) for number in numbers]


def _numbers(name: str, given: Any) -> list[int]:
    numbers = [given] if isinstance(given, Integral) else list(given)
    bad = [number for number in numbers if not isinstance(number, Integral) or number < 1]
    if bad or not numbers:
        raise ValueError(
            f"{name} of GaussianMixtureIC must be integers of at least 1, one or more; got {given!r}."
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


def warn_of_candidates(candidates: Sequence[Candidate], evaluations: Sequence[Evaluation | None]) -> None:
    """Warn of candidates and restarts that collapsed, and of candidates that stopped too early to compare."""
    for text in _of_collapses(candidates):
        warn_caller(text, UserWarning)
    for text in _of_unfinished(candidates):
        warn_caller(text, ConvergenceWarning)
    for text in _of_gaps(candidates, evaluations):
        warn_caller(text, ComparisonWarning)


def _of_collapses(candidates: Sequence[Candidate]) -> Iterator[str]:
    for candidate in candidates:
        if candidate.runs:
            for collapse in candidate.collapses:
                yield f"{_name(candidate)}: restart {collapse.number} was left out. {collapse.error}"
        else:
            yield f"{_name(candidate)} collapsed. {candidate.collapses[0].error}"


def _of_unfinished(candidates: Sequence[Candidate]) -> Iterator[str]:
    unfinished = [candidate for candidate in candidates if candidate.runs and not candidate.best.converged]
    # They share all settings but for the grid.
    settings = candidates[0].settings
    if unfinished and settings.max_iter > 0:
        yield (
            f"{len(unfinished)} of {len(candidates)} candidates did not converge: {_names(unfinished)}. The "
            "criteria of these are too high. Increase max_iter"
            + ("." if settings.accelerate else ", or set accelerate=True.")
        )


def _of_gaps(candidates: Sequence[Candidate], evaluations: Sequence[Evaluation | None]) -> Iterator[str]:
    settings = candidates[0].settings
    gaps = {
        _name(candidate): candidate.best.remaining * evaluation.weight
        for candidate, evaluation in zip(candidates, evaluations, strict=True)
        if evaluation is not None
        and candidate.best.converged
        and candidate.best.remaining
        > negligible_gap(settings.criterion, evaluation.n_free, evaluation.weight)
    }
    if gaps:
        tol = "auto" if settings.tol is None else settings.tol
        yield (
            f"The choice may not be final: with tol={tol} up to {max(gaps.values()):.1g} nats over all rows "
            f"are left to gain for {', '.join(gaps)}. That is more than a tenth of the penalty of "
            f"{settings.criterion.upper()}. Set tol='auto', which goes on until it cannot matter."
        )


def _names(candidates: Sequence[Candidate]) -> str:
    return ", ".join(_name(candidate) for candidate in candidates)


def _name(candidate: Candidate) -> str:
    start = candidate.settings.start
    return f"{start.n_components} components ({start.covariance_type})"
