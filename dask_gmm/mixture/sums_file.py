"""The sums in a model file, from which `update` and `partial_fit` go on."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.fitting.state_checks import check_kept, check_parameters, check_sums
from dask_gmm.model.kept_statistics import KeptStatistics
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.running_sums import RunningSums
from dask_gmm.model.statistics import Statistics, Totals
from dask_gmm.storage.container import Arrays

# Sums of this size and more stay out of a file, where the user does not ask for them.
_MOST_BYTES = 16 * 2**20
_KEPT, _STREAM = "statistics_.", "stream."
_SUMS = ("nk", "first", "second")
_OF_PARAMETERS = ("weights", "means", "covariances", "precisions_cholesky")


def sums_of(estimator: object, wanted: bool | None) -> Arrays:
    """Return the sums that an estimator has, as arrays by name.

    Parameters
    ----------
    estimator : GaussianMixture
    wanted : bool or None
        None for those that are small.
    """
    if wanted is False:
        return {}
    arrays: Arrays = {}
    kept: KeptStatistics | None = getattr(estimator, "statistics_", None)
    if kept is not None:
        totals = kept.statistics.totals
        arrays |= {_KEPT + name: getattr(kept.parameters, name) for name in _OF_PARAMETERS}
        arrays |= {_KEPT + name: getattr(kept.statistics, name) for name in (*_SUMS, "more")}
        arrays[_KEPT + "origins"] = kept.origins
        arrays[_KEPT + "totals"] = np.array([totals.log_likelihood, totals.weight])
        arrays[_KEPT + "n_rows"] = np.array(totals.n_rows)
    stream: RunningSums | None = getattr(estimator, "_stream", None)
    if stream is not None:
        arrays |= {_STREAM + name: getattr(stream, name) for name in ("origins", *_SUMS)}
        arrays[_STREAM + "weight"] = np.array(stream.weight)
        arrays[_STREAM + "counts"] = np.array([stream.n_batches, stream.n_rows])
    small = sum(array.nbytes for array in arrays.values()) < _MOST_BYTES
    return arrays if wanted or small else {}


def loaded_sums(covariance_type: str, arrays: Arrays) -> dict[str, Any]:
    """Return the attributes that the sums in a file make: none where it has none.

    Raises
    ------
    ValueError, LookupError, TypeError
        They do not belong to the mixture in the file.
    """
    shape: tuple[int, int] = arrays["means_"].shape
    attributes: dict[str, Any] = {}
    if any(name.startswith(_KEPT) for name in arrays):
        attributes["statistics_"] = _kept(covariance_type, shape, arrays)
    if any(name.startswith(_STREAM) for name in arrays):
        stream = _stream(covariance_type, shape, arrays)
        attributes |= {"_stream": stream, "n_samples_seen_": stream.n_rows}
    return attributes


def _kept(covariance_type: str, shape: tuple[int, int], arrays: Arrays) -> KeptStatistics:
    weights, means, covariances, factors = (_floats(arrays, _KEPT + name) for name in _OF_PARAMETERS)
    parameters = Parameters(covariance_type, weights, means, covariances, factors)
    log_likelihood, weight = map(float, _floats(arrays, _KEPT + "totals"))
    totals = Totals(log_likelihood, weight, int(arrays[_KEPT + "n_rows"][()]))
    nk, first, second, more = (_floats(arrays, _KEPT + name) for name in (*_SUMS, "more"))
    kept = KeptStatistics(
        parameters, _floats(arrays, _KEPT + "origins"), Statistics(nk, first, second, totals, more)
    )
    check_parameters(parameters, covariance_type, *shape)
    check_kept(kept)
    return kept


def _stream(covariance_type: str, shape: tuple[int, int], arrays: Arrays) -> RunningSums:
    origins, nk, first, second = (_floats(arrays, _STREAM + name) for name in ("origins", *_SUMS))
    n_batches, n_rows = map(int, arrays[_STREAM + "counts"])
    stream = RunningSums(origins, nk, first, second, n_batches, n_rows, float(arrays[_STREAM + "weight"][()]))
    check_sums(covariance_type, shape, stream.origins, stream)
    if not (n_batches >= 1 and n_rows >= 0 and 0.0 <= stream.weight < np.inf):
        raise ValueError("a stream of less than nothing")
    return stream


def _floats(arrays: Arrays, name: str) -> NDArray[np.float64]:
    array = arrays[name]
    if array.dtype != np.float64:
        raise TypeError(f"{name} has dtype {array.dtype}, not float64")
    return array
