"""Rows in Parquet files: one chunk is a run of row groups, read where it is used.

A row goes through these modules from the first to the last, and each imports only those before it:

- `tables` tells folders of plain files from tables that have a log, and `delta` reads the log of one kind.
- `files` finds the files and orders them.
- `thrift` reads the protocol of Parquet's metadata: `footer` what the end of a file says, and `pages` what
  the pages say that they decode to, before Arrow trusts either. `remote` fetches bytes by exact ranges.
- `opening` puts these together: a file is opened once per process, then any of its row groups are read.
- `filters` are conditions on rows, `arrow_rows` turns Arrow's columns into arrays.
- `columns` chooses the features, and `chunks` cuts the row groups into chunks, both by footers alone.
- `reader` turns a chunk into rows on a worker, and `source` is what the user holds.
"""

from dask_gmm.data.parquet.source import ParquetSource, read_parquet

__all__ = ["ParquetSource", "read_parquet"]
