"""Rows in Zarr arrays: tables, images, gridded variables, read in the chunks they are stored in."""

from dask_gmm.data.zarr.source import ZarrSource, from_zarr

__all__ = ["ZarrSource", "from_zarr"]
