"""What a fitted estimator holds, read back as the mixture that it is."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from dask_gmm.data.abilities import HasErrors
from dask_gmm.data.source import Source
from dask_gmm.mixture.priors import fitted_posterior, n_free_of_background
from dask_gmm.model.covariance import asked_type, covariance_structure
from dask_gmm.model.density import Density
from dask_gmm.model.estimation.variational import expected_density
from dask_gmm.model.observation.complete import COMPLETE
from dask_gmm.model.observation.holes import HOLES
from dask_gmm.model.observation.measured import MEASURED
from dask_gmm.model.observation.observation import Observation
from dask_gmm.model.parameters import Background, Parameters

_OBSERVATIONS: Mapping[str, Observation] = {"error": COMPLETE, "em": HOLES}


class FittedMixture(Protocol):
    """An estimator that holds a mixture: one of this package's, or scikit-learn's `GaussianMixture`.

    Attributes
    ----------
    covariance_type : str
        The parameter; for several candidates a sequence, which ``covariance_type_`` tells of.
    weights_, means_ : ndarray
        Besides the attributes that the covariance type gives.
    """

    covariance_type: Any
    weights_: NDArray[Any]
    means_: NDArray[Any]


def observation_of(estimator: object, source: Source | None = None) -> Observation:
    """Return how an estimator takes rows to be observed, in fits and predictions alike.

    Parameters
    ----------
    estimator : GaussianMixture
    source : Source, optional
        The rows, which may have errors.
    """
    if source is not None and isinstance(source, HasErrors) and source.has_errors:
        return MEASURED
    return _OBSERVATIONS[getattr(estimator, "missing", "error")]


def fitted_type(estimator: FittedMixture) -> str:
    """Return the covariance type of what an estimator holds, which its parameter may not be any more."""
    # Estimators whose attributes were set by hand, or fitted by an earlier release, have the parameter only.
    return str(getattr(estimator, "covariance_type_", None) or asked_type(vars(estimator)))


def check_type_kept(estimator: FittedMixture) -> None:
    """Refuse an estimator whose parameter would give its attributes another meaning elsewhere.

    Raises
    ------
    ValueError
    """
    asked = asked_type(vars(estimator))
    if asked != fitted_type(estimator):
        raise ValueError(
            f"covariance_type is {asked!r}, but the mixture was fitted with "
            f"{fitted_type(estimator)!r}. Set it back, or fit again."
        )


def fitted_parameters(estimator: FittedMixture) -> Parameters:
    """Return a copy of the parameters that a fitted estimator holds.

    A copy, because what is made of it (a lazy answer, say) must not follow when an attribute is changed in
    place.

    Raises
    ------
    ValueError
        The attributes do not make a mixture, as when they were replaced by hand.
    """
    weights, means = np.array(estimator.weights_, np.float64), np.array(estimator.means_, np.float64)
    covariance_type = fitted_type(estimator)
    structure = covariance_structure(covariance_type)
    shapes = attribute_shapes(covariance_type, means)
    arrays = {name: np.array(getattr(estimator, name), dtype=np.float64) for name in shapes}
    for name, shape in shapes.items():
        if arrays[name].shape != shape:
            raise ValueError(
                f"{name} has shape {arrays[name].shape}, but means_ of shape {means.shape} and "
                f"covariance_type={covariance_type!r} need {shape}. Set both again, or fit again."
            )
    own = {name.removesuffix("_"): array for name, array in arrays.items()}
    covariances, factors = structure.of_attributes(own)
    posterior, background = fitted_posterior(estimator), _fitted_background(estimator)
    return Parameters(covariance_type, weights, means, covariances, factors, posterior, background)


def _fitted_background(estimator: Any) -> Background | None:
    if not hasattr(estimator, "background_weight_"):
        return None
    n_free = n_free_of_background(estimator)
    return Background(float(estimator.background_weight_), float(estimator.background_log_volume_), n_free)


def refuse_background(estimator: object, what: str) -> None:
    """Refuse what there is no formula, or no place, for where a mixture has a background.

    Raises
    ------
    ValueError
    """
    if hasattr(estimator, "background_weight_"):
        raise ValueError(f"{what} does not go with a background.")


def attribute_shapes(covariance_type: str, means: NDArray[Any]) -> dict[str, tuple[int, ...]]:
    """Return the shape of each parameter attribute that goes with `means`.

    Raises
    ------
    ValueError
        `means` is no table of at least one component and one feature.
    """
    if means.ndim != 2 or 0 in means.shape:
        raise ValueError(f"means_ has shape {means.shape}, not (n_components, n_features)")
    own = covariance_structure(covariance_type).attribute_shapes(*means.shape)
    return {
        "weights_": means.shape[:1],
        "means_": means.shape,
        **{f"{name}_": shape for name, shape in own.items()},
    }


def fitted_density(estimator: FittedMixture) -> Density:
    """Return what evaluates rows under a fitted estimator."""
    parameters = fitted_parameters(estimator)
    return Density.of(parameters) if parameters.posterior is None else expected_density(parameters)
