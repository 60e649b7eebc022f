"""Gaussian mixtures for data larger than memory, fitted where the chunks are."""

from dask_gmm.container import ModelFileError
from dask_gmm.data.parquet import read_parquet
from dask_gmm.data.source import DataError
from dask_gmm.data.zarr import from_zarr
from dask_gmm.mixture import GaussianMixture

__all__ = ["DataError", "GaussianMixture", "ModelFileError", "from_zarr", "read_parquet"]
__version__ = "0.1.0"
