"""When a restart ends, and which one is best."""

from __future__ import annotations

import numpy as np
import pytest

from dask_gmm.fitting.em import Iteration, Run, best_of
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.parameters import Parameters

START = Parameters.from_covariances("spherical", [1.0], [[0.0]], [1.0])
END = Parameters.from_covariances("spherical", [1.0], [[1.0]], [2.0])


def after(*bounds, tol=0.1, max_iter=10, previous_bound=-np.inf):
    run = Run(0, START, previous_bound)
    for bound in bounds:
        assert run.ending is None
        run = run.advance(bound, END, run.n_iter, Stopping(max_iter, tol))
    return run


def test_an_iteration_takes_the_new_parameters_and_the_bound_of_the_old():
    run = after(-5.0)
    assert run.parameters is END
    assert run.lower_bounds == (-5.0,)
    assert (run.n_iter, run.lower_bound, run.change) == (1, -5.0, np.inf)


@pytest.mark.parametrize(
    ("bounds", "ending"),
    [
        ((-5.0,), None),
        ((-5.0, -4.0), None),
        ((-5.0, -4.95), "converged"),
        # A bound that falls may converge too, by its size; one that falls far does not.
        ((-5.0, -5.05), "converged"),
        ((-5.0, -6.0), None),
        # A change of exactly the tolerance is not below it.
        ((-5.0, -4.875), None),
    ],
)
def test_convergence(bounds, ending):
    assert after(*bounds, tol=0.125).ending == ending


def test_a_tolerance_of_zero_is_never_met():
    assert after(-5.0, -5.0, -5.0, tol=0.0, max_iter=3).ending == "max_iter"


def test_iterations_are_counted():
    assert after(-5.0, -4.0, max_iter=3).ending is None
    assert after(-5.0, -4.0, -3.0, max_iter=3).ending == "max_iter"
    assert after(-5.0, -4.99, max_iter=2).ending == "converged"


def test_a_warm_start_compares_with_the_bound_before():
    assert after(-4.95, previous_bound=-5.0).ending == "converged"
    assert after(-3.0, previous_bound=-5.0).change == 2.0


def test_the_best_is_the_first_of_the_highest():
    runs = [
        Run(number, START, iterations=(Iteration(bound, np.inf, np.nan, False, 0),))
        for number, bound in enumerate((-3.0, -1.0, -2.0, -1.0))
    ]
    assert best_of(runs).number == 1


def test_without_iterations_the_last_start_is_taken():
    assert best_of([Run(number, START) for number in range(3)]).number == 2
