"""The estimators: what a user holds, and how a fit of it goes."""

from dask_gmm.mixture.gaussian_mixture import GaussianMixture
from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC

__all__ = ["GaussianMixture", "GaussianMixtureIC"]
