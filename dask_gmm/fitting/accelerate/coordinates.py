"""Parameters as a vector in which a step of length one is as noticeable in any direction.

That is, the complete-data Fisher metric is the identity. About an origin with weights w, means m and
covariance factors L (covariance = L L^T), a mixture's coordinates are

- sqrt(w_k) log(weight_k / w_k),
- sqrt(w_k) L_k^-1 (mean_k - m_k),
- what the covariance type makes of L_k and the mixture's own factor: of matrices T_k = L_k^-1 times that,
  sqrt(2 w_k) log T_ii and sqrt(w_k) T_ij below the diagonal; of standard deviations sqrt(2 w_k) times the log
  of their ratio, sqrt(d) times that where d features share one.

Every point is a valid mixture, so steps of any length are safe.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.parameters import Parameters

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Coordinates:
    """Coordinates about a mixture.

    Attributes
    ----------
    origin : Parameters
        With weights above zero, as every M-step gives them.
    """

    origin: Parameters

    def vector(self, parameters: Parameters) -> Array:
        """Return the coordinates of a mixture, shape (p,)."""
        logs = np.log(parameters.weights / self.origin.weights)
        structure, factors = self.origin.structure, self.origin.precisions_cholesky
        moves = structure.whitened_moves(parameters.means - self.origin.means, factors)
        spreads = structure.spreads(parameters.precisions_cholesky, factors)
        vector: Array = self.lengths * np.concatenate([logs, moves.ravel(), spreads])
        return vector

    def parameters(self, vector: Array) -> Parameters:
        """Return the mixture at the coordinates `vector`; its weights are scaled to sum to one."""
        origin = self.origin
        n_components, n_features = origin.means.shape
        logs, moves, spreads = np.split(
            vector / self.lengths, [n_components, n_components * (1 + n_features)]
        )
        weights = origin.weights * np.exp(logs - logs.max())
        structure, factors = origin.structure, origin.precisions_cholesky
        means = origin.means + structure.unwhitened_moves(moves.reshape(origin.means.shape), factors)
        found = Parameters.from_precisions_cholesky(
            origin.covariance_type, weights / weights.sum(), means, structure.with_spreads(spreads, factors)
        )
        if origin.background is None:
            return found
        # A background keeps its weight; EM's own steps move it.
        shares = (1.0 - origin.background.weight) * found.weights
        return replace(found, weights=shares, background=origin.background)

    @property
    def lengths(self) -> Array:
        """What one unit of each natural change (a log, a standard deviation) measures, shape (p,)."""
        origin, n_features = self.origin, self.origin.n_features
        roots = np.sqrt(origin.weights)
        spreads = origin.structure.spread_lengths(origin.weights, origin.precisions_cholesky, n_features)
        return np.concatenate([roots, np.repeat(roots, n_features), spreads])
