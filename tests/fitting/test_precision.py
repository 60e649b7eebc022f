"""The precision of float32 rows, as the configuration asks for it."""

from __future__ import annotations

import dask
import dask.array as da
import numpy as np
import pytest

from dask_gmm import GaussianMixture

K, D, N = 3, 4, 5000


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(K, D))
    return (centres[rng.integers(K, size=N)] + rng.normal(size=(N, D))).astype(np.float32)


def fitted(rows, **options):
    start = {
        "weights_init": np.full(K, 1 / K),
        "means_init": np.random.default_rng(1).normal(size=(K, D)),
        "precisions_init": np.tile(np.eye(D), (K, 1, 1)),
    }
    return GaussianMixture(K, tol=1e-3, **start, **options).fit(rows)


def first_bound(model):
    """Return the mean log-likelihood of the start, in nats, which is not rounded to the rows' dtype."""
    return model.history_.to_frame()["lower_bound"].iloc[0]


def test_float32_rows_can_be_fitted_in_double(rows):
    exact = first_bound(fitted(rows.astype(np.float64)))
    with dask.config.set({"dask-gmm.precision": "double"}):
        double = fitted(rows)
        chunked = fitted(da.from_array(rows, chunks=(1000, D)))
    assert first_bound(double) == pytest.approx(exact, rel=1e-13)
    assert first_bound(chunked) == pytest.approx(exact, rel=1e-13)
    assert double.means_.dtype == np.float32
    assert 1e-11 < abs(first_bound(fitted(rows)) - exact) < 1e-5


@pytest.mark.parametrize("method", ["score_samples", "predict_proba"])
def test_float32_rows_can_be_predicted_in_double(rows, method):
    model = fitted(rows.astype(np.float64))
    exact = getattr(model, method)(rows.astype(np.float64))
    with dask.config.set({"dask-gmm.precision": "double"}):
        double = getattr(model, method)(rows)
        lazy = getattr(model, method)(da.from_array(rows, chunks=(1000, D)))
    # Nothing but the rounding of the result.
    np.testing.assert_array_equal(double, exact.astype(np.float32))
    np.testing.assert_array_equal(lazy.compute(), double)
    assert np.abs(getattr(model, method)(rows) - exact).max() > np.abs(double - exact).max()


def test_another_precision_is_an_error(rows):
    with dask.config.set({"dask-gmm.precision": "half"}), pytest.raises(ValueError, match="auto or double"):
        fitted(rows)
