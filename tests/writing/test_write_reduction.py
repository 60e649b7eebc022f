"""Writing keeps the promises of a reduction."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.data.source import Answer
from dask_gmm.writing.chunk_subset import ChunkSubset
from dask_gmm.writing.write_reduction import WriteBlocks, columns_of
from tests.engine.reduction_contract import N_CHUNKS, ReductionContract


class Nowhere:
    """A target that forgets what it is given."""

    def write(self, index, values, keys):
        assert 0 <= index < N_CHUNKS
        assert values["anomaly"].dtype == bool


def first_feature(block):
    return block.rows[:, 0]


class TestWriteBlocks(ReductionContract):
    @pytest.fixture
    def reduction(self):
        answers = {"log_density": Answer(first_feature, np.dtype(np.float64), None, np.nan)}
        return WriteBlocks(answers, columns_of(["anomaly", "log_density"], answers, 2, 0), 1.0, Nowhere())

    def read(self, make_source, pieces, weights=None):
        # These blocks know their chunk's number.
        numbers = range(len(pieces))
        reader = ChunkSubset(make_source(pieces, weights), numbers).reader(numbers)
        return [reader.read(number) for number in numbers]
