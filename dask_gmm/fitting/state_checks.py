"""Whether a state that was read from a file is one that a fit can go on from: types, shapes and ranges.

A file may be of another release, or made by other means, under a checksum that is right. What passes here
neither fails later nor makes a fit read or take more than it would.
"""

from __future__ import annotations

import types
from collections.abc import Sequence
from dataclasses import fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.accelerate.lbfgs import Acceleration
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.methods import Accelerated
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.fitting.state import FitState
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.kept_statistics import KeptStatistics
from dask_gmm.model.moments import Moments
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.running_sums import RunningSums
from dask_gmm.model.statistics import Statistics


@cache
def _hints(cls: type) -> dict[str, Any]:
    return get_type_hints(cls)


def check_state(state: FitState, settings: Sequence[FitSettings], n_features: int, *, scatter: bool) -> None:
    """Check a state against the fit that would go on from it.

    Parameters
    ----------
    state : FitState
    settings : sequence of FitSettings
        The settings of each mixture that is fitted.
    n_features : int
    scatter : bool
        Whether the scatter of all rows is needed.

    Raises
    ------
    ValueError
        What is wrong.
    """
    _check_types(state, FitState, "state")
    if len(state.restarts) != len(settings):
        raise ValueError(f"it has {len(state.restarts)} mixtures, {len(settings)} are fitted")
    for restarts, one in zip(state.restarts, settings, strict=True):
        if not restarts:
            raise ValueError("a mixture has no restarts")
        for number, restart in enumerate(restarts):
            _check(restart.number == number, f"restart {number} has another number")
            if isinstance(restart, Run):
                _check_run(restart, one, n_features, len(state.records))
    for record in state.records:
        _check(record.seconds >= 0 and (record.n_bytes or 0) >= 0, "a pass took less than nothing")
    if state.moments is not None:
        _check_moments(state.moments, n_features, scatter=scatter)
    if state.sampling is not None:
        _check_sampling(state.sampling, max(one.start_rows for one in settings))
    if state.checksums is not None:
        _check(state.checksums.groups.ndim == 1, "checksums are no list")
        sums = state.checksums.sums.shape
        _check(sums == (n_features + 1,), f"sums of {n_features} features and weights have shape {sums}")
    runs = [run for restarts in state.restarts for run in restarts if isinstance(run, Run)]
    _check(
        state.sampling is not None or not any(run.method.needs_sample for run in runs),
        "a surrogate step has no sample",
    )
    _check(state.moments is not None or not any(run.iterations for run in runs), "iterations without moments")


def _check(holds: bool, what: str) -> None:
    if not holds:
        raise ValueError(what)


def _check_types(value: Any, hint: Any, where: str) -> None:
    """Check `value`, and all that it holds, against the annotations of its class."""
    if not any(_is_of(value, one) for one in _alternatives(hint)):
        raise ValueError(f"{where} is a {type(value).__name__}")
    if isinstance(value, tuple):
        (item_hint, _) = next(get_args(one) for one in _alternatives(hint) if get_origin(one) is tuple)
        for item in value:
            _check_types(item, item_hint, where)
    elif is_dataclass(value):
        cls: type = type(value)
        for field in fields(value):
            _check_types(getattr(value, field.name), _hints(cls)[field.name], field.name)


def _alternatives(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)


def _is_of(value: Any, hint: Any) -> bool:
    origin = get_origin(hint)
    if origin is Literal:
        return isinstance(value, str) and value in get_args(hint)
    if origin is np.ndarray:
        _, dtype = get_args(hint)
        return isinstance(value, np.ndarray) and value.dtype == np.dtype(*get_args(dtype))
    if hint in (int, float, bool, str):
        # Neither True for 1 nor 1 for 1.0.
        return type(value) is hint
    return isinstance(value, origin or hint)


def _check_run(run: Run, settings: FitSettings, n_features: int, n_passes: int) -> None:
    for parameters in (run.parameters, *run.method.held):
        check_parameters(parameters, *_mixture_of(settings), n_features)
    for iteration in run.iterations:
        _check(0 <= iteration.pass_number < n_passes, "an iteration is of a pass that was never made")
    _check(len(run.iterations) <= settings.max_iter, "there are more iterations than max_iter")
    if isinstance(run.method, Accelerated):
        _check_acceleration(run.method.state)
    if run.kept is not None:
        check_parameters(run.kept.parameters, *_mixture_of(settings), n_features)
        check_kept(run.kept)


