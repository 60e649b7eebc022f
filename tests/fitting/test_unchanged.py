"""Data that change during a fit are noticed; rounding is not taken for a change."""

from __future__ import annotations

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


@pytest.mark.parametrize("constant", [0.0, 1e-3, 1e9])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
def test_constant_features_are_not_taken_for_a_change(make_rows, covariance_type, dtype, constant):
    rows = make_rows(200)
    rows[:, 1] = constant
    for start in ({"random_state": 0}, {"means_init": rows[:3] + 0.3}):
        GaussianMixture(3, covariance_type=covariance_type, max_iter=10, **start).fit(rows.astype(dtype))


@pytest.mark.parametrize("distance", [1e3, 1e6])
def test_a_start_far_away_is_not_taken_for_a_change(make_rows, distance):
    rows = make_rows(200)
    means = make_rows(3) + distance
    GaussianMixture(3, means_init=means, random_state=0, max_iter=5, reg_covar=1e-3).fit(rows)


@pytest.mark.parametrize("change", ["a row", "a value", "a weight"])
def test_a_change_is_noticed(make_rows, make_source, change):
    pieces = np.array_split(make_rows(), 6)
    weights = np.array_split(np.ones(600), 6)

    class Changing(make_source):
        def read(self, index):
            if len(self.reads) == 9:
                self.change()
            return super().read(index)

        def change(self):
            if change == "a row":
                self.pieces[4] = self.pieces[4][:-1]
                self.weights[4] = self.weights[4][:-1]
            elif change == "a value":
                self.pieces[4] = self.pieces[4] + np.eye(100, 3) * 1e3
            else:
                self.weights[4] = self.weights[4] * 2

    with dask.config.set(num_workers=1), pytest.raises(ValueError, match="The data changed during the fit"):
        GaussianMixture(3, random_state=0).fit(Changing(list(pieces), list(weights)))
