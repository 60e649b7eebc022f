"""Parameters as a vector in which a step of length one is as noticeable in any direction.

That is, the complete-data Fisher metric is the identity. About an origin with weights w, means m and
covariance factors L (covariance = L L^T), a mixture's coordinates are

- sqrt(w_k) log(weight_k / w_k),
- sqrt(w_k) L_k^-1 (mean_k - m_k),
- of T_k = L_k^-1 times the mixture's own factor: sqrt(2 w_k) log T_ii and sqrt(w_k) T_ij below the diagonal;
- or, of standard deviations, sqrt(2 w_k) times the log of their ratio; sqrt(d) times that where d features
  share one.

Every point is a valid mixture, so steps of any length are safe.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

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
        moves = _whitened(parameters.means - self.origin.means, self.origin)
        vector: Array = self.lengths * np.concatenate([logs, moves.ravel(), self._spreads(parameters)])
        return vector

    def parameters(self, vector: Array) -> Parameters:
        """Return the mixture at the coordinates `vector`; its weights are scaled to sum to one."""
        origin = self.origin
        n_components, n_features = origin.means.shape
        logs, moves, spreads = np.split(
            vector / self.lengths, [n_components, n_components * (1 + n_features)]
        )
        weights = origin.weights * np.exp(logs - logs.max())
        means = origin.means + _unwhitened(moves.reshape(origin.means.shape), origin)
        return Parameters.from_precisions_cholesky(
            origin.covariance_type, weights / weights.sum(), means, self._factors(spreads)
        )

    @property
    def lengths(self) -> Array:
        """What one unit of each natural change (a log, a standard deviation) measures, shape (p,)."""
        origin, n_features = self.origin, self.origin.n_features
        roots = np.sqrt(origin.weights)
        spreads: Array
        match origin.covariance_type:
            case "full":
                spreads = np.outer(roots, _triangle_lengths(n_features)).ravel()
            case "tied":
                spreads = _triangle_lengths(n_features)
            case "diag":
                spreads = np.repeat(np.sqrt(2.0) * roots, n_features)
            case _:
                spreads = np.sqrt(2.0 * n_features) * roots
        return np.concatenate([roots, np.repeat(roots, n_features), spreads])

    def _spreads(self, parameters: Parameters) -> Array:
        ours, theirs = self.origin.precisions_cholesky, parameters.precisions_cholesky
        if self.origin.covariance_type in ("diag", "spherical"):
            ratios: Array = np.log(ours / theirs).ravel()
            return ratios
        # The transposes of T, all components at once.
        relative = np.linalg.solve(_stacked(theirs), _stacked(ours))
        rows, columns = np.tril_indices(self.origin.n_features)
        spreads: NDArray[Any] = relative[:, columns, rows]
        spreads[:, rows == columns] = np.log(spreads[:, rows == columns])
        return spreads.ravel()

    def _factors(self, spreads: Array) -> Array:
        ours = self.origin.precisions_cholesky
        if self.origin.covariance_type in ("diag", "spherical"):
            scaled: Array = ours * np.exp(-spreads.reshape(ours.shape))
            return scaled
        n_features = self.origin.n_features
        rows, columns = np.tril_indices(n_features)
        packed = spreads.reshape(-1, len(rows)).copy()
        packed[:, rows == columns] = np.exp(packed[:, rows == columns])
        relative = np.zeros((len(packed), n_features, n_features))
        relative[:, rows, columns] = packed
        lowers = np.linalg.solve(relative, _stacked(ours).transpose(0, 2, 1))
        factors: Array = np.triu(lowers.transpose(0, 2, 1)).reshape(ours.shape)
        return factors


def _stacked(factors: Array) -> NDArray[Any]:
    return factors.reshape(-1, *factors.shape[-2:])


def _triangle_lengths(n_features: int) -> Array:
    rows, columns = np.tril_indices(n_features)
    return np.where(rows == columns, np.sqrt(2.0), 1.0)


def _whitened(moves: Array, origin: Parameters) -> Array:
    """Return L_k^-1 move_k for each component."""
    factors = origin.precisions_cholesky
    whitened: Array
    match origin.covariance_type:
        case "full":
            whitened = np.einsum("kji,kj->ki", factors, moves)
        case "tied":
            whitened = moves @ factors
        case "diag":
            whitened = moves * factors
        case _:
            whitened = moves * factors[:, np.newaxis]
    return whitened


def _unwhitened(moves: Array, origin: Parameters) -> Array:
    """Return L_k move_k for each component."""
    factors = origin.precisions_cholesky
    match origin.covariance_type:
        case "full":
            unwhitened = np.linalg.solve(factors.transpose(0, 2, 1), moves[:, :, np.newaxis])[:, :, 0]
        case "tied":
            unwhitened = np.linalg.solve(factors.T, moves.T).T
        case "diag":
            unwhitened = moves / factors
        case _:
            unwhitened = moves / factors[:, np.newaxis]
    return np.asarray(unwhitened)
