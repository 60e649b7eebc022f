"""The specification of a fit, and what a fit tells of itself before it begins."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.data.in_memory import ArraySource
from dask_gmm.mixture.specification import fit_spec


class Passes:
    """Notes how many passes a fit announces and makes."""

    def __init__(self):
        self.announced, self.made = None, 0

    def setup(self, estimator, context):
        self.announced = context.max_subtasks

    def teardown(self, estimator, context):
        pass

    def on_fit_task_begin(self, estimator, context):
        pass

    def on_fit_task_end(self, estimator, context, *, fitted_estimator=None):
        self.made += context.parent is not None and context.parent.parent is None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
@pytest.mark.parametrize("in_memory", [True, False])
@pytest.mark.parametrize("kind", [GaussianMixture, GaussianMixtureIC])
def test_no_more_passes_than_announced(make_rows, make_source, kind, in_memory):
    rows = make_rows()
    X = rows if in_memory else make_source(np.array_split(rows, 3))
    passes = Passes()
    n_components = 4 if kind is GaussianMixture else (3, 4)
    estimator = kind(n_components, init_params="random", random_state=0, n_init=3, max_iter=5, tol=0.0)
    estimator.set_callbacks(passes).fit(X)
    # Rows in memory need no pass for the start, and their restarts share none.
    made = (3 * 5 if in_memory else 1 + 5) + (kind is GaussianMixtureIC)
    assert passes.made == made
    assert passes.announced == made + in_memory


def test_the_specification_is_made_once(make_rows):
    rows = make_rows()
    estimator = GaussianMixture(2, tol=0.5, n_init=3, means_init=rows[:2].tolist())
    spec = fit_spec(estimator, ArraySource(rows), {})
    estimator.set_params(tol=0.1, n_init=1, means_init=None, checkpoint="elsewhere")
    (settings,) = spec.mixtures
    assert (settings.tol, settings.n_init, spec.checkpoint) == (0.5, 3, None)
    np.testing.assert_array_equal(settings.start.means, rows[:2])
    with pytest.raises(dataclasses.FrozenInstanceError):
        spec.cache = True


def test_warnings_of_a_selection_point_at_the_caller(make_rows):
    with pytest.warns(ConvergenceWarning) as caught:
        GaussianMixtureIC((2, 3), max_iter=1).fit(make_rows())
    assert caught[0].filename == __file__
