"""Some chunks of a source are a source."""

from __future__ import annotations

import dask.array as da
import numpy as np

from dask_gmm.data.dask_array import DaskArraySource
from dask_gmm.writing.chunk_subset import ChunkSubset
from tests.data.source_contract import ROWS, SourceContract, read_all


class TestChunkSubset(SourceContract):
    """The chunks that have the rows, of a source that has others after them."""

    def source(self, rows, folder):
        more = da.concatenate([da.from_array(rows, chunks=(16, 3)), da.ones((9, 3))])
        return ChunkSubset(DaskArraySource(more), range(4))


def test_blocks_keep_index_and_numbers():
    source = ChunkSubset(DaskArraySource(da.from_array(ROWS, chunks=(20, 3))), [0, 2])
    assert source.sample_shape == (40,)
    assert [block.index for block in read_all(source)] == [0, 2]
    np.testing.assert_array_equal(read_all(source)[1].numbers(), np.arange(40, 60))
    np.testing.assert_array_equal(read_all(source)[1].rows, ROWS[40:])
