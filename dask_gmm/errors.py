"""What the package raises, and how it warns, in one place.

Each error is also of the built-in kind that fits it best, so that code which knows nothing of this package
handles it sensibly; `DaskGMMError` catches all of them.
"""

from __future__ import annotations

import sys
import warnings

# Whose frames are between a line of the user's and a warning: ours, and what scikit-learn wraps `fit` in.
_INNER = ("dask_gmm", "sklearn.callback")


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line outside of the package that called it, however deep inside the cause was found."""
    level, frame = 2, sys._getframe(1)
    while frame.f_back is not None and _is_inner(frame.f_globals.get("__name__", "")):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, category, stacklevel=level)


def _is_inner(module: str) -> bool:
    return any(module == name or module.startswith(f"{name}.") for name in _INNER)


class ComparisonWarning(UserWarning):
    """Models are compared that still have so much to gain that another one may turn out to be the best."""


class DaskGMMError(Exception):
    """Base of all errors that are this package's own."""


class DataError(DaskGMMError, ValueError):
    """Rows that cannot be used; the message names the chunk, the first bad row and what to do."""


class ChunkTooLargeError(DaskGMMError, MemoryError):
    """Memory is below what a chunk needs; the message says what to change."""


class CollapsedComponentError(DaskGMMError, ValueError):
    """A component's covariance is not positive definite any more, or more than float64 can hold.

    Attributes
    ----------
    component : int or None
        Index of the component; None for a tied covariance.
    """

    def __init__(self, message: str, component: int | None = None) -> None:
        super().__init__(message)
        self.component = component


class StoreError(DaskGMMError, OSError):
    """A store fails, and another try now would not help; the message names the object."""


class StoreRefusedError(StoreError, PermissionError):
    """A store refuses: permissions, credentials, the region."""


class StoreMissingError(StoreError, FileNotFoundError):
    """An object, or its bucket, is not there."""


class StoreUnfitError(StoreError):
    """What is asked of a store cannot be had, now or later: a folder for a file, a name it cannot have."""


class ModelFileError(DaskGMMError, ValueError):
    """A model file that cannot be used: not one of ours, damaged, of another version, or inconsistent."""


class CheckpointError(DaskGMMError, ValueError):
    """A checkpoint that does not belong to this fit, or that is damaged."""


class DriverError(DaskGMMError, RuntimeError):
    """Another process fits with the same checkpoint."""

    def __init__(self, url: str) -> None:
        super().__init__(
            f"Another process is fitting with the checkpoint {url}. "
            "Wait for it to end, or use another checkpoint."
        )


class AsynchronousClientError(DaskGMMError, RuntimeError):
    """A call that waits was made under an asynchronous client; the message says what to do."""


class ClusterError(DaskGMMError, RuntimeError):
    """The cluster ended a fit; the fit can be started again."""


class NoWorkersError(ClusterError):
    """No worker was left for too long."""


class SchedulerLostError(ClusterError):
    """The connection to the scheduler is gone."""


class WorkersKilledError(ClusterError):
    """Workers died again and again on the same task."""


class WorkersDifferError(DaskGMMError, ImportError):
    """Workers without dask_gmm, or with another release of it than the process that asks them."""