def check_kept(kept: KeptStatistics) -> None:
    """Check the sums that a fit keeps against the parameters that are kept with them.

    Raises
    ------
    ValueError
        What is wrong.
    """
    parameters, statistics = kept.parameters, kept.statistics
    means = parameters.means.shape
    check_sums(parameters.covariance_type, means, kept.origins, statistics)
    shape = statistics.more.shape if statistics.more.size else (0,)
    _check(shape in ((0,), parameters.structure.holes_shape(*means)), "what else is summed has another shape")
    totals = statistics.totals
    _check(totals.n_rows > 0 and 0.0 < totals.weight < np.inf, "sums are of no rows")


def check_sums(
    covariance_type: str, means: tuple[int, ...], origins: NDArray[np.float64], sums: Statistics | RunningSums
) -> None:
    """Check the shapes and values of sums about `origins`, of a mixture whose means have a shape.

    Raises
    ------
    ValueError
        What is wrong.
    """
    _check_array("origins", origins, means)
    _check_array("nk", sums.nk, means[:1])
    _check_array("first", sums.first, means)
    _check_array("second", sums.second, covariance_structure(covariance_type).second_shape(*means))
    _check(bool((sums.nk >= 0.0).all()), "a sum of responsibilities is below zero")


def _mixture_of(settings: FitSettings) -> tuple[str, int]:
    return settings.start.covariance_type, settings.start.n_components


def check_parameters(
    parameters: Parameters, covariance_type: str, n_components: int, n_features: int
) -> None:
    """Check that parameters make a mixture of this covariance type and size.

    Raises
    ------
    ValueError
        What is wrong.
    """
    _check(parameters.covariance_type == covariance_type, "a mixture is of another covariance type")
    shape = parameters.structure.shape(n_components, n_features)
    _check_array("weights", parameters.weights, (n_components,))
    _check_array("means", parameters.means, (n_components, n_features))
    _check_array("covariances", parameters.covariances, shape)
    factor_shape = parameters.structure.factor_shape(n_components, n_features)
    _check_array("precisions_cholesky", parameters.precisions_cholesky, factor_shape)
    _check(bool((parameters.weights >= 0.0).all()), "a weight is below zero")
    with np.errstate(all="ignore"):
        log_det = parameters.structure.log_det(parameters.precisions_cholesky, n_components, n_features)
    _check(bool(np.isfinite(log_det).all()), "a covariance is not positive definite")


def _check_acceleration(state: Acceleration) -> None:
    _check(bool((state.coordinates.origin.weights > 0.0).all()), "a weight is not above zero")
    lengths = state.coordinates.lengths.shape
    for name in ("point", "residual"):
        _check_array(name, getattr(state, name), lengths)
    for name in ("moves", "changes"):
        _check_array(name, getattr(state, name), (*state.moves.shape[:1], *lengths))
    _check_array("curvatures", state.curvatures, (state.curvatures.size,))
    _check(bool((state.curvatures > 0.0).all()), "a curvature is not above zero")
    _check(0.0 < state.reach < np.inf and state.age >= 0 and state.n_rejected >= 0, "a reach is out of range")


def _check_moments(moments: Moments, n_features: int, *, scatter: bool) -> None:
    _check(moments.all_rows > 0 and 0.0 < moments.all_weight < np.inf, "there are no rows")
    for name in ("mean", "squares"):
        _check_array(name, getattr(moments, name), (n_features,))
    _check((moments.scatter is not None) == scatter, "there should be a scatter of all rows, or should not")
    if moments.scatter is not None:
        _check_array("scatter", moments.scatter, (n_features, n_features))


def _check_sampling(sampling: Sampling, most_rows: int) -> None:
    _check(0 < sampling.limit <= most_rows, f"a sample of {sampling.limit} rows")
    _check(0 <= sampling.seed < 2**64, "a seed is out of range")
    _check(sampling.n_rows is None or 0 < sampling.n_rows < 2**63, "a number of rows is out of range")


def _check_array(name: str, array: NDArray[Any], shape: tuple[int, ...]) -> None:
    _check(array.shape == shape, f"{name} has shape {array.shape}, not {shape}")
    _check(bool(np.isfinite(array).all()), f"{name} are not all finite")
