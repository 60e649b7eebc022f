"""What a covariance type has to say."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from dask_gmm.model.covariance.conjugate import Conjugate
from dask_gmm.model.covariance.partly_known import PartlyKnown
from dask_gmm.model.covariance.parts import SingleRows
from dask_gmm.model.kernels.components import Components

if TYPE_CHECKING:
    # Compiled kernels are loaded by the types that use them.
    from dask_gmm.model.kernels.prepared import Prepared

Array = NDArray[np.float64]


class Covariance(Conjugate, PartlyKnown):
    """The rules of one covariance type. Stateless; get one from `covariance_structure`.

    Three kinds of arrays belong to a type, each of a shape of its own: *covariances*, the parameters that are
    estimated; *factors*, made from them once a pass, by which rows are evaluated; and *second moments*, the
    sums over rows that covariances are estimated from. Whatever else is computed from them is computed here,
    so that no other module needs to know which type it deals with.

    `tests/model/covariance_contract.py` holds every type to what these docstrings promise.

    Attributes
    ----------
    name : str
        As users write it.
    needs_scatter : bool
        Whether a fit needs the scatter matrix of all rows, which the first pass then gathers.
    projects : bool
        Whether second moments depend on the factors by which the rows are evaluated.
    """

    name: str
    needs_scatter: bool = False
    projects: bool = False

    # --- shapes -----------------------------------------------------------------------------------------

    @abstractmethod
    def shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of covariances and of precisions."""

    def factor_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of factors: that of covariances, where a type does not say otherwise."""
        return self.shape(n_components, n_features)

    @abstractmethod
    def second_shape(self, n_components: int, n_features: int) -> tuple[int, ...]:
        """Return the shape of second moments: those of different rows add up, and travel in every pass.

        They are sums of r f(v v^T), f linear. Where f depends on the factors by which the rows are evaluated
        (`projects`), only sums by the same factors add up.
        """

    @abstractmethod
    def n_free(self, n_components: int, n_features: int) -> int:
        """Return the number of free covariance parameters, as `aic` and `bic` count them."""

    def check_features(self, n_features: int) -> None:
        """Refuse a number of features that the type's own parameters do not go with.

        Raises
        ------
        ValueError
        """
        return

    # --- from covariances to factors and back -----------------------------------------------------------

    @abstractmethod
    def cholesky(self, covariances: Array) -> Array:
        """Return the factors P with P P^T the precision; matrices are upper triangular.

        Raises
        ------
        NotPositiveDefiniteError
            With the first component that has none: this is where collapsed components are found.
        """

    @abstractmethod
    def cholesky_of_precisions(self, precisions: Array) -> Array:
        """Return the factors of given precisions: those that `cholesky` returns for their inverses."""

    @abstractmethod
    def inverse(self, factors: Array) -> Array:
        """Return the covariances that belong to factors: `cholesky` undone."""

    @abstractmethod
    def check_precisions(self, precisions: NDArray[Any]) -> None:
        """Refuse given precisions that are not positive definite, in scikit-learn's words.

        Parameters
        ----------
        precisions : ndarray of shape `shape`, float64 or float32

        Raises
        ------
        ValueError
        """

    # --- as attributes of an estimator, without the underscore at the end -------------------------------

    def attribute_shapes(self, n_components: int, n_features: int) -> dict[str, tuple[int, ...]]:
        """Return the names of the arrays that users see, and their shapes."""
        shape = self.shape(n_components, n_features)
        factor_shape = self.factor_shape(n_components, n_features)
        return {"covariances": shape, "precisions_cholesky": factor_shape, "precisions": shape}

    def attributes(self, covariances: Array, factors: Array) -> dict[str, Array]:
        """Return the arrays that users see, by the names of `attribute_shapes`."""
        precisions = self.precisions(factors)
        return {"covariances": covariances, "precisions_cholesky": factors, "precisions": precisions}

    def of_attributes(self, attributes: Mapping[str, Array]) -> tuple[Array, Array]:
        """Return covariances and factors: `attributes` undone, to the bit where these are float64."""
        return attributes["covariances"], attributes["precisions_cholesky"]

    @property
    def name_in_scikit_learn(self) -> str:
        """The covariance type that scikit-learn has for these mixtures."""
        return self.name

    # --- densities --------------------------------------------------------------------------------------

    @abstractmethod
    def log_det(self, factors: Array, n_components: int, n_features: int) -> Array:
        """Return log det P for each component, shape (n_components,)."""

    @abstractmethod
    def whitened(self, rows: Array, mean: Array, factors: Array, k: int) -> Array:
        """Return (x - mean) P for component `k`; its squared row norm is the Mahalanobis distance."""

    @abstractmethod
    def kernel(self, components: Components, dtype: np.dtype[Any]) -> Prepared:
        """Return the fastest kernel that is accurate for a mixture.

        It must say what `log_det` and `whitened` say. The choice may depend on the arguments only, so that
        every worker makes the same one.

        Parameters
        ----------
        components : Components
        dtype : dtype
            Of the products, float32 or float64: usually that of the rows.
        """

    # --- M-step -----------------------------------------------------------------------------------------

    @abstractmethod
    def pooled(self, sums: Array) -> Array:
        """Return second moments, from what a kernel of `kernel` has summed of them for each component.

        Parameters
        ----------
        sums : ndarray of shape (n_components, ...)
            The kernel's statistics without those of 1 and of x - origin.
        """

    @abstractmethod
    def add_second(
        self, second: Array, deviations: Array, resp: Array, k: int, factors: Array | None = None
    ) -> None:
        """Add component `k`'s sum of resp v v^T, v the rows of `deviations`, to `second` in place.

        It is what a kernel sums, for starts and for the reference kernel of the tests.

        Parameters
        ----------
        second : ndarray of shape `second_shape`
        deviations : ndarray of shape (n, n_features)
        resp : ndarray of shape (n,)
        k : int
        factors : ndarray of shape `factor_shape`, optional
            By which the rows are evaluated, for types that `projects`.
        """

    @abstractmethod
    def estimate(
        self, second: Array, nk: Array, shift: Array, reg_covar: float, previous: Array | None = None
    ) -> Array:
        """Return the covariances of the M-step: of this type those that maximize the expected log-likelihood.

        A type whose second moments do not tell the maximum returns what is better than `previous`.

        Parameters
        ----------
        second : ndarray of shape `second_shape`
            Second moments about the components' origins.
        nk : ndarray of shape (n_components,)
        shift : ndarray of shape (n_components, n_features)
            New means minus origins: sum r (x - mean)^2 = sum r (x - origin)^2 - nk shift^2.
        reg_covar : float
            Added to the variances of the maximum, which is found without it.
        previous : ndarray of shape `shape`, optional
            The covariances by which the rows were evaluated, `reg_covar` included, from which an iteration
            starts, so that no step lowers the likelihood; None at a start. The types of closed form do not
            look at it.

        Notes
        -----
        Moments may be those of fewer rows than features, all zero, or not finite. They are no error here:
        `cholesky` refuses what comes out, with its component.
        """

    @abstractmethod
    def squared_distances(
        self, second: Array, counts: Array, nk: Array, shift: Array, factors: Array
    ) -> float:
        """Return the sum over rows and components of r |(x - mean) P|^2, from the statistics of a pass by P.

        With it the entropy of the responsibilities follows without a pass of its own.

        Parameters
        ----------
        second, nk, shift : ndarray
            As in `estimate`; the means are those of the rows, weighted by responsibility.
        counts : ndarray of shape (n_components,)
            `nk`, with one where that is zero.
        factors : ndarray of shape `factor_shape`
        """

    # --- starts, and rows drawn -------------------------------------------------------------------------

    @property
    def moments_of_starts(self) -> str:
        """The type whose second moments a start gathers, before there is a mixture to evaluate rows by."""
        return self.name

    def of_moments(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        """Return the covariances of a start from second moments of the type `moments_of_starts`."""
        return self.estimate(second, nk, shift, reg_covar)

    @abstractmethod
    def of_single_rows(self, start: SingleRows, reg_covar: float) -> NDArray[Any]:
        """Return the covariances of components that start from one row each, in the dtype of the rows.

        What spread a single row has is rounding, which decides which optimum EM goes to: so this computes
        what scikit-learn does, in the same order.
        """

    @abstractmethod
    def of_single_rows_exactly(self, start: SingleRows, reg_covar: float) -> Array:
        """Return what `of_single_rows` would without rounding, for where rounding leaves that indefinite."""

    @abstractmethod
    def draw(
        self, mean: Array, covariances: Array, k: int, count: int, random_state: np.random.RandomState
    ) -> Array:
        """Return `count` rows of component `k`, shape (count, n_features), drawn in scikit-learn's order."""

    # --- coordinates in which EM's step is a gradient, see `fitting.accelerate.coordinates` -----------------

    @abstractmethod
    def whitened_moves(self, moves: Array, factors: Array) -> Array:
        """Return move_k P_k for each component: how far its mean moves in units of its own size.

        Parameters
        ----------
        moves : ndarray of shape (n_components, n_features)
        factors : ndarray of shape `factor_shape`
        """

    @abstractmethod
    def unwhitened_moves(self, moves: Array, factors: Array) -> Array:
        """Undo `whitened_moves`."""

    @abstractmethod
    def spreads(self, factors: Array, origin: Array) -> Array:
        """Return the coordinates of covariances about others, both as their factors; shape (p,).

        They are zero at the origin, where their Fisher metric is the identity once they are multiplied by
        `spread_lengths`, and every vector is a valid covariance: so steps of any length are safe.
        """

    @abstractmethod
    def with_spreads(self, spreads: Array, origin: Array) -> Array:
        """Return the factors at these coordinates about `origin`: `spreads` undone."""

    @abstractmethod
    def spread_lengths(self, weights: Array, origin: Array, n_features: int) -> Array:
        """Return what a unit of each coordinate measures about `origin`, shape (p,).

        Parameters
        ----------
        weights : ndarray of shape (n_components,)
            Mixing proportions.
        origin : ndarray of shape `factor_shape`
            On which it does not depend where coordinates are relative to the origin in all respects.
        n_features : int
        """
