"""What must not matter: how rows are cut and ordered, who computes and when, the unit of weights."""

from __future__ import annotations

from typing import Any

import dask
import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster
from hypothesis import example, given, settings
from hypothesis import strategies as st
from threadpoolctl import threadpool_limits

from dask_gmm import GaussianMixture

TYPES = ("full", "tied", "diag", "spherical")
N_ROWS = 90

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
few_examples = settings(max_examples=12, deadline=None, derandomize=True)


@st.composite
def cuts(draw: Any, total: int) -> tuple[int, ...]:
    """Draw sizes that add up to `total`, zeros among them."""
    inner = draw(st.lists(st.integers(0, total), max_size=8).map(sorted))
    return tuple(int(size) for size in np.diff([0, *inner, total]))


def parameters_of(estimator: Any) -> list[Any]:
    return [
        estimator.weights_,
        estimator.means_,
        estimator.covariances_,
        estimator.precisions_cholesky_,
        np.array(estimator.lower_bounds_),
    ]


@pytest.fixture(scope="module")
def given_start(make_rows: Any) -> Any:
    """Parameters that start from a rough fit and make three iterations."""

    def make(covariance_type: str = "full", **more: Any) -> dict[str, Any]:
        rough = GaussianMixture(3, covariance_type=covariance_type, max_iter=1, random_state=0)
        rough.fit(make_rows(N_ROWS))
        return {
            "n_components": 3,
            "covariance_type": covariance_type,
            "weights_init": rough.weights_,
            "means_init": rough.means_,
            "precisions_init": rough.precisions_,
            "max_iter": 3,
            "tol": 0.0,
            **more,
        }

    return make


@few_examples
@given(
    rows_cut=cuts(N_ROWS), features_cut=cuts(3), covariance_type=st.sampled_from(TYPES), known=st.booleans()
)
@example(rows_cut=(20, 50, 20), features_cut=(3,), covariance_type="full", known=True)
def test_any_chunking_gives_the_same_model(
    make_rows, assert_same_model, rows_cut, features_cut, covariance_type, known
):
    rows = make_rows(N_ROWS)
    X = da.from_array(rows, chunks=(rows_cut, features_cut))
    if not known:
        X = X[da.isfinite(X).all(axis=1)]
    for init_params in ("kmeans", "random"):
        parameters = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
        whole = GaussianMixture(3, **parameters).fit(rows)
        chunked = GaussianMixture(3, **parameters).fit(X)
        assert chunked.n_iter_ == whole.n_iter_
        np.testing.assert_allclose(chunked.lower_bounds_, whole.lower_bounds_, rtol=1e-11)
        assert_same_model(chunked, whole, 1e-10)
        np.testing.assert_array_equal(chunked.predict(X).compute(), whole.predict(rows))
        np.testing.assert_allclose(chunked.score(X), whole.score(rows), rtol=1e-12)


@few_examples
@given(sizes=cuts(N_ROWS), covariance_type=st.sampled_from(TYPES), dtype=st.sampled_from(["f4", "f8"]))
def test_any_pieces_give_the_same_model(
    make_rows, make_source, assert_same_model, given_start, sizes, covariance_type, dtype
):
    rows = make_rows(N_ROWS).astype(dtype)
    pieces = np.split(rows, np.cumsum(sizes)[:-1])
    weights = np.random.default_rng(0).uniform(size=N_ROWS)
    parameters = given_start(covariance_type)
    whole = GaussianMixture(**parameters).fit(rows, sample_weight=weights)
    source = make_source(pieces)
    cut = GaussianMixture(**parameters).fit(source, sample_weight=weights)
    tolerance = 1e-11 if dtype == "f8" else 1e-5
    assert_same_model(cut, whole, tolerance)
    np.testing.assert_allclose(cut.lower_bounds_, whole.lower_bounds_, rtol=tolerance)
    np.testing.assert_array_equal(cut.predict(source), whole.predict(rows))


@few_examples
@given(sizes=cuts(N_ROWS), init_params=st.sampled_from(["kmeans", "k-means++", "random", "random_from_data"]))
@example(sizes=(20, 50, 20), init_params="kmeans")
def test_a_sampled_start_does_not_depend_on_the_chunking(make_rows, init_params, sizes):
    rows = make_rows(N_ROWS)
    parameters = {"init_params": init_params, "random_state": 3, "max_iter": 0}
    # 40 of the 90 rows.
    with dask.config.set({"dask-gmm.start-bytes": 40 * 3 * 8}):
        starts = [
            GaussianMixture(3, **parameters).fit(X)
            for X in (rows, da.from_array(rows, chunks=(sizes, 3)), da.from_array(rows, chunks=(7, 3)))
        ]
    for start in starts[1:]:
        np.testing.assert_array_equal(start.means_, starts[0].means_)
    full = GaussianMixture(3, **parameters).fit(rows)
    assert not np.array_equal(full.means_, starts[0].means_)


