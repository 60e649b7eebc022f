"""How often rows are read: once for a start, once an iteration, never for anything else."""

from __future__ import annotations

from collections import Counter

import dask
import numpy as np
import pytest

from dask_gmm import GaussianMixture

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def passes(source, n_pieces=6):
    """Return how often each piece was read, having seen that it is the same for all."""
    counts = set(Counter(source.reads).values())
    assert set(source.reads) == set(range(n_pieces))
    assert len(counts) == 1
    return counts.pop()


@pytest.fixture
def source(make_rows, make_source):
    return make_source(np.array_split(make_rows(), 6))


@pytest.mark.parametrize("covariance_type", ["full", "tied"])
@pytest.mark.parametrize("init_params", ["kmeans", "k-means++", "random", "random_from_data"])
def test_one_pass_for_the_start(source, init_params, covariance_type):
    fitted = GaussianMixture(3, init_params=init_params, covariance_type=covariance_type, random_state=0)
    fitted.fit(source)
    assert passes(source) == 1 + fitted.n_iter_


def test_one_pass_for_a_sampled_start(source):
    with dask.config.set({"dask-gmm.start-bytes": 50 * 3 * 8}):
        fitted = GaussianMixture(3, random_state=0).fit(source)
    assert passes(source) == 1 + fitted.n_iter_


def test_restarts_share_passes(make_rows, make_source):
    sources = [make_source(np.array_split(make_rows(), 6)) for _ in range(5)]
    together = GaussianMixture(5, init_params="random", n_init=4, random_state=0, max_iter=30).fit(sources[0])
    stream = np.random.RandomState(0)
    alone = [
        GaussianMixture(5, init_params="random", random_state=stream, max_iter=30).fit(source)
        for source in sources[1:]
    ]
    assert passes(sources[0]) == 1 + max(fitted.n_iter_ for fitted in alone)
    best = max(alone, key=lambda fitted: fitted.lower_bound_)
    np.testing.assert_array_equal(together.means_, best.means_)


def test_a_given_start_and_a_warm_start_need_no_pass(source):
    first = GaussianMixture(2, random_state=0, warm_start=True).fit(source)
    source.reads.clear()
    first.set_params(tol=1e-5).fit(source)
    assert passes(source) == first.n_iter_
    source.reads.clear()
    given = GaussianMixture(
        2, weights_init=first.weights_, means_init=first.means_, precisions_init=first.precisions_
    ).fit(source)
    assert passes(source) == given.n_iter_


def test_without_iterations_only_the_start_reads(source):
    GaussianMixture(3, random_state=0, max_iter=0, n_init=3).fit(source)
    assert passes(source) == 1


@pytest.mark.parametrize("method", ["score", "aic", "bic", "predict"])
def test_one_pass_to_predict(source, method):
    fitted = GaussianMixture(3, random_state=0, max_iter=1).fit(source)
    source.reads.clear()
    getattr(fitted, method)(source)
    assert passes(source) == 1


def test_bad_rows_end_the_first_pass(make_rows, make_source):
    rows = make_rows()
    rows[250, 1] = np.nan
    source = make_source(np.array_split(rows, 6))
    with dask.config.set(num_workers=1), pytest.raises(ValueError, match=r"row 250 \(piece 2\)"):
        GaussianMixture(3, random_state=0).fit(source)
    assert source.reads == [0, 1, 2]
