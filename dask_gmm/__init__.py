"""Gaussian mixtures for data larger than memory, fitted where the chunks are."""

from dask_gmm.mixture import GaussianMixture

__all__ = ["GaussianMixture"]
__version__ = "0.1.0"
