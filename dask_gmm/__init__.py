"""Gaussian mixtures for data larger than memory, fitted where the chunks are."""

from dask_gmm.checkpointing import CheckpointError, DriverError
from dask_gmm.container import ModelFileError
from dask_gmm.data.collections import from_array
from dask_gmm.data.parquet import read_parquet
from dask_gmm.data.source import DataError
from dask_gmm.data.zarr import from_zarr
from dask_gmm.engine.memory import ChunkTooLargeError
from dask_gmm.engine.waiting import ClusterError
from dask_gmm.mixture import GaussianMixture
from dask_gmm.model.mstep import CollapsedComponentError

__all__ = [
    "CheckpointError",
    "ChunkTooLargeError",
    "ClusterError",
    "CollapsedComponentError",
    "DataError",
    "DriverError",
    "GaussianMixture",
    "ModelFileError",
    "from_array",
    "from_zarr",
    "read_parquet",
]
__version__ = "0.1.0"
