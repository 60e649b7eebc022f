"""What every kernel must say of rows that are known exactly: subclass `KernelContract` for a new one.

Kernels of other observations say the same of such rows: in that limit they are the plain mixture's.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp

from dask_gmm.model.covariance import covariance_types
from dask_gmm.model.density import Density
from dask_gmm.model.moments import Moments
from dask_gmm.model.observation.observation import Kernel
from dask_gmm.model.parameters import Parameters
from dask_gmm.model.statistics import Statistics
from tests.model.mixtures import Weighted, log_joint, mixture, rows_of
from tests.model.reference import ReferenceKernel

DOUBLE = np.dtype(np.float64)
TYPES = pytest.mark.parametrize("covariance_type", covariance_types())
# Centres near each other, at the limits of the compiled kernels, and far beyond.
DISTANCES = pytest.mark.parametrize("distance", [1.0, 8.0, 300.0, 1e6])


class KernelContract:
    """The promises of `dask_gmm.model.observation.observation.Kernel`."""

    def kernel(self, density: Density, dtype: np.dtype[Any]) -> Kernel:
        """Return the kernel to test."""
        raise NotImplementedError

    def summed(self, kernel: Kernel, parts: list[tuple[NDArray[Any], Any]]) -> Statistics:
        """Return the completed statistics of a pass over blocks of rows and weights."""
        density = kernel.density
        statistics = Statistics.zero(density.covariance_type, density.n_components, density.n_features)
        moments = Moments.zero(density.n_features, scatter=True)
        for rows, weights in parts:
            kernel.accumulate(statistics, Weighted(rows, weights))
            moments = moments.with_rows(rows, weights)
        return kernel.completed(statistics, moments)

    @TYPES
    def test_moments_of_exact_rows_are_those_of_the_rows(self, covariance_type: str) -> None:
        parameters = mixture(covariance_type)
        rows = rows_of(parameters)
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        found = self.summed(kernel, [(rows, None)])
        sums = (found.first + found.nk[:, np.newaxis] * kernel.origins).sum(axis=0)
        np.testing.assert_allclose(sums, rows.sum(axis=0), rtol=1e-9, atol=1e-9)

    @DISTANCES
    @TYPES
    def test_predictions(self, covariance_type: str, distance: float) -> None:
        parameters = mixture(covariance_type, distance)
        rows = rows_of(parameters)
        joint = log_joint(parameters, rows)
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        density, resp, labels = np.empty(500), np.empty((500, 4)), np.empty(500, dtype=np.int64)
        kernel.log_density(Weighted(rows), density)
        kernel.responsibilities(Weighted(rows), resp)
        kernel.labels(Weighted(rows), labels)
        np.testing.assert_allclose(density, logsumexp(joint, axis=1), rtol=1e-9)
        np.testing.assert_allclose(resp, np.exp(joint - logsumexp(joint, axis=1, keepdims=True)), atol=1e-9)
        np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
        np.testing.assert_array_equal(labels, joint.argmax(axis=1))

    @pytest.mark.parametrize("weighted", [False, True])
    @DISTANCES
    @TYPES
    def test_statistics(self, covariance_type: str, distance: float, weighted: bool) -> None:
        parameters = mixture(covariance_type, distance)
        rows = rows_of(parameters)
        weights = np.random.default_rng(9).uniform(size=500) if weighted else None
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        parts = [(rows[part], None if weights is None else weights[part])
                 for part in (slice(0, 123), slice(123, 500))]  # fmt: skip
        found = self.summed(kernel, parts)
        joint = log_joint(parameters, rows)
        norm = logsumexp(joint, axis=1)
        factor = np.ones(500) if weights is None else weights
        resp = np.exp(joint - norm[:, np.newaxis]) * factor[:, np.newaxis]
        assert found.totals.log_likelihood == pytest.approx(norm @ factor, rel=1e-9)
        assert found.totals.weight == pytest.approx(factor.sum(), rel=1e-13)
        assert found.totals.n_rows == 500
        np.testing.assert_allclose(found.nk, resp.sum(axis=0), rtol=1e-8, atol=1e-9)
        means = kernel.origins + found.first / found.nk[:, np.newaxis]
        expected = resp.T @ rows / resp.sum(axis=0)[:, np.newaxis]
        np.testing.assert_allclose(means, expected, rtol=1e-8, atol=1e-8 * distance)
        second = np.zeros_like(found.second)
        for k, origin in enumerate(kernel.origins):
            parameters.structure.add_second(
                second, rows - origin, resp[:, k], k, parameters.precisions_cholesky
            )
        np.testing.assert_allclose(found.second, second, rtol=1e-8, atol=1e-8 * np.abs(second).max())

    @pytest.mark.parametrize("order", ["C", "F"])
    @TYPES
    def test_float32_rows_in_any_order(self, covariance_type: str, order: Any) -> None:
        parameters = mixture(covariance_type)
        rows = np.asarray(rows_of(parameters, dtype=np.float32), order=order)
        found, exact = np.empty(500, dtype=np.float32), np.empty(500)
        self.kernel(Density.of(parameters), rows.dtype).log_density(Weighted(rows), found)
        ReferenceKernel(Density.of(parameters)).log_density(Weighted(rows), exact)
        np.testing.assert_allclose(found, exact, rtol=2e-6)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    @TYPES
    def test_rows_far_from_everything(self, covariance_type: str, dtype: Any) -> None:
        parameters = mixture(covariance_type)
        rows = np.full((3, 3), 1e5, dtype=dtype) * np.array([[1], [-1], [3]], dtype=dtype)
        resp, density = np.empty((3, 4), dtype=dtype), np.empty(3, dtype=dtype)
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        kernel.responsibilities(Weighted(rows), resp)
        kernel.log_density(Weighted(rows), density)
        np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-5)
        np.testing.assert_allclose(density, logsumexp(log_joint(parameters, rows), axis=1), rtol=1e-5)

    @TYPES
    def test_the_first_of_equals(self, covariance_type: str) -> None:
        single = mixture(covariance_type, n_components=1)
        structure = single.structure
        whole = structure.shape(2, 3), structure.factor_shape(2, 3)
        twins = Parameters(
            covariance_type,
            np.array([0.5, 0.5]),
            np.repeat(single.means, 2, axis=0),
            *(
                np.broadcast_to(array, shape).copy() if array.shape == shape else np.repeat(array, 2, axis=0)
                for array, shape in zip((single.covariances, single.precisions_cholesky), whole, strict=True)
            ),
        )
        labels = np.empty(100, dtype=np.int64)
        self.kernel(Density.of(twins), DOUBLE).labels(Weighted(rows_of(single, 100)), labels)
        np.testing.assert_array_equal(labels, 0)

    @pytest.mark.parametrize("distance", [1.0, 1e6])
    @TYPES
    def test_a_component_of_weight_zero_gets_nothing(self, covariance_type: str, distance: float) -> None:
        whole = mixture(covariance_type, distance)
        parameters = replace(whole, weights=np.array([0.0, 0.2, 0.3, 0.5]))
        rows = rows_of(whole)
        resp = np.empty((500, 4))
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        kernel.responsibilities(Weighted(rows), resp)
        np.testing.assert_array_equal(resp[:, 0], 0.0)
        np.testing.assert_allclose(resp.sum(axis=1), 1.0, rtol=1e-12)
        found = self.summed(kernel, [(rows, None)])
        assert found.nk[0] == 0.0
        assert np.isfinite(found.second).all()

    @TYPES
    def test_rows_of_weight_zero_count_for_nothing(self, covariance_type: str) -> None:
        parameters = mixture(covariance_type)
        rows, weights = rows_of(parameters), np.arange(500) % 2.0
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        found, expected = self.summed(kernel, [(rows, weights)]), self.summed(kernel, [(rows[1::2], None)])
        for name in ("nk", "first", "second"):
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-10, atol=1e-10)
        assert found.totals.log_likelihood == pytest.approx(expected.totals.log_likelihood, rel=1e-12)

    @pytest.mark.parametrize("n_rows", [0, 1, 63, 64, 65, 1000, 5001])
    @TYPES
    def test_no_row_is_lost_at_the_end_of_a_tile(self, covariance_type: str, n_rows: int) -> None:
        parameters = mixture(covariance_type)
        rows = rows_of(parameters, n_rows)
        kernel = self.kernel(Density.of(parameters), rows.dtype)
        found = self.summed(kernel, [(rows, None)])
        expected = self.summed(ReferenceKernel(Density.of(parameters)), [(rows, None)])
        assert found.nk.sum() == pytest.approx(n_rows, abs=1e-9)
        np.testing.assert_allclose(found.nk, expected.nk, rtol=1e-10)
        assert found.totals.log_likelihood == pytest.approx(expected.totals.log_likelihood, rel=1e-12)
        resp = np.full((n_rows, 4), np.nan)
        kernel.responsibilities(Weighted(rows), resp)
        np.testing.assert_allclose(resp.sum(axis=0), expected.nk, rtol=1e-10)

    @pytest.mark.parametrize("distance", [1.0, 1e6])
    @TYPES
    def test_the_same_bits_from_any_thread_and_kernel(self, covariance_type: str, distance: float) -> None:
        parameters = mixture(covariance_type, distance)
        rows = rows_of(parameters, 3000)
        shared = self.kernel(Density.of(parameters), rows.dtype)

        def bits(number: int) -> list[bytes]:
            kernel = shared if number % 2 else self.kernel(Density.of(parameters), rows.dtype)
            found = self.summed(kernel, [(rows, None)])
            return [array.tobytes() for array in (found.nk, found.first, found.second)]

        expected = bits(0)
        with ThreadPoolExecutor(4) as pool:
            assert all(found == expected for found in pool.map(bits, range(8)))
