"""What every covariance type must hold to: subclass `CovarianceContract` for a new one.

Only how a type stores covariances is its subclass's to say; everything else is checked against the matrices.
"""

from __future__ import annotations

from typing import Any

import dask.array as da
import numpy as np
import pytest
from numpy.typing import NDArray
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.cli.options import COVARIANCE_TYPES
from dask_gmm.model.covariance import covariance_structure, covariance_types, unspelled
from dask_gmm.model.covariance.covariance import Covariance
from dask_gmm.model.covariance.parts import NotPositiveDefiniteError, SingleRows
from dask_gmm.model.kernels.components import Components

Array = NDArray[np.float64]
SHAPES = [(3, 4), (1, 1), (2, 30), (4, 1)]


class CovarianceContract:
    """The promises of `dask_gmm.model.covariance.covariance.Covariance`.

    Attributes
    ----------
    structure : Covariance
    shared : bool
        Whether all components have one covariance.
    """

    structure: Covariance
    shared = False
    #: Parameters of estimators besides `covariance_type`, and passes within which fits converge.
    options: dict[str, Any] = {}  # noqa: RUF012
    max_iter = 300

    def matrices(self, covariances: Array, n_components: int, n_features: int) -> Array:
        """Return the covariance matrix of each component."""
        raise NotImplementedError

    def is_member(self, matrix: Array) -> bool:
        """Return whether a matrix is one that the type has, for types whose arrays could hold others."""
        return True

    def spoiled(self, covariances: Array, component: int, value: float) -> Array:
        """Return covariances of which one component's numbers are multiplied by `value`."""
        spoiled = covariances.copy()
        spoiled[None if self.shared else component] *= value
        return spoiled

    # --- what the tests are made of ---------------------------------------------------------------

    def statistics(
        self, n_components: int, n_features: int, seed: int = 0
    ) -> tuple[Array, Array, Array, Array, Array]:
        """Return rows, responsibilities, second moments about an origin, nk and shift."""
        rng = np.random.default_rng(seed)
        mixing = np.eye(n_features) + 0.3 * rng.normal(size=(n_features, n_features))
        rows = rng.normal(size=(60 + 5 * n_features, n_features)) @ mixing
        resp = rng.dirichlet(np.ones(n_components), size=len(rows))
        nk, origins = resp.sum(axis=0), 0.2 * rng.normal(size=(n_components, n_features))
        second = np.zeros(self.structure.second_shape(n_components, n_features))
        factors = self.evaluating(n_components, n_features)
        for k, origin in enumerate(origins):
            self.structure.add_second(second, rows - origin, resp[:, k], k, factors)
        return rows, resp, second, nk, (resp.T @ rows) / nk[:, np.newaxis] - origins

    def evaluating(self, n_components: int, n_features: int) -> Array | None:
        """Return the factors that `statistics` evaluates the rows by: of a type that `projects`."""
        return None

    def estimate(self, second: Array, nk: Array, shift: Array, reg_covar: float) -> Array:
        """Return the covariances of an M-step after `evaluating`."""
        factors = self.evaluating(*shift.shape)
        previous = None if factors is None else self.structure.inverse(factors)
        return self.structure.estimate(second, nk, shift, reg_covar, previous)

    def covariances(self, n_components: int = 3, n_features: int = 4, seed: int = 0) -> Array:
        """Return valid covariances."""
        _, _, second, nk, shift = self.statistics(n_components, n_features, seed)
        return self.estimate(second, nk, shift, 0.1 * (1 + seed))

    def components(self, distance: float, shape: tuple[int, int]) -> tuple[Components, Array]:
        """Return a mixture of components that are `distance` apart, and its covariance matrices."""
        rng = np.random.default_rng(3)
        covariances = self.covariances(*shape)
        means, weights = distance * rng.normal(size=shape), rng.dirichlet(np.ones(shape[0]))
        factors = self.structure.cholesky(covariances)
        peaks = np.log(weights) + self.structure.log_det(factors, *shape) - 0.5 * shape[1] * np.log(2 * np.pi)
        return Components(weights @ means, means, factors, peaks), self.matrices(covariances, *shape)

    # --- shapes and factors -----------------------------------------------------------------------

    def test_is_registered_under_its_name(self) -> None:
        assert covariance_structure(self.structure.name) is self.structure
        assert self.structure.name in covariance_types()

    @pytest.mark.parametrize("shape", SHAPES)
    def test_arrays_have_the_shapes_said(self, shape: tuple[int, int]) -> None:
        covariances = self.covariances(*shape)
        assert covariances.shape == self.structure.shape(*shape)
        factors = self.structure.cholesky(covariances)
        assert factors.shape == self.structure.factor_shape(*shape)
        assert self.structure.precisions(factors).shape == covariances.shape
        assert covariances.dtype == factors.dtype == np.float64
        assert 0 < self.structure.n_free(*shape) <= shape[0] * shape[1] * (shape[1] + 1) // 2

    @pytest.mark.parametrize("shape", SHAPES)
    def test_factors_lead_back(self, shape: tuple[int, int]) -> None:
        covariances = self.covariances(*shape)
        factors = self.structure.cholesky(covariances)
        there = self.matrices(covariances, *shape)
        back = self.matrices(self.structure.inverse(factors), *shape)
        np.testing.assert_allclose(back, there, rtol=1e-10, atol=1e-12)
        given = self.structure.cholesky_of_precisions(self.structure.precisions(factors))
        np.testing.assert_allclose(given, factors, rtol=1e-9, atol=1e-11)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_factors_are_roots_of_the_precisions(self, shape: tuple[int, int]) -> None:
        covariances = self.covariances(*shape)
        factors = self.structure.cholesky(covariances)
        inverses = np.linalg.inv(self.matrices(covariances, *shape))
        eye, origin = np.eye(shape[1]), np.zeros(shape[1])
        for k, inverse in enumerate(inverses):
            root = self.structure.whitened(eye, origin, factors, k)
            np.testing.assert_allclose(root @ root.T, inverse, rtol=1e-9, atol=1e-10)
        log_det = self.structure.log_det(factors, *shape)
        np.testing.assert_allclose(log_det, 0.5 * np.linalg.slogdet(inverses)[1], rtol=1e-10, atol=1e-12)

    def test_whitened_rows_have_mahalanobis_lengths(self) -> None:
        factors = self.structure.cholesky(self.covariances())
        inverses = np.linalg.inv(self.matrices(self.covariances(), 3, 4))
        rng = np.random.default_rng(1)
        rows, mean = rng.normal(size=(7, 4)), rng.normal(size=4)
        for k in range(3):
            whitened = self.structure.whitened(rows, mean, factors, k)
            expected = np.einsum("ij,jk,ik->i", rows - mean, inverses[k], rows - mean)
            np.testing.assert_allclose((whitened**2).sum(axis=1), expected, rtol=1e-11)

    def test_a_bad_covariance_is_told_by_its_component(self) -> None:
        spoiled = self.spoiled(self.covariances(), 1, -1.0)
        with pytest.raises(NotPositiveDefiniteError) as caught:
            self.structure.cholesky(spoiled)
        assert caught.value.component == (None if self.shared else 1)
        smallest = np.linalg.eigvalsh(self.matrices(spoiled, 3, 4)[1])[0]
        assert caught.value.smallest_eigenvalue == pytest.approx(smallest)

    def test_a_covariance_that_is_not_a_number_is_bad_too(self) -> None:
        with pytest.raises(NotPositiveDefiniteError):
            self.structure.cholesky(self.spoiled(self.covariances(), 2, np.nan))

    def test_given_precisions_are_checked(self) -> None:
        precisions = self.structure.precisions(self.structure.cholesky(self.covariances()))
        self.structure.check_precisions(precisions)
        for bad in (-1.0, 0.0):
            with pytest.raises(ValueError, match=f"'{self.structure.name} precision' should be"):
                self.structure.check_precisions(self.spoiled(precisions, 1, bad))

    # --- M-step -----------------------------------------------------------------------------------

    def test_second_moments_add_up(self) -> None:
        rng = np.random.default_rng(2)
        deviations, resp = rng.normal(size=(20, 4)), rng.uniform(size=20)
        whole = np.zeros(self.structure.second_shape(3, 4))
        parts = np.zeros_like(whole)
        self.structure.add_second(whole, deviations, resp, 1, self.evaluating(3, 4))
        for part in (slice(0, 5), slice(5, 20)):
            self.structure.add_second(parts, deviations[part], resp[part], 1, self.evaluating(3, 4))
        np.testing.assert_allclose(parts, whole, rtol=1e-13, atol=1e-14)
        assert whole.any()

    @pytest.mark.parametrize("shape", SHAPES)
    def test_squared_distances_are_those_of_the_rows(self, shape: tuple[int, int]) -> None:
        rows, resp, second, nk, shift = self.statistics(*shape)
        covariances = self.covariances(*shape, seed=1)
        factors = self.evaluating(*shape)
        if factors is None:
            factors = self.structure.cholesky(covariances)
        covariances = self.structure.inverse(factors)
        expected = 0.0
        for k, inverse in enumerate(np.linalg.inv(self.matrices(covariances, *shape))):
            deviations = rows - resp[:, k] @ rows / nk[k]
            expected += resp[:, k] @ np.einsum("ij,jk,ik->i", deviations, inverse, deviations)
        found = self.structure.squared_distances(second, nk, nk, shift, factors)
        assert found == pytest.approx(expected, rel=1e-9)

    def test_a_component_without_rows_adds_no_distance(self) -> None:
        _, _, second, nk, shift = self.statistics(3, 4)
        factors = self.structure.cholesky(self.covariances(4, 4))
        more = np.zeros(self.structure.second_shape(4, 4))
        more[...] = second if self.shared else np.concatenate([second, np.zeros((1, *second.shape[1:]))])
        nk_of_four, shift_of_four = np.append(nk, 0.0), np.append(shift, np.zeros((1, 4)), axis=0)
        counts = np.append(nk, 1.0)
        found = self.structure.squared_distances(more, counts, nk_of_four, shift_of_four, factors)
        assert np.isfinite(found)
        assert found > 0.0

    @pytest.mark.parametrize("shape", SHAPES)
    def test_the_m_step_maximizes(self, shape: tuple[int, int]) -> None:
        """No covariances nearby have a higher expected complete-data log-likelihood."""
        _, _, second, nk, shift = self.statistics(*shape)
        previous = self.covariances(*shape, seed=1)
        best = self.structure.cholesky(self.structure.estimate(second, nk, shift, 0.0, previous))

        def expected_log_likelihood(factors: Array) -> float:
            squares = self.structure.squared_distances(second, nk, nk, shift, factors)
            return float(nk @ self.structure.log_det(factors, *shape)) - 0.5 * squares

        highest, rng = expected_log_likelihood(best), np.random.default_rng(4)
        size = self.structure.spreads(best, best).shape
        for length in (1e-3, 1e-2, 0.3):
            for _ in range(5):
                step = length * rng.normal(size=size)
                moved = self.structure.with_spreads(step / np.sqrt(len(step)), best)
                assert expected_log_likelihood(moved) < highest + 1e-10 * abs(highest)
        # Among many coordinates a random step rarely goes up where a few of them would.
        for place in rng.permutation(size[0])[:40]:
            for length in (-0.01, 0.01):
                step = np.zeros(size)
                step[place] = length
                moved = self.structure.with_spreads(step, best)
                assert expected_log_likelihood(moved) < highest + 1e-10 * abs(highest)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_what_it_makes_are_its_matrices(self, shape: tuple[int, int]) -> None:
        _, _, second, nk, shift = self.statistics(*shape)
        estimate = self.estimate(second, nk, shift, 0.1)
        factors = self.structure.cholesky(estimate)
        step = 0.3 * np.random.default_rng(5).normal(size=self.structure.spreads(factors, factors).shape)
        moved = self.structure.inverse(self.structure.with_spreads(step, factors))
        for matrix in (*self.matrices(estimate, *shape), *self.matrices(moved, *shape)):
            assert self.is_member(matrix)

    @pytest.mark.parametrize("n_rows", [0, 1, 3])
    def test_moments_of_few_rows_are_no_error_of_the_m_step(self, n_rows: int) -> None:
        """What it returns is positive definite with `reg_covar`; without, `cholesky` may refuse it."""
        n_components, n_features = 2, 6
        rows = np.random.default_rng(6).normal(size=(n_rows, n_features))
        second = np.zeros(self.structure.second_shape(n_components, n_features))
        nk = np.full(n_components, max(n_rows, 1e-15))
        for k in range(n_components):
            self.structure.add_second(second, rows, np.ones(n_rows), k, self.evaluating(2, 6))
        shift = np.tile(rows.sum(axis=0) / nk[0], (n_components, 1))
        try:
            self.structure.cholesky(self.estimate(second, nk, shift, 0.0))
        except NotPositiveDefiniteError as error:
            assert error.component in (None, 0, 1)  # noqa: PT017
        self.structure.cholesky(self.estimate(second, nk, shift, 1e-3))

    def test_moments_that_are_not_finite_are_refused_as_covariances(self) -> None:
        _, _, second, nk, shift = self.statistics(3, 4)
        with np.errstate(invalid="ignore"), pytest.raises(NotPositiveDefiniteError):
            self.structure.cholesky(self.estimate(np.full_like(second, np.nan), nk, shift, 0.0))

    def test_reg_covar_is_added_to_the_variances(self) -> None:
        _, _, second, nk, shift = self.statistics(3, 4)
        plain, more = (
            self.matrices(self.estimate(second, nk, shift, reg_covar), 3, 4) for reg_covar in (0.0, 0.25)
        )
        np.testing.assert_allclose(more - plain, np.tile(0.25 * np.eye(4), (3, 1, 1)), atol=1e-13)

    # --- kernels ----------------------------------------------------------------------------------

    @pytest.mark.parametrize(
        ("dtype", "tolerance"), [(np.float64, 1e-9), (np.float32, 1e-4)], ids=["float64", "float32"]
    )
    @pytest.mark.parametrize("distance", [1.0, 30.0, 1e4])
    @pytest.mark.parametrize("shape", [(3, 4), (1, 1), (2, 30)])
    def test_kernels_say_what_the_matrices_say(
        self, shape: tuple[int, int], distance: float, dtype: Any, tolerance: float
    ) -> None:
        components, matrices = self.components(distance, shape)
        rng = np.random.default_rng(5)
        labels = rng.integers(shape[0], size=300)
        rows = (components.means[labels] + rng.normal(size=(300, shape[1]))).astype(dtype)
        log_joint = np.empty((300, shape[0]))
        for k, (mean, matrix) in enumerate(zip(components.means, matrices, strict=True)):
            at_mean = multivariate_normal(mean, matrix).logpdf(mean)
            exact = np.asarray(multivariate_normal(mean, matrix).logpdf(rows.astype(np.float64)))
            log_joint[:, k] = components.peaks[k] + exact - at_mean
        prepared = self.structure.kernel(components, np.dtype(dtype))
        found = np.empty(300, dtype)
        prepared.kernel.log_density(rows, found)
        np.testing.assert_allclose(found, logsumexp(log_joint, axis=1), rtol=tolerance, atol=tolerance)
        self.check_second_moments(prepared, rows, log_joint, tolerance, components.factors)

    def check_second_moments(
        self, prepared: Any, rows: NDArray[Any], log_joint: Array, tolerance: float, factors: Array
    ) -> None:
        n_components, n_features = prepared.origins.shape
        _, sums = prepared.kernel.statistics(rows, None)
        resp = np.exp(log_joint - logsumexp(log_joint, axis=1, keepdims=True))
        expected = np.zeros(self.structure.second_shape(n_components, n_features))
        for k, origin in enumerate(prepared.origins):
            self.structure.add_second(expected, rows - origin, resp[:, k], k, factors)
        if prepared.second_of_scatter is None:
            found = self.structure.pooled(sums[:, n_features + 1 :])
        else:
            assert self.structure.needs_scatter
            deviations = rows - prepared.origins[0]
            found = prepared.second_of_scatter(deviations.T @ deviations)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * np.abs(expected).max())

    @pytest.mark.parametrize("distance", [1.0, 1e4])
    def test_the_choice_of_the_kernel_is_the_same_everywhere(self, distance: float) -> None:
        components, _ = self.components(distance, (3, 9))
        rows = np.random.default_rng(6).normal(size=(100, 9))
        one, other = (self.structure.kernel(components, rows.dtype) for _ in range(2))
        assert (
            one.kernel.statistics(rows, None)[1].tobytes() == other.kernel.statistics(rows, None)[1].tobytes()
        )
        labels = np.empty((2, 100), np.int64)
        one.labels()(rows, labels[0])
        other.kernel.labels(rows, labels[1])
        np.testing.assert_array_equal(*labels)

    # --- starts, and rows drawn -------------------------------------------------------------------

    @pytest.mark.parametrize("dtype", [np.float64, np.float32])
    @pytest.mark.parametrize("weighted", [False, True])
    def test_starts_from_single_rows(self, dtype: Any, weighted: bool) -> None:
        rng = np.random.default_rng(7)
        all_rows = rng.normal(size=(40, 4)).astype(dtype)
        all_weights = rng.uniform(0.5, 2.0, size=40) if weighted else None
        rows = all_rows[:3]
        weights = np.ones(3, dtype) if all_weights is None else all_weights[:3].astype(dtype)
        nk = weights + 10 * np.finfo(dtype).eps
        means = (weights / nk)[:, np.newaxis] * rows
        start = SingleRows(rows, weights, nk, means, all_rows, all_weights)
        found = self.structure.of_single_rows(start, 0.5)
        assert found.shape == self.structure.shape(3, 4)
        assert found.dtype == dtype
        exact = self.structure.of_single_rows_exactly(start, 0.5)
        assert exact.shape == found.shape
        for covariances in (found.astype(np.float64), exact):
            matrices = self.matrices(covariances, 3, 4)
            np.testing.assert_array_less(0.5 - 1e-4, np.linalg.eigvalsh(matrices))
            assert np.isfinite(self.structure.cholesky(covariances)).all()

    def test_draws_have_its_covariances(self) -> None:
        covariances, mean = self.covariances(), np.array([1e3, -5.0, 0.0, 2.0])
        for k, matrix in enumerate(self.matrices(covariances, 3, 4)):
            rows = self.structure.draw(mean, covariances, k, 20_000, np.random.RandomState(k))
            assert rows.shape == (20_000, 4)
            np.testing.assert_allclose(rows.mean(axis=0), mean, atol=0.05)
            np.testing.assert_allclose(np.cov(rows.T), matrix, atol=0.05 * np.abs(matrix).max())

    # --- coordinates ------------------------------------------------------------------------------

    def test_moves_are_whitened_like_rows(self) -> None:
        factors = self.structure.cholesky(self.covariances())
        moves = np.random.default_rng(8).normal(size=(3, 4))
        whitened = self.structure.whitened_moves(moves, factors)
        for k in range(3):
            (lengths,) = (self.structure.whitened(moves[k : k + 1], np.zeros(4), factors, k) ** 2).sum(axis=1)
            assert (whitened[k] ** 2).sum() == pytest.approx(lengths)
        np.testing.assert_allclose(self.structure.unwhitened_moves(whitened, factors), moves, rtol=1e-10)

    @pytest.mark.parametrize("shape", SHAPES)
    def test_coordinates_lead_back(self, shape: tuple[int, int]) -> None:
        origin = self.structure.cholesky(self.covariances(*shape))
        zero = self.structure.spreads(origin, origin)
        np.testing.assert_allclose(zero, 0.0, atol=1e-12)
        # More would lead out of the type, fewer would not reach all of it.
        assert zero.shape == (self.structure.n_free(*shape),)
        there = self.covariances(*shape, seed=1)
        spreads = self.structure.spreads(self.structure.cholesky(there), origin)
        back = self.structure.inverse(self.structure.with_spreads(spreads, origin))
        expected = self.matrices(there, *shape)
        np.testing.assert_allclose(self.matrices(back, *shape), expected, rtol=1e-9, atol=1e-10)

    def test_every_vector_is_a_covariance(self) -> None:
        origin = self.structure.cholesky(self.covariances())
        size = self.structure.spreads(origin, origin).shape
        far = self.structure.with_spreads(2.0 * np.random.default_rng(9).normal(size=size), origin)
        assert np.linalg.eigvalsh(self.matrices(self.structure.inverse(far), 3, 4)).min() > 0.0

    def test_lengths_are_distances_of_distributions(self) -> None:
        """Half the square of a small step is the Kullback-Leibler divergence, weighted."""
        covariances, weights = self.covariances(), np.array([0.2, 0.3, 0.5])
        origin, rng = self.structure.cholesky(covariances), np.random.default_rng(10)
        lengths = self.structure.spread_lengths(weights, origin, 4)
        ours = self.matrices(covariances, 3, 4)
        for _ in range(5):
            step = rng.normal(size=len(lengths))
            step *= 1e-4 / np.linalg.norm(step)
            moved = self.structure.inverse(self.structure.with_spreads(step / lengths, origin))
            ratios = np.linalg.solve(self.matrices(moved, 3, 4), ours)
            divergence = np.trace(ratios, axis1=1, axis2=2) - 4 - np.linalg.slogdet(ratios)[1]
            np.testing.assert_allclose(weights @ divergence, 1e-8, rtol=1e-3)

    # --- known to everyone ------------------------------------------------------------------------

    def test_known_to_the_options_and_the_documentation(self) -> None:
        name = self.structure.name
        assert name in COVARIANCE_TYPES.choices
        assert GaussianMixture.__doc__ is not None
        assert f"'{name}'" in GaussianMixture.__doc__

    def test_fits(self, make_rows: Any, tmp_path: Any) -> None:
        rows, name = make_rows(800, 4, 3), self.structure.name
        settings = {"n_components": 3, "covariance_type": name, "random_state": 0, "tol": 1e-6}
        settings |= {"max_iter": self.max_iter, **self.options}
        gm = GaussianMixture(**settings).fit(rows)
        assert gm.converged_
        assert np.diff(gm.lower_bounds_).min() > -1e-9
        assert gm.lower_bound_ == pytest.approx(gm.score(rows), abs=1e-4)
        chunked = GaussianMixture(**settings).fit(da.from_array(rows, chunks=(123, 4)))
        np.testing.assert_allclose(chunked.covariances_, gm.covariances_, rtol=1e-8, atol=1e-10)
        gm.save(tmp_path / "model.gmm")
        loaded = GaussianMixture.load(tmp_path / "model.gmm")
        assert loaded.predict_proba(rows).tobytes() == gm.predict_proba(rows).tobytes()
        faster = GaussianMixture(**settings, accelerate=True).fit(rows)
        assert faster.lower_bound_ > gm.lower_bound_ - 1e-4

    @pytest.mark.parametrize("init_params", ["k-means++", "random"])
    def test_starts(self, make_rows: Any, init_params: str) -> None:
        gm = GaussianMixture(
            3,
            covariance_type=self.structure.name,
            init_params=init_params,
            random_state=0,
            max_iter=200,
            **self.options,
        ).fit(make_rows(400, 3, 3))
        assert np.diff(gm.lower_bounds_).min() > -1e-9

    def test_is_compared_with_others(self, make_rows: Any) -> None:
        types = list({self.structure.name, "diag"})
        # Far apart, so that EM does not linger on the way whatever the type.
        rows = make_rows(300, 3, 2, spread=6.0)
        selection = GaussianMixtureIC([1, 2], covariance_type=types, random_state=0, **self.options).fit(rows)
        for position, (kind, n_components) in enumerate(
            zip(selection.results_["covariance_type"], selection.results_["n_components"], strict=True)
        ):
            alone = GaussianMixture(
                n_components, **unspelled(str(kind)), random_state=0, tol=1e-8, max_iter=5 * self.max_iter
            ).fit(rows)
            assert selection.results_["bic"][position] == pytest.approx(alone.bic(rows), rel=2e-3)
