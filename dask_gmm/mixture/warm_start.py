"""Where a fit with ``warm_start=True`` begins, and whether the last one can be continued at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Protocol

from dask_gmm.fitting.init.initialization import StartSettings
from dask_gmm.fitting.settings import WarmStart
from dask_gmm.mixture.fitted import FittedMixture, fitted_parameters, fitted_type


class Continued(FittedMixture, Protocol):
    """A fitted mixture that tells how good it is."""

    lower_bound_: float


def warm_start(
    last: Continued, start: StartSettings, n_features: int, features: Mapping[str, Any]
) -> WarmStart:
    """Return the end of the last fit.

    Parameters
    ----------
    last : GaussianMixture
        As that fit left it.
    start : StartSettings
        Of the fit that continues it.
    n_features : int
        Of the rows to fit.
    features : mapping
        Attributes that describe them.

    Raises
    ------
    ValueError
        The last fit was of other features, or of a mixture of another number of components or covariance
        type: scikit-learn keeps the old ones or fails where they meet.
    """
    differences = list(_differences(last, start, n_features, features))
    if differences:
        raise ValueError(
            f"warm_start=True continues the last fit, but {'; '.join(differences)}. "
            "Set these back, or begin anew: with warm_start=False, or a new estimator."
        )
    return WarmStart(fitted_parameters(last), float(last.lower_bound_))


def _differences(
    last: Continued, start: StartSettings, n_features: int, features: Mapping[str, Any]
) -> Iterator[str]:
    n_components, last_features = last.means_.shape
    for name, before, now in (
        ("n_components", n_components, start.n_components),
        ("covariance_type", fitted_type(last), start.covariance_type),
    ):
        if now != before:
            yield f"{name} was {before!r} and is now {now!r}"
    if n_features != last_features:
        yield f"X had {last_features} features and has {n_features} now"
        return
    before_names, names = getattr(last, "feature_names_in_", None), features.get("feature_names_in_")
    if before_names is not None and names is not None and list(before_names) != list(names):
        yield f"the features were {list(before_names)} and are now {list(names)}"
