"""Rows that are added to a fitted mixture, by EM's step on all rows that reads the new ones only."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from numbers import Integral
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import check_is_fitted

from dask_gmm.engine.cache import Cache
from dask_gmm.fitting.append import Appended, append_rows
from dask_gmm.mixture.attributes import parameter_attributes, set_fitted
from dask_gmm.mixture.fitted import check_type_kept, refuse_background
from dask_gmm.mixture.new_rows import passes_over_new_rows, settings_of
from dask_gmm.mixture.validation import MeasurementErrors, prediction_source
from dask_gmm.model.kept_statistics import KeptStatistics

_LOGGER = logging.getLogger("dask_gmm")


@dataclass(frozen=True, slots=True)
class Update:
    """What `GaussianMixture.update` found of the new rows.

    Attributes
    ----------
    n_rows : int
        New rows.
    weight : float
        Sum of their weights.
    log_likelihood : float
        Their mean log-likelihood before they were added, in nats per row.
    log_likelihood_before : float
        That of the old rows.
    """

    n_rows: int
    weight: float
    log_likelihood: float
    log_likelihood_before: float

    @property
    def drift(self) -> float:
        """How much likelier the new rows are than the old ones, in nats per row; mostly below zero."""
        return self.log_likelihood - self.log_likelihood_before

    def __str__(self) -> str:
        """Return it as a sentence."""
        return (
            f"{self.n_rows} new rows have a mean log-likelihood of {self.log_likelihood:.5g} nats, the old "
            f"ones {self.log_likelihood_before:.5g}: {self.drift:+.3g}."
        )


class UpdatingMixin:
    """The method that adds rows to a fitted mixture."""

    statistics_: KeptStatistics
    update_: Update
    means_: NDArray[Any]
    cache: Cache

    def update(
        self, X: Any, sample_weight: Any = None, X_err: Any = None, X_corr: Any = None, *, passes: int = 1
    ) -> Self:
        """Add new rows to the fitted ones, which are not read again.

        A fit keeps the sums of its last pass, and the parameters before its last M-step. The sums of the new
        rows by the same parameters are added, and the M-step is made again: with one pass over the new rows
        that is the step of EM on all rows, as if it had been fitted to them together. Further updates add to
        the total.

        Parameters
        ----------
        X : array-like, DataFrame, dask array or dataframe, zarr.Array, from_zarr(...), read_parquet(...)
            The new rows only, with the features of the fit.
        sample_weight, X_err, X_corr
            Of the new rows, as in `fit`.
        passes : int, default=1
            Passes over the new rows. Each after the first evaluates them by the parameters of the step
            before, while the sums of the old rows stay as they are.

        Returns
        -------
        self : GaussianMixture
            With other parameters, `lower_bound_`, `statistics_`, and `update_`, which tells whether the new
            rows are like the old ones. The other attributes stay those of the fit: `threshold_` too, which
            only a pass over all rows could find again. An update that raises leaves the estimator as it was.

        Raises
        ------
        NotFittedError
            There is nothing to add to (a ValueError).
        ValueError
            The estimator does not have the sums of its rows: it was loaded from a file without them, made
            from scikit-learn's, or moved on by `partial_fit`. Or X has other features, or `covariance_type`
            is not that of the fit any more.
        DataError
            NaN, infinity or bad weights, with the chunk and the first bad row (a ValueError).
        CollapsedComponentError
            A covariance that is not positive definite, with its component (a ValueError).

        Examples
        --------
        >>> import numpy as np
        >>> from dask_gmm import GaussianMixture
        >>> rows = np.random.default_rng(0).normal(size=(1000, 2))
        >>> gm = GaussianMixture(n_components=2, random_state=0).fit(rows[:900])
        >>> gm.update(rows[900:]).statistics_.statistics.totals.n_rows
        1000
        """
        check_is_fitted(self)
        check_type_kept(self)  # type: ignore[arg-type]
        refuse_background(self, "Updating")
        self._validate_params()  # type: ignore[attr-defined]
        kept = _kept(self)
        if not isinstance(passes, Integral) or passes < 1:
            raise ValueError(f"passes must be an integer of at least 1, got {passes!r}.")
        source = prediction_source(self, X, sample_weight, MeasurementErrors.given(X_err, X_corr))
        settings = settings_of(self, source)
        # A batch in float64 makes no other model of one in float32.
        dtype: np.dtype[Any] = self.means_.dtype
        cache = self.cache if passes > 1 else False
        with passes_over_new_rows(source, settings, cache) as over:
            done = append_rows(over, kept, settings, int(passes), dtype)
        found = {
            **parameter_attributes(done.parameters, dtype),
            "lower_bound_": dtype.type(
                settings.estimation.objective(done.kept.parameters, done.kept.statistics)
            ),
            "statistics_": done.kept,
            "update_": _note(kept, done),
        }
        _LOGGER.info("%s", found["update_"])
        set_fitted(self, found, keep=("feature_names_in_", "feature_dim_", "nan_", "threshold_"))
        return self


def _kept(estimator: object) -> KeptStatistics:
    kept: KeptStatistics | None = getattr(estimator, "statistics_", None)
    if kept is None:
        raise ValueError(
            "update needs the sums over the fitted rows, statistics_, which this model does not have: "
            "partial_fit, conversion and files without them do not keep them, nor do fits without a pass "
            "(max_iter=0), or to missing values with covariance_type='diag' or 'spherical'. Fit all rows "
            "again; save with with_statistics=True."
        )
    return kept


def _note(before: KeptStatistics, done: Appended) -> Update:
    totals = done.totals
    return Update(
        totals.n_rows,
        totals.weight,
        totals.log_likelihood / totals.weight,
        before.statistics.mean_log_likelihood,
    )
