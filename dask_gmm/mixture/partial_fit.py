"""Streams: a mixture that follows one batch of rows after the other, by stepwise EM."""

from __future__ import annotations

import copy
import warnings
from dataclasses import replace
from typing import Any, Self

from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning

from dask_gmm.data.source import Source
from dask_gmm.fitting.passes import Expectation
from dask_gmm.fitting.settings import FitSettings
from dask_gmm.mixture.attributes import parameter_attributes, set_fitted
from dask_gmm.mixture.fitted import check_type_kept, fitted_parameters
from dask_gmm.mixture.new_rows import passes_over_new_rows, settings_of
from dask_gmm.mixture.validation import prediction_source
from dask_gmm.model.covariance import asked_type, covariance_structure
from dask_gmm.model.kept_statistics import KeptStatistics
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.running_sums import RunningSums, step_size

# Nats per row to which the first batch is fitted at least. The stream's own steps creep where EM creeps:
# where components overlap, 1e-3 left one pass over 200 000 rows 1e-2 nats short instead of 1e-3.
_FIRST_TOL = 1e-5
# What describes the features stays from batch to batch.
_OF_THE_FEATURES = ("feature_names_in_", "feature_dim_", "nan_")
# Of the fit to the first batch: what is no longer true after the next one, or would grow.
_OF_A_FIT = ("history_", "statistics_")


