"""A table in chunks of other lengths is a source like any other."""

from __future__ import annotations

import dask.array as da

from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.data.recut import RecutRows
from tests.data.source_contract import SourceContract


class TestRecutRows(SourceContract):
    def source(self, rows, folder):
        source = DaskArraySource(da.from_array(rows, chunks=((7, 30, 23), 3)))
        return RecutRows(source, [7, 30, 23], [25, 0, 25, 10])
