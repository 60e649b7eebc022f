"""Rows in Parquet files: one chunk is a run of row groups, read where it is used.

`files` finds them, `opening` reads footers and row groups (`remote` ones by byte ranges), `columns` chooses
features, `plan` cuts the row groups into chunks from the footers alone, `reader` turns a chunk into rows
with `filters` and `rows`, and `source` is what the user holds.
"""

from dask_gmm.data.parquet.source import ParquetSource, read_parquet

__all__ = ["ParquetSource", "read_parquet"]