class StreamingMixin:
    """The method that follows a stream of batches."""

    n_components: int
    tol: float
    reg_covar: float
    step_exponent: float
    step_offset: float
    weights_: NDArray[Any]
    means_: NDArray[Any]
    covariance_type: str
    n_iter_: int

    def partial_fit(self, X: Any, y: Any = None, sample_weight: Any = None) -> Self:
        """Follow a stream: move on by one batch of rows, which are not needed any more afterwards.

        This is stepwise EM (Cappé and Moulines, 2009). The first batch is fitted as `fit` does, to a
        `tol` of 1e-5 or less. Each one after it is evaluated in one pass, its mean statistics are mixed into
        those so far with the share ``(t + step_offset) ** -step_exponent``, t being the number of batches
        before it, and the M-step follows. Batches of 500 rows or more, of about equal size, in random order
        are best: the answer depends on their order, and no step is sure to raise the likelihood. Where all
        rows stay available, use `fit`; where rows are appended, `update` makes EM's exact step on all.

        Parameters
        ----------
        X : array-like, DataFrame, dask array or dataframe, zarr.Array, from_zarr(...), read_parquet(...)
            A batch. The first one has at least `n_components` rows; a lazy one counts as one batch, whatever
            its chunks are.
        y : ignored
            For scikit-learn's interface.
        sample_weight : array-like of shape (n_samples,), default=None
            As in `fit`: weights within the batch.

        Returns
        -------
        self : GaussianMixture
            After a `fit`, or from a file, it goes on from the mixture as from a first batch. Nothing is ever
            cleared: for that there is `fit`. Parameters of the constructor are not to be changed between
            calls. A batch that raises leaves the estimator as it was.

        Raises
        ------
        InvalidParameterError
            A constructor parameter out of range (a ValueError and TypeError).
        DataError
            NaN, infinity or bad weights, with the chunk and the first bad row (a ValueError).
        CollapsedComponentError
            A covariance that is not positive definite, with its component (a ValueError).
        ValueError
            Too few rows in the first batch, other features than in it, or parameters that changed; or
            ``covariance_type="factor"``.

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rng = np.random.default_rng(0)
        >>> gm = GaussianMixture(n_components=2, random_state=0)
        >>> for _ in range(10):
        ...     gm = gm.partial_fit(rng.normal(size=(500, 2)))
        >>> gm.n_samples_seen_
        5000
        """
        self._validate_params()  # type: ignore[attr-defined]
        if getattr(self, "background", None) is not None:
            raise ValueError("partial_fit is not for mixtures with a background.")
        if covariance_structure(asked_type(vars(self))).projects:
            raise ValueError(
                f"partial_fit has no sums to keep for covariance_type={self.covariance_type!r}: what is "
                "summed of a batch depends on the mixture then. Use fit, and update for rows that come later."
            )
        if not hasattr(self, "weights_"):
            self._begin(X, sample_weight)
            return self
        self._check_unchanged()
        source = prediction_source(self, X, sample_weight)
        settings = settings_of(self, source)  # type: ignore[arg-type]
        parameters = fitted_parameters(self)
        found = _pass(source, settings, parameters)
        before = self._sums(parameters)
        size = step_size(before.n_batches, self.step_exponent, self.step_offset)
        sums = before.step(found.statistics, parameters, found.kernel.origins, size)
        dtype = self.means_.dtype
        maximized = settings.estimation.maximize(
            parameters, sums.statistics, sums.origins, reg_covar=self.reg_covar, dtype=dtype
        )
        bound = dtype.type(settings.estimation.objective(parameters, found.statistics))
        attributes = {
            **parameter_attributes(maximized, dtype),
            "converged_": False,
            "n_iter_": self.n_iter_ + 1,
            # A list of all would grow with the stream.
            "lower_bound_": bound,
            "lower_bounds_": [bound],
        }
        self._move_on(attributes, sums)
        return self

    def _begin(self, X: Any, sample_weight: Any) -> None:
        """Fit the first batch."""
        first: Any = copy.copy(self)
        # Whoever listens waits for a fit; and the batch is no place to leave a checkpoint for.
        vars(first).pop("_skl_callbacks", None)
        first.set_params(checkpoint=None, warm_start=False, contamination=None, tol=min(self.tol, _FIRST_TOL))
        with warnings.catch_warnings():
            # The stream goes on where this stops.
            warnings.simplefilter("ignore", ConvergenceWarning)
            first.fit(X, sample_weight=sample_weight)
        kept: KeptStatistics | None = getattr(first, "statistics_", None)
        if kept is None:
            source = prediction_source(first, X, sample_weight)
            parameters = fitted_parameters(first)
            totals = _pass(source, settings_of(first, source), parameters).statistics.totals
            sums = RunningSums.of_mixture(parameters, self.reg_covar)
            sums = replace(sums, n_rows=totals.n_rows, weight=totals.weight)
        else:
            sums = RunningSums.of_kept(kept, fitted_parameters(first).means)
        attributes = {
            name: value
            for name, value in vars(first).items()
            if name.endswith("_") and not name.startswith("_") and name not in _OF_A_FIT
        }
        self._move_on(attributes, sums)

    def _move_on(self, attributes: dict[str, Any], sums: RunningSums) -> None:
        """Set what a batch changed."""
        set_fitted(self, {**attributes, "n_samples_seen_": sums.n_rows}, keep=_OF_THE_FEATURES)
        vars(self).pop("history_", None)
        self._stream = sums

    def _sums(self, parameters: Parameters) -> RunningSums:
        """Return the sums so far: of the stream, or of the fit that it goes on from."""
        stream: RunningSums | None = getattr(self, "_stream", None)
        if stream is not None:
            return stream
        kept: KeptStatistics | None = getattr(self, "statistics_", None)
        if kept is not None:
            return RunningSums.of_kept(kept, parameters.means)
        return RunningSums.of_mixture(parameters, self.reg_covar)

    def _check_unchanged(self) -> None:
        check_type_kept(self)
        n_components = len(self.weights_)
        if self.n_components != n_components:
            raise ValueError(
                f"n_components is {self.n_components}, but the stream began with {n_components}. Set it "
                "back, or fit again."
            )


def _pass(source: Source, settings: FitSettings, parameters: Parameters) -> Expectation:
    with passes_over_new_rows(source, settings, cache=False) as passes:
        (found,) = passes.e_steps("pass", [parameters], [settings])
    return found
