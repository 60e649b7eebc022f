"""Gaussian mixtures for data larger than memory, fitted where the chunks are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from dask_gmm.checkpointing import CheckpointError, DriverError
    from dask_gmm.data.dask_array import from_array
    from dask_gmm.data.parquet import read_parquet
    from dask_gmm.data.source import ChunkTooLargeError, DataError
    from dask_gmm.data.xarray import from_xarray
    from dask_gmm.data.zarr.source import from_zarr
    from dask_gmm.engine.environment import WorkersDifferError
    from dask_gmm.engine.wait import ClusterError
    from dask_gmm.mixture.gaussian_mixture import GaussianMixture
    from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC
    from dask_gmm.model.mstep import CollapsedComponentError
    from dask_gmm.storage.container import ModelFileError
    from dask_gmm.writing import write_predictions

__all__ = [
    "CheckpointError",
    "ChunkTooLargeError",
    "ClusterError",
    "CollapsedComponentError",
    "DataError",
    "DriverError",
    "GaussianMixture",
    "GaussianMixtureIC",
    "ModelFileError",
    "WorkersDifferError",
    "from_array",
    "from_xarray",
    "from_zarr",
    "read_parquet",
    "write_predictions",
]
__version__ = "0.1.0"

# Imported when they are first used: every `dask` command loads this package for its sub-command.
_MODULES = {
    "CheckpointError": "checkpointing",
    "ChunkTooLargeError": "data.source",
    "ClusterError": "engine.wait",
    "CollapsedComponentError": "model.mstep",
    "DataError": "data.source",
    "DriverError": "checkpointing",
    "GaussianMixture": "mixture.gaussian_mixture",
    "GaussianMixtureIC": "mixture.gaussian_mixture_ic",
    "ModelFileError": "storage.container",
    "WorkersDifferError": "engine.environment",
    "from_array": "data.dask_array",
    "from_xarray": "data.xarray",
    "from_zarr": "data.zarr.source",
    "read_parquet": "data.parquet",
    "write_predictions": "writing",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
