"""What fitting asks of a pass keeps the promises of a reduction."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.fitting.checksums import Checksum
from dask_gmm.fitting.reductions import EStep, LogLikelihood
from dask_gmm.fitting.row_sample import Sampling
from dask_gmm.fitting.summary import LogDensities, Summary
from dask_gmm.fitting.survey import Survey
from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.density import Density
from tests.engine.reduction_contract import N_CHUNKS, N_FEATURES, ROWS_PER_CHUNK, ReductionContract
from tests.model.mixtures import mixture

N_ROWS = N_CHUNKS * ROWS_PER_CHUNK
DOUBLE = np.dtype(np.float64)


class TestEStep(ReductionContract):
    @pytest.fixture(params=covariance_types())
    def reduction(self, request):
        return EStep(Density.of(mixture(request.param, n_features=N_FEATURES)), DOUBLE)


class TestLogLikelihood(ReductionContract):
    @pytest.fixture(params=covariance_types())
    def reduction(self, request):
        return LogLikelihood(Density.of(mixture(request.param, n_features=N_FEATURES)), DOUBLE)


class TestLogDensities(ReductionContract):
    @pytest.fixture
    def reduction(self):
        return LogDensities(Density.of(mixture("full", n_features=N_FEATURES)), DOUBLE)


class TestSummary(ReductionContract):
    @pytest.fixture(params=covariance_types())
    def reduction(self, request):
        return Summary(Density.of(mixture(request.param, n_features=N_FEATURES)), DOUBLE)


class TestSurvey(ReductionContract):
    """The candidates of a sample lie in the order in which they came; what is drawn of them does not."""

    @pytest.fixture(
        params=[
            Survey(N_FEATURES, True, None),
            Survey(N_FEATURES, False, Sampling(40, 0, N_ROWS)),
            Survey(N_FEATURES, False, Sampling(40, 0, None)),
            Survey(N_FEATURES, False, Sampling(2 * N_ROWS, 0, N_ROWS)),
        ],
        ids=["no sample", "of known rows", "of unknown rows", "all rows"],
    )
    def reduction(self, request):
        self.sampling = request.param.sampling
        return request.param

    def of(self, value):
        return [value.moments, value.sample(self.sampling) if value.drawn else None]


class TestChecksum(ReductionContract):
    """One checksum belongs to one group, so that only the sums do not depend on the groups."""

    @pytest.fixture(params=[False, True], ids=["computed", "stored"])
    def reduction(self, request):
        return Checksum(N_FEATURES, request.param, sums=not request.param)

    def answer(self, value):
        return value.sums
