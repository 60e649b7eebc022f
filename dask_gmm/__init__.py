"""Gaussian mixtures for data larger than memory, fitted where the chunks are."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from dask_gmm._version import __version__
from dask_gmm.errors import (
    AsynchronousClientError,
    CheckpointError,
    ChunkTooLargeError,
    ClusterError,
    CollapsedComponentError,
    ComparisonWarning,
    DaskGMMError,
    DataError,
    DriverError,
    ModelFileError,
    NoWorkersError,
    SchedulerLostError,
    StoreError,
    StoreMissingError,
    StoreRefusedError,
    StoreUnfitError,
    WorkersDifferError,
    WorkersKilledError,
)

if TYPE_CHECKING:
    from dask_gmm.data.dask_array import from_array
    from dask_gmm.data.parquet import read_parquet
    from dask_gmm.data.xarray import from_xarray
    from dask_gmm.data.zarr.source import from_zarr
    from dask_gmm.mixture.bayesian_gaussian_mixture import BayesianGaussianMixture
    from dask_gmm.mixture.gaussian_mixture import GaussianMixture
    from dask_gmm.mixture.gaussian_mixture_ic import GaussianMixtureIC
    from dask_gmm.writing import write_predictions

__all__ = [
    "AsynchronousClientError",
    "BayesianGaussianMixture",
    "CheckpointError",
    "ChunkTooLargeError",
    "ClusterError",
    "CollapsedComponentError",
    "ComparisonWarning",
    "DaskGMMError",
    "DataError",
    "DriverError",
    "GaussianMixture",
    "GaussianMixtureIC",
    "ModelFileError",
    "NoWorkersError",
    "SchedulerLostError",
    "StoreError",
    "StoreMissingError",
    "StoreRefusedError",
    "StoreUnfitError",
    "WorkersDifferError",
    "WorkersKilledError",
    "__version__",
    "from_array",
    "from_xarray",
    "from_zarr",
    "read_parquet",
    "write_predictions",
]

# Imported when they are first used: every `dask` command loads this package for its sub-command.
_MODULES = {
    "BayesianGaussianMixture": "mixture.bayesian_gaussian_mixture",
    "GaussianMixture": "mixture.gaussian_mixture",
    "GaussianMixtureIC": "mixture.gaussian_mixture_ic",
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
