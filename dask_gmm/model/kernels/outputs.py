"""What is made of a tile's log-joints: labels, log densities, responsibilities, the log-likelihood."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.kernels.compiled import inner
from dask_gmm.model.kernels.softmax import argmax, softmax


@inner
def write(
    log_joint: NDArray[Any],
    n_components: int,
    start: int,
    count: int,
    width: int,
    weights: NDArray[np.float64],
    labels: NDArray[np.int64],
    log_density: NDArray[Any],
    resp: NDArray[Any],
) -> float:
    """Write the outputs of rows ``start, ..., start + count - 1`` that are wanted; return the log-likelihood.

    Parameters
    ----------
    log_joint : ndarray of shape (>= n_components, n_rows)
        Turned into responsibilities times weights, unless labels are wanted; rows from `count` to `width`
        get 0.
    weights : ndarray of shape (n,)
        Sample weights; empty for ones.
    labels : ndarray of shape (n,)
    log_density : ndarray of shape (n,)
    resp : ndarray of shape (n, n_components)
        Outputs; empty when not wanted.

    Returns
    -------
    log_likelihood : float
        Sum of weight times log density over these rows; rows of weight zero count for nothing, whatever their
        density.
    """
    if len(labels):
        argmax(log_joint, n_components, labels[start : start + count])
        return 0.0
    tile_weights, tile_density = np.zeros(width), np.empty(width)
    tile_weights[:count] = weights[start : start + count] if len(weights) else np.ones(count)
    softmax(log_joint, n_components, tile_weights, tile_density)
    if len(log_density):
        log_density[start : start + count] = tile_density[:count]
    if len(resp):
        for k in range(n_components):
            resp[start : start + count, k] = log_joint[k, :count]
    log_likelihood = 0.0
    for t in range(count):
        if tile_weights[t] != 0.0:
            log_likelihood += tile_weights[t] * tile_density[t]
    return log_likelihood
