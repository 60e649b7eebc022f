"""Where pickles of release 0.1 look for `GaussianMixtureIC`."""

from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC

__all__ = ["GaussianMixtureIC"]
