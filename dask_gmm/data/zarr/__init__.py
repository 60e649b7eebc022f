"""Rows in Zarr arrays: tables, images, gridded variables, read in the chunks they are stored in.

A chunk goes through these modules from the last to the first, and each imports only those after it:

- `source` is what the user holds: it lays a grid of cells over the chunks. `reader` turns a cell into rows
  on a worker.
- `variables` are the arrays, with their axes in one order and their numbers unpacked by `cf_packing`.
- `stored_array` is an address that a worker receives and opens once, by `opening`.
- `chunk_reader` reads whole chunks and names those that cannot be read. It reads through `checked_store`,
  which notices missing and cut-off chunks; `left_out` tells lost ones from those that Zarr did not store.
- `bounded_codecs` stop a decompressor (`decoding`) at the size that the metadata announce.
- `metadata` is what all of these know of an open array; `groups` and `unreadable` are errors that help.
"""

from dask_gmm.data.zarr.source import ZarrSource, from_zarr

__all__ = ["ZarrSource", "from_zarr"]
