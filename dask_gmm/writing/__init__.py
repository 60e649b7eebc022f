"""Predictions written out."""

from dask_gmm.writing.predictions import WrittenPredictions, write_predictions

__all__ = ["WrittenPredictions", "write_predictions"]
