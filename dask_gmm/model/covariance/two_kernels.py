"""Covariance types that the two compiled kernels evaluate, and the choice between these."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.covariance import Covariance
from dask_gmm.model.kernels.centred import CentredKernel
from dask_gmm.model.kernels.components import Components
from dask_gmm.model.kernels.prepared import Prepared
from dask_gmm.model.kernels.quadratic import Features, QuadraticKernel
from dask_gmm.model.kernels.settled import SettlingKernel

Array = NDArray[np.float64]

# Largest `kappa` for which the quadratic form loses no more than 1e-10 in float64 ...
KAPPA_DOUBLE = 1e5
# ... and 1e-5 where float32 rows are multiplied in float32.
_KAPPA_SINGLE = 100.0
# Standard deviations, and their inverses, beyond which float32 might overflow.
_REACH_SINGLE = 1e12
# With fewer, a second look at labels costs more than it saves: measured.
_FEATURES_TO_SETTLE = 8


@dataclass(frozen=True, slots=True)
class QuadraticForm:
    """A mixture as coefficients of quadratic features of y = x - shift.

    With the precision P P^T, log weight + log N(x) is a constant plus a linear form in y minus half the
    quadratic form y^T P P^T y.

    Attributes
    ----------
    features : Features
    linear : ndarray of shape (n_components, n_features)
        Coefficients of y, or of what the features have in its place.
    quadratic : ndarray of shape (n_components, ...)
        Coefficients of the features after 1 and y.
    means : ndarray of shape (n_components, n_features)
        What the linear form is multiplied by to give the constant: mean - shift in the same coordinates as y.
    second_of_scatter : callable or None
        See `Prepared`.
    """

    features: Features
    linear: Array
    quadratic: Array
    means: Array
    second_of_scatter: Callable[[Array], Array] | None = None

    def coefficients(self, peaks: Array) -> Array:
        """Return theta of shape (K, P): see `dask_gmm.model.kernels.quadratic`."""
        constant = peaks - 0.5 * np.einsum("kd,kd->k", self.linear, self.means)
        return np.concatenate([constant[:, np.newaxis], self.linear, self.quadratic], axis=1)


class QuadraticOrCentred(Covariance):
    """A type that `QuadraticKernel` evaluates while components are near, and `CentredKernel` beyond.

    Attributes
    ----------
    settles_labels : bool
        Whether labels in float64 are worth a first look in float32.
    """

    settles_labels: bool = False

    @abstractmethod
    def quadratic_form(self, distances: Array, factors: Array) -> QuadraticForm:
        """Return the coefficients about a point that the means are `distances` from."""

    @abstractmethod
    def centred_factors(self, factors: Array, n_components: int, n_features: int) -> Array:
        """Return the factors as `CentredKernel` takes them."""

    def prefers_centred(self, n_components: int, n_features: int, *, single: bool) -> bool:
        """Whether the centred kernel is the faster one, in float32 or in float64."""
        return False

    def kernel(self, components: Components, dtype: np.dtype[Any]) -> Prepared:
        double = np.dtype(np.float64)
        with np.errstate(over="ignore"):
            distance = self._kappa(components)
        single = dtype == np.float32 and self._of_usual_size(components)
        if self.prefers_centred(*components.means.shape, single=single):
            # Deviations from each mean lose nothing in the rows' own precision, however far the means are.
            return self._centred(components, dtype if single else double)
        if distance >= KAPPA_DOUBLE:
            return self._centred(components, double)
        precise_enough = single and self._kappa_single(components) < _KAPPA_SINGLE
        return self._quadratic(components, dtype if precise_enough else double)

    def _kappa_single(self, components: Components) -> float:
        """Return what float32 products may cancel, in units of a component: rounding errors that add up."""
        with np.errstate(over="ignore"):
            return self._kappa(components)

    def _kappa(self, components: Components) -> float:
        """Return the largest squared distance of a component from the mixture's mean, in its own units.

        The quadratic form cancels that much: its rounding error is kappa times the machine epsilon.
        """
        whitened = self.whitened_moves(components.means - components.centre, components.factors)
        return float((whitened**2).sum(axis=1).max())

    def _of_usual_size(self, components: Components) -> bool:
        """Return whether squares of deviations, and of their inverses, are far from the ends of float32."""
        inverses = np.abs(self.centred_factors(components.factors, *components.means.shape))
        if inverses.ndim > 2:
            inverses = inverses.max(axis=-1)
        return bool(((inverses < _REACH_SINGLE) & (inverses > 1.0 / _REACH_SINGLE)).all())

    def _quadratic(self, components: Components, dtype: np.dtype[Any]) -> Prepared:
        """Return the quadratic form about the mixture's mean, with products in `dtype`."""
        shift = components.centre
        form = self.quadratic_form(components.means - shift, components.factors)
        theta = form.coefficients(components.peaks)
        kernel = QuadraticKernel(form.features, shift, theta, dtype)
        quick = None
        if self.settles_labels and dtype == np.float64 and len(shift) >= _FEATURES_TO_SETTLE:
            quick = partial(SettlingKernel, form.features, shift, theta)
        origins = np.tile(shift, (len(components.means), 1))
        far = partial(self._centred_kernel, components)
        return Prepared(kernel, origins, far, form.second_of_scatter, quick)

    def _centred(self, components: Components, dtype: np.dtype[Any]) -> Prepared:
        """Return each component about its own mean, with products in `dtype`."""
        kernel = self._centred_kernel(components, dtype)
        return Prepared(kernel, components.means, partial(self._centred_kernel, components))

    def _centred_kernel(self, components: Components, dtype: Any = np.float64) -> CentredKernel:
        factors = self.centred_factors(components.factors, *components.means.shape)
        return CentredKernel(components.means, factors, components.peaks, dtype)
