"""A fit's state in a file, so that a fit that is killed goes on where it was."""

from dask_gmm.checkpointing.checkpoint import Checkpoint
from dask_gmm.checkpointing.identity import fit_identity
from dask_gmm.errors import CheckpointError, DriverError

__all__ = ["Checkpoint", "CheckpointError", "DriverError", "fit_identity"]
