"""Where a fit with ``warm_start=True`` begins, and whether the last one can be continued at all."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from dask_gmm.data.source import Source
from dask_gmm.fitting.settings import WarmStart
from dask_gmm.mixture.attributes import fitted_parameters, fitted_type


def warm_start(estimator: Any, source: Source, learned: Mapping[str, Any]) -> WarmStart | None:
    """Return the end of the last fit, None where the fit begins anew.

    Parameters
    ----------
    estimator : GaussianMixture
    source : Source
        The rows to fit.
    learned : mapping
        Attributes that describe their features.

    Raises
    ------
    ValueError
        The last fit was of other features, or of a mixture of another number of components or covariance
        type: scikit-learn keeps the old ones or fails where they meet.
    """
    if not (estimator.warm_start and hasattr(estimator, "converged_")):
        return None
    differences = list(_differences(estimator, source, learned))
    if differences:
        raise ValueError(
            f"warm_start=True continues the last fit, but {'; '.join(differences)}. "
            "Set these back, or begin anew: with warm_start=False, or a new estimator."
        )
    return WarmStart(fitted_parameters(estimator), float(estimator.lower_bound_))


def _differences(estimator: Any, source: Source, learned: Mapping[str, Any]) -> Iterator[str]:
    n_components, n_features = estimator.means_.shape
    for name, fitted in (("n_components", n_components), ("covariance_type", fitted_type(estimator))):
        if getattr(estimator, name) != fitted:
            yield f"{name} was {fitted!r} and is now {getattr(estimator, name)!r}"
    if source.n_features != n_features:
        yield f"X had {n_features} features and has {source.n_features} now"
        return
    before, now = (getattr(estimator, "feature_names_in_", None), learned.get("feature_names_in_"))
    if before is not None and now is not None and list(before) != list(now):
        yield f"the features were {list(before)} and are now {list(now)}"
