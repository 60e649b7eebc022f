"""A fit's state in a file, so that a fit that is killed goes on where it was."""

from dask_gmm.checkpointing.checkpoint import Checkpoint, CheckpointError
from dask_gmm.checkpointing.driver import DriverError
from dask_gmm.checkpointing.identity import fit_identity

__all__ = ["Checkpoint", "CheckpointError", "DriverError", "fit_identity"]
