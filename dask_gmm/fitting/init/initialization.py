"""Where EM starts: the initial parameters, found on rows in memory.

With all rows in the sample, the draws from `random_state` and the numbers are scikit-learn's, so the
same seed starts in the same place.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans, kmeans_plusplus

from dask_gmm.fitting.init.filled import without_holes
from dask_gmm.fitting.init.single_rows import estimate_from_few
from dask_gmm.fitting.row_sample import Sample
from dask_gmm.model.covariance import covariance_structure
from dask_gmm.model.mstep import check_size, guarded, well_defined
from dask_gmm.model.parameters import Parameters, n_free_parameters
from dask_gmm.model.statistics import Statistics

Array = NDArray[np.float64]

_TILE_ROWS = 4096


@dataclass(frozen=True, slots=True)
class StartSettings:
    """What decides the start.

    Attributes
    ----------
    n_components : int
    covariance_type : str
    init_params : {'kmeans', 'k-means++', 'random', 'random_from_data', 'sample'}
        'sample' starts from clusters too.
    reg_covar : float
    weights, means, precisions : ndarray or None
        Given parts of the start; what is None is found.
    """

    n_components: int
    covariance_type: str
    init_params: str
    reg_covar: float
    weights: Array | None
    means: Array | None
    precisions: Array | None

    @property
    def given(self) -> bool:
        """Whether nothing is left to find."""
        return not (self.weights is None or self.means is None or self.precisions is None)

    @property
    def partly_given(self) -> bool:
        """Whether some part is not left to find."""
        return not (self.weights is None and self.means is None and self.precisions is None)

    @property
    def moments_type(self) -> str:
        """The covariance type whose second moments are gathered."""
        return covariance_structure(self.covariance_type).moments_of_starts

    def n_free(self, n_features: int) -> int:
        """Return the number of free parameters."""
        return n_free_parameters(self.covariance_type, self.n_components, n_features)


def given_start(settings: StartSettings) -> Parameters:
    """Return the start that is given in all its parts."""
    return _with_given_parts(settings, None)


def find_start(
    sample: Sample,
    settings: StartSettings,
    random_state: np.random.RandomState,
    *,
    well_conditioned: bool = True,
) -> Parameters:
    """Return initial parameters.

    Parameters
    ----------
    sample : Sample
        All rows, or a uniform sample of them.
    settings : StartSettings
        Given parts replace what is found.
    random_state : RandomState
        Drawn from in scikit-learn's order.
    well_conditioned : bool
        Whether covariances have to be positive definite; with a prior they become so.

    Raises
    ------
    CollapsedComponentError
        A component without spread, where `reg_covar` does not help.
    """
    sample = without_holes(sample, settings.n_components)
    # By a power of two, which changes no digit: squares of large rows are beyond their dtype.
    scale = _scale(sample.rows)
    sample = sample if scale == 1.0 else replace(sample, rows=sample.rows / sample.rows.dtype.type(scale))
    covariance_type, reg_covar = settings.covariance_type, settings.reg_covar / scale / scale
    if settings.init_params in ("k-means++", "random_from_data"):
        chosen = _chosen_rows(sample, settings, random_state)
        nk, means, covariances = estimate_from_few(sample, chosen, covariance_type, reg_covar)
    else:
        if settings.init_params in ("kmeans", "sample"):
            statistics, origins = _cluster_statistics(sample, settings, random_state)
        else:
            statistics, origins = _random_statistics(sample, settings, random_state)
        nk = guarded(statistics.nk, sample.rows.dtype)
        shift = statistics.first / nk[:, np.newaxis]
        means = origins + shift
        covariances = covariance_structure(covariance_type).of_moments(
            statistics.second, nk, shift, reg_covar
        )
    weights = nk / sample.total_weight
    with np.errstate(over="ignore"):
        means, covariances = means * scale, covariances * scale * scale
    if settings.precisions is not None:
        # They replace the found covariances, which need not even be well defined.
        return _with_given_parts(
            settings, Parameters(covariance_type, weights, means, covariances, covariances)
        )
    check_size(covariances)
    if not well_conditioned:
        return _with_given_parts(
            settings, Parameters(covariance_type, weights, means, covariances, covariances)
        )
    found = well_defined(covariance_type, weights, means, covariances, sample.rows.dtype)
    return _with_given_parts(settings, found)


def _scale(rows: NDArray[Any]) -> float:
    """Return the power of two to divide rows by where sums of their squares would overflow, else 1."""
    reach = max(abs(float(rows.max(initial=0.0))), abs(float(rows.min(initial=0.0))))
    # Distances are up to twice as large as rows.
    if reach < math.sqrt(float(np.finfo(rows.dtype).max) / max(1, 4 * rows.size)):
        return 1.0
    return math.ldexp(1.0, math.frexp(reach)[1] - 1)


def _with_given_parts(settings: StartSettings, found: Parameters | None) -> Parameters:
    weights = settings.weights if found is None or settings.weights is not None else found.weights
    means = settings.means if found is None or settings.means is not None else found.means
    weights, means = np.asarray(weights, dtype=np.float64), np.asarray(means, dtype=np.float64)
    if settings.precisions is not None:
        precisions = np.asarray(settings.precisions, dtype=np.float64)
        factors = covariance_structure(settings.covariance_type).cholesky_of_precisions(precisions)
        return Parameters.from_precisions_cholesky(settings.covariance_type, weights, means, factors)
    assert found is not None
    return Parameters(settings.covariance_type, weights, means, found.covariances, found.precisions_cholesky)


def _chosen_rows(
    sample: Sample, settings: StartSettings, random_state: np.random.RandomState
) -> NDArray[np.intp]:
    """Return the sample row that each component starts from."""
    rows, weights, n_components = sample.rows, sample.weights, settings.n_components
    if settings.init_params == "k-means++":
        _, chosen = kmeans_plusplus(rows, n_components, sample_weight=weights, random_state=random_state)
    else:
        probabilities = None if weights is None else weights / weights.sum()
        chosen = random_state.choice(len(rows), size=n_components, replace=False, p=probabilities)
    return np.asarray(chosen)


def _cluster_statistics(
    sample: Sample, settings: StartSettings, random_state: np.random.RandomState
) -> tuple[Statistics, Array]:
    """Return the statistics of k-means clusters, about the clusters' means."""
    kmeans = KMeans(n_clusters=settings.n_components, n_init=1, random_state=random_state)
    labels = kmeans.fit(sample.rows, sample_weight=sample.weights).labels_
    structure = covariance_structure(settings.moments_type)
    n_features = sample.rows.shape[1]
    statistics = Statistics.zero(settings.moments_type, settings.n_components, n_features)
    origins = np.zeros((settings.n_components, n_features))
    for k in range(settings.n_components):
        members = np.flatnonzero(labels == k)
        rows = sample.rows[members].astype(np.float64)
        weights = np.ones(len(members)) if sample.weights is None else sample.weights[members]
        statistics.nk[k] = weights.sum()
        if statistics.nk[k] > 0:
            origins[k] = rows[0] + weights @ (rows - rows[0]) / statistics.nk[k]
            structure.add_second(statistics.second, rows - origins[k], weights, k)
    return statistics, origins


