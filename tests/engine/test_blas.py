"""One BLAS thread while any task runs, and as many as before when none does."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from dask_gmm.engine.blas import SingleBlasThread


def blas_threads():
    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


@pytest.fixture(autouse=True)
def three_threads():
    with threadpool_limits(3, user_api="blas"):
        yield


def test_one_thread_inside_only():
    assert blas_threads() == {3}
    with SingleBlasThread():
        assert blas_threads() == {1}
        with SingleBlasThread():
            assert blas_threads() == {1}
        assert blas_threads() == {1}
    assert blas_threads() == {3}


def test_an_error_lifts_the_limit():
    with pytest.raises(RuntimeError), SingleBlasThread():
        raise RuntimeError
    assert blas_threads() == {3}


def test_tasks_that_overlap():
    def task(number):
        with SingleBlasThread():
            return blas_threads()

    with ThreadPoolExecutor(8) as executor:
        assert all(threads == {1} for threads in executor.map(task, range(200)))
    assert blas_threads() == {3}


def test_whichever_thread_set_a_limit_before():
    def task():
        with SingleBlasThread():
            return blas_threads()

    with ThreadPoolExecutor(1) as first, ThreadPoolExecutor(1) as second:
        for executor in (first, second, first):
            assert executor.submit(task).result() == {1}
            assert executor.submit(blas_threads).result() == {3}
    # The main thread may set limits again.
    with threadpool_limits(2, user_api="blas"):
        assert blas_threads() == {2}
