"""Each covariance type holds to the contract, and counts, checks and draws as scikit-learn does."""

from __future__ import annotations

import inspect

import numpy as np
import pytest
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm.model.covariance import covariance_structure, covariance_types
from dask_gmm.model.covariance.covariance import Covariance
from dask_gmm.model.covariance.triangles import pack, unpack
from tests.model import test_factor
from tests.model.covariance_contract import CovarianceContract


class LikeScikitLearn(CovarianceContract):
    """The types that scikit-learn has too."""

    @pytest.mark.parametrize("n_features", [1, 4])
    def test_free_numbers_are_counted_alike(self, n_features):
        reference = Reference(3, covariance_type=self.structure.name, random_state=0)
        reference.fit(np.random.default_rng(0).normal(size=(50, n_features)))
        assert self.structure.n_free(3, n_features) + 3 * n_features + 2 == reference._n_parameters()

    def test_given_precisions_are_refused_in_the_same_words(self):
        bad = self.spoiled(self.structure.precisions(self.structure.cholesky(self.covariances())), 1, -1.0)
        reference = Reference(3, covariance_type=self.structure.name, precisions_init=bad)
        with pytest.raises(ValueError) as expected:
            reference.fit(np.random.default_rng(0).normal(size=(50, 4)))
        with pytest.raises(ValueError) as found:
            self.structure.check_precisions(bad)
        assert str(found.value) == str(expected.value)

    def test_the_same_rows_are_drawn(self):
        covariances = self.covariances()
        reference = Reference(3, covariance_type=self.structure.name, random_state=0)
        reference.weights_, reference.means_ = np.array([0.0, 1.0, 0.0]), np.ones((3, 4))
        reference.covariances_ = covariances
        reference.precisions_cholesky_ = self.structure.cholesky(covariances)
        expected, _ = reference.sample(10)
        stream = np.random.RandomState(0)
        stream.multinomial(10, reference.weights_)
        for k, count in enumerate((0, 10, 0)):
            found = self.structure.draw(np.ones(4), covariances, k, count, stream)
            np.testing.assert_array_equal(found, expected[: len(found)])


class TestFull(LikeScikitLearn):
    structure = covariance_structure("full")

    def matrices(self, covariances, n_components, n_features):
        return covariances

    def test_factors_are_upper_triangular(self):
        factors = self.structure.cholesky(self.covariances())
        np.testing.assert_array_equal(factors, np.triu(factors))

    def test_asymmetric_precisions_are_refused(self):
        with pytest.raises(ValueError, match="symmetric"):
            self.structure.check_precisions(np.tile([[2.0, 1.0], [0.0, 2.0]], (2, 1, 1)))


class TestTied(LikeScikitLearn):
    structure = covariance_structure("tied")
    shared = True

    def matrices(self, covariances, n_components, n_features):
        return np.tile(covariances, (n_components, 1, 1))

    def test_factors_are_upper_triangular(self):
        factors = self.structure.cholesky(self.covariances())
        np.testing.assert_array_equal(factors, np.triu(factors))


class TestDiag(LikeScikitLearn):
    structure = covariance_structure("diag")

    def matrices(self, covariances, n_components, n_features):
        return covariances[:, :, np.newaxis] * np.eye(n_features)


class TestSpherical(LikeScikitLearn):
    structure = covariance_structure("spherical")

    def matrices(self, covariances, n_components, n_features):
        return covariances[:, np.newaxis, np.newaxis] * np.eye(n_features)


def test_every_type_has_a_contract():
    tested = {
        value.structure.name
        for value in (*globals().values(), *vars(test_factor).values())
        if inspect.isclass(value) and issubclass(value, CovarianceContract) and hasattr(value, "structure")
    }
    assert tested == set(covariance_types())


def test_unknown_types_are_refused():
    with pytest.raises(KeyError):
        covariance_structure("ful")


def test_the_base_class_explains_every_method():
    methods = [value for name, value in vars(Covariance).items() if not name.startswith("_")]
    assert all(value.__doc__ for value in methods if callable(value))


def test_packing_keeps_symmetric_matrices():
    matrices = np.random.default_rng(0).normal(size=(3, 5, 5))
    matrices += matrices.transpose(0, 2, 1)
    assert pack(matrices).shape == (3, 15)
    np.testing.assert_array_equal(unpack(pack(matrices), 5), matrices)
    np.testing.assert_array_equal(pack(matrices[0])[:6], [*matrices[0, 0], matrices[0, 1, 1]])
