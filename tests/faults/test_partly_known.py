"""Rows with holes and with errors: the same bits on any number of workers, and while these are killed."""

from __future__ import annotations

import dask.array as da
import pytest

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning"),
]


def part(x, factor):
    """Return numbers between 0 and 1 that depend on the values."""
    return abs(factor * x) % 1.0


def with_holes(x):
    return da.where(part(x, 1e3) < 0.3, float("nan"), x), {}


def with_errors(x):
    """Some exact, some unknown, beside holes; some of them correlated."""
    errors = da.where(part(x, 1e4) < 0.2, 0.0, part(x, 1e5))
    errors = da.where(part(x, 1e6) < 0.1, float("inf"), errors)
    return with_holes(x)[0], {"X_err": errors, "X_corr": {(0, 2): part(x[:, 0], 1e7) - 0.5}}


@pytest.mark.parametrize("covariance_type", ["full", "tied", "diag", "spherical"])
@pytest.mark.parametrize("kind", [with_holes, with_errors])
def test_the_same_bits(
    make_client, make_killer, slow_rows, make_estimator, assert_same_bits, kind, covariance_type
):
    def fit(seconds):
        rows = slow_rows(seconds)
        x, errors = kind(rows.x)
        estimator = make_estimator(covariance_type=covariance_type, missing="em", max_iter=12)
        return estimator.fit(x, **errors)

    on_threads = fit(0.0)
    for n_workers in (1, 2, 5):
        client = make_client(n_workers)
        assert_same_bits(fit(0.0), on_threads)
        if n_workers == 5:
            with make_killer(client, 1.0, 0) as killer:
                assert_same_bits(fit(0.05), on_threads)
            assert len(killer.killed) >= 2