def _random_statistics(
    sample: Sample, settings: StartSettings, random_state: np.random.RandomState
) -> tuple[Statistics, Array]:
    """Return the statistics of random responsibilities, about the sample's mean."""
    rows, n_components = sample.rows, settings.n_components
    structure = covariance_structure(settings.moments_type)
    statistics = Statistics.zero(settings.moments_type, n_components, rows.shape[1])
    origin = rows[0] + (rows - rows[0]).mean(axis=0, dtype=np.float64)
    for first, resp in _random_responsibilities(rows, n_components, random_state):
        deviations = rows[first : first + len(resp)] - origin
        if sample.weights is not None:
            resp = resp * sample.weights[first : first + len(resp), np.newaxis]
        np.add(statistics.nk, resp.sum(axis=0), out=statistics.nk)
        np.add(statistics.first, resp.T @ deviations, out=statistics.first)
        for k in range(n_components):
            structure.add_second(statistics.second, deviations, resp[:, k], k)
    return statistics, np.tile(origin, (n_components, 1))


def _random_responsibilities(
    rows: NDArray[Any], n_components: int, random_state: np.random.RandomState
) -> Iterator[tuple[int, Array]]:
    # Tile by tile draws the same numbers as all at once, without an array of n x K.
    for first in range(0, len(rows), _TILE_ROWS):
        n_tile = min(_TILE_ROWS, len(rows) - first)
        resp = random_state.uniform(size=(n_tile, n_components)).astype(rows.dtype, copy=False)
        resp /= resp.sum(axis=1)[:, np.newaxis]
        yield first, resp.astype(np.float64, copy=False)
