"""Numbered tasks on threads: each once, results in order, the first error, and nobody left behind."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import dask
import pytest

from dask_gmm.data.parallel import Threads


@pytest.fixture(params=[1, 2, 5])
def threads(request):
    with closing(Threads(request.param)) as threads:
        yield threads


def test_results_are_in_order_and_each_task_runs_once(threads):
    ran = []

    def task(number):
        time.sleep(0.001 * (number % 3))
        ran.append(number)
        return number**2

    for n_tasks in (40, 1, 0):
        ran.clear()
        assert threads.run(n_tasks, task) == [number**2 for number in range(n_tasks)]
        assert sorted(ran) == list(range(n_tasks))


def test_the_caller_works_with_the_others():
    barrier, workers = threading.Barrier(3), set()

    def task(number):
        workers.add(threading.current_thread())
        barrier.wait(timeout=10)  # passed only with three tasks at once

    with closing(Threads(3)) as threads:
        threads.run(3, task)
    assert len(workers) == 3
    assert threading.current_thread() in workers


def test_finished_tasks_are_told_in_the_calling_thread(threads):
    told = []
    threads.run(20, lambda number: None, lambda number: told.append((number, threading.current_thread())))
    assert sorted(number for number, _ in told) == list(range(20))
    assert {thread for _, thread in told} == {threading.current_thread()}


def test_the_error_is_that_of_the_first_task(threads):
    ran = []

    def task(number):
        ran.append(number)
        # The later one fails first.
        time.sleep(0.05 if number == 4 else 0.001)
        if number in (4, 5):
            raise ValueError(f"task {number}")

    with pytest.raises(ValueError, match="task 4"):
        threads.run(1000, task)
    assert len(ran) < 100
    assert threads.run(3, lambda number: number) == [0, 1, 2]


def test_an_interrupt_does_not_wait(threads):
    def task(number):
        time.sleep(0.01)
        if threading.current_thread() is threading.main_thread():
            raise KeyboardInterrupt

    began = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        threads.run(10_000, task)
    assert time.monotonic() - began < 5


def test_the_configuration_says_how_many():
    with dask.config.set(num_workers=7):
        assert Threads().n_threads == 7
        assert Threads(2).n_threads == 2


def test_closing_lets_the_threads_go():
    before = set(threading.enumerate())
    threads = Threads(4)
    threads.run(8, lambda number: time.sleep(0.01))
    started = set(threading.enumerate()) - before
    assert 1 <= len(started) <= 4
    threads.close()
    for thread in started:
        thread.join(timeout=10)
        assert not thread.is_alive()