@few_examples
@given(order=st.permutations(range(N_ROWS)), covariance_type=st.sampled_from(TYPES))
def test_the_order_of_rows_does_not_matter(make_rows, assert_same_model, given_start, order, covariance_type):
    rows = make_rows(N_ROWS)
    parameters = given_start(covariance_type)
    straight, shuffled = (GaussianMixture(**parameters).fit(X) for X in (rows, rows[order]))
    assert_same_model(shuffled, straight, 1e-12)
    np.testing.assert_array_equal(shuffled.predict(rows[order]), straight.predict(rows)[order])


@few_examples
@given(
    weights=st.lists(st.integers(0, 3), min_size=N_ROWS, max_size=N_ROWS).filter(lambda w: sum(w) > 60),
    sizes=cuts(N_ROWS),
    covariance_type=st.sampled_from(TYPES),
)
def test_weights_repeat_rows_in_any_chunking(
    make_rows, assert_same_model, given_start, weights, sizes, covariance_type
):
    rows = make_rows(N_ROWS)
    parameters = given_start(covariance_type)
    repeated = GaussianMixture(**parameters).fit(np.repeat(rows, weights, axis=0))
    lazy = da.from_array(rows, chunks=(sizes, -1))
    weighted = GaussianMixture(**parameters).fit(lazy, sample_weight=np.array(weights))
    assert_same_model(weighted, repeated, 1e-11)
    scaled = GaussianMixture(**parameters).fit(lazy, sample_weight=2.0**-7 * np.array(weights))
    assert_same_model(scaled, weighted, 1e-10)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_the_same_bits_whoever_comes_first(make_rows, make_source, given_start, covariance_type):
    # Of two neighbours the second comes first: sums in order of arrival would differ.
    pieces = np.array_split(make_rows(3000) * np.pi, 40)
    parameters = given_start(covariance_type)
    fitted = []
    for n_workers, seconds in ((1, 0.0), (2, 0.001), (7, 0.002)):
        source = make_source(pieces, seconds=lambda index, pause=seconds: pause * (10 - 9 * (index % 2)))
        with dask.config.set(num_workers=n_workers):
            fitted.append(parameters_of(GaussianMixture(**parameters).fit(source)))
        in_order = source.reads == [*range(40)] * 3
        assert in_order == (n_workers == 1)
    with dask.config.set(scheduler="sync"):
        fitted.append(parameters_of(GaussianMixture(**parameters).fit(make_source(pieces))))
    for others in fitted[1:]:
        for one, other in zip(fitted[0], others, strict=True):
            np.testing.assert_array_equal(one, other)


def chunks_of_unknown_size(rows: Any, n_chunks: int) -> Any:
    """Return a dask array whose every chunk is a task of its own."""
    lazy = da.from_array(rows, chunks=(-(-len(rows) // n_chunks), -1))
    return lazy[da.isfinite(lazy[:, 0])]


def on_a_cluster(X: Any, parameters: Any, n_workers: int, **options: Any) -> list[Any]:
    with (
        LocalCluster(n_workers=n_workers, threads_per_worker=1, dashboard_address=None, **options) as cluster,
        Client(cluster),
    ):
        return parameters_of(GaussianMixture(**parameters).fit(X))


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_the_same_bits_on_any_number_of_workers(make_rows, covariance_type, init_params):
    X = chunks_of_unknown_size(make_rows(3000), 20)
    parameters = {
        "n_components": 3,
        "covariance_type": covariance_type,
        "init_params": init_params,
        "random_state": 0,
        "max_iter": 3,
    }
    expected = parameters_of(GaussianMixture(**parameters).fit(X))
    for n_workers in (1, 2, 5):
        for one, other in zip(expected, on_a_cluster(X, parameters, n_workers, processes=False), strict=True):
            np.testing.assert_array_equal(one, other)


@pytest.mark.long
@pytest.mark.parametrize("n_workers", [1, 2, 5])
def test_the_same_bits_in_other_processes(make_rows, n_workers):
    X = chunks_of_unknown_size(make_rows(30_000, 9, 5), 20)
    parameters = {"n_components": 5, "random_state": 0, "n_init": 2, "max_iter": 10}
    expected = parameters_of(GaussianMixture(**parameters).fit(X))
    for one, other in zip(expected, on_a_cluster(X, parameters, n_workers, processes=True), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("init_params", ["kmeans", "random"])
@pytest.mark.parametrize("covariance_type", ["full", "tied"])
def test_the_same_bits_on_any_number_of_blas_threads(make_rows, covariance_type, init_params):
    rows = make_rows(20_000, 40, 2)
    parameters = {"covariance_type": covariance_type, "init_params": init_params, "random_state": 0}
    fitted = []
    for n_threads in (1, 2, 4):
        with threadpool_limits(n_threads, user_api="blas"):
            fitted.append(parameters_of(GaussianMixture(2, max_iter=1, **parameters).fit(rows)))
    for others in fitted[1:]:
        for one, other in zip(fitted[0], others, strict=True):
            np.testing.assert_array_equal(one, other)
