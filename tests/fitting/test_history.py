"""What a fit tells of its way, and of how far from done it stopped."""

from __future__ import annotations

import base64
import logging
import pickle
import warnings

import dask.array as da
import numpy as np
import pytest
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture as Reference

from dask_gmm import GaussianMixture
from dask_gmm.fitting.convergence import gap_advice, negligible_gap, passes_left, remaining_gap
from dask_gmm.fitting.history import History


@pytest.fixture(scope="module")
def rows(make_rows):
    return make_rows(20_000, 3, 4, spread=1.8, seed=1)


def fit(X, **parameters):
    return GaussianMixture(4, random_state=0, **parameters).fit(X)


def test_gains_that_shrink_by_a_constant_ratio_add_up():
    gains = [0.9**i for i in range(10)]
    np.testing.assert_allclose(remaining_gap(gains, -5.0), sum(0.9**i for i in range(10, 2000)))


@pytest.mark.parametrize(
    "gains", [[], [1.0], [np.inf], [np.inf, 0.5], [0.5, 1.0], [1.0, -0.5], [np.nan, 1.0], [0.5, 0.5]]
)
def test_nothing_is_said_where_nothing_can_be_said(gains):
    assert np.isnan(remaining_gap(gains, -5.0))


def test_a_gain_of_rounding_is_the_end():
    assert remaining_gap([np.inf, 1e-16], -5.0) == 0.0


def test_what_does_not_disturb_a_comparison():
    # A tenth of the criterion's penalty, in nats a row.
    for criterion in ("bic", "icl"):
        assert negligible_gap(criterion, 50, 1e6) == pytest.approx(0.1 * 50 * np.log(1e6) / 2 / 1e6)
    assert negligible_gap("aic", 50, 1e6) == pytest.approx(0.1 * 50 / 1e6)


def test_a_ratio_that_grows_towards_one_is_a_plateau():
    # 0.4, then 0.8: the next gain may well be larger than the last.
    assert np.isnan(remaining_gap([1.0, 0.4, 0.32], -5.0))
    # 0.4, then 0.5: 0.6 to come.
    assert remaining_gap([1.0, 0.4, 0.2], -5.0) == pytest.approx(0.2 * 0.6 / 0.4)


@pytest.mark.parametrize("accelerate", [False, True])
def test_the_estimate_is_of_the_right_size(rows, accelerate):
    history = fit(rows, tol=1e-12, max_iter=5000, accelerate=accelerate).history_.to_frame()
    left = history.lower_bound.max() - history.lower_bound
    estimate = history.remaining
    told = (left < 1e-2) & (left > 1e-7) & estimate.notna() & ~history.rejected
    ratio = estimate[told] / left[told]
    assert len(ratio) > 15
    # An acceleration knows less of what lies ahead, and says rather too much.
    assert (ratio > 0.2).all()
    assert ratio.median() < (30.0 if accelerate else 3.0)


def test_a_table_with_one_line_an_iteration(rows):
    fitted = fit(rows, n_init=2)
    frame = fitted.history_.to_frame()
    assert len(frame) == fitted.n_iter_
    np.testing.assert_array_equal(frame.lower_bound, fitted.lower_bounds_)
    np.testing.assert_allclose(frame.gain[1:], np.diff(fitted.lower_bounds_))
    assert not frame.rejected.any()
    assert set(frame.n_bytes) == {rows.nbytes}
    assert (frame.seconds > 0).all()
    every = fitted.history_.to_frame(all_restarts=True)
    assert set(every.restart) == {0, 1}
    # Restarts on rows in memory run one after another.
    assert list(every.pass_number) == list(range(len(every)))
    assert len(fitted.history_.passes) == len(every)
    assert fitted.history_.n_bytes == rows.nbytes * len(every)
    assert fitted.history_.seconds == pytest.approx(every.seconds.sum())


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_restarts_that_share_passes(rows):
    X, options = da.from_array(rows, chunks=(7000, -1)), {"init_params": "random", "max_iter": 5, "tol": 0}
    fitted = fit(X, n_init=3, cache=False, **options)
    every = fitted.history_.to_frame(all_restarts=True)
    # The first pass was the survey for the starts.
    assert [list(group.pass_number) for _, group in every.groupby("restart")] == [[1, 2, 3, 4, 5]] * 3
    assert fitted.history_.n_bytes == 6 * rows.nbytes
    # Rows that stay in memory are read in the first pass only.
    kept = fit(X, n_init=3, **options).history_
    assert [record.n_bytes for record in kept.passes] == [rows.nbytes, 0, 0, 0, 0, 0]


def test_sizes_that_nobody_knows(make_source, make_rows):
    assert fit(make_source(np.array_split(make_rows(), 3))).history_.n_bytes is None


@pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")
def test_its_text(rows):
    assert "20 iterations, 20 passes" in repr(fit(rows, max_iter=20, tol=0).history_)


def test_without_iterations(rows):
    fitted = fit(rows, max_iter=0)
    assert fitted.history_.to_dicts() == []
    assert np.isnan(fitted.history_.remaining)


def test_nothing_is_advised_where_little_is_left():
    assert gap_advice(1e-9, 1e-8, 50, 1e6, accelerated=False) is None
    assert gap_advice(1e-9, np.nan, 50, 1e6, accelerated=False) is None


def test_advice_says_how_much_and_what_to_change():
    advice = gap_advice(1e-4, 2e-3, 50, 1e6, accelerated=False)
    assert "0.002 nats a row are left to gain, 2e+03 over all rows" in advice
    # A tenth of what AIC charges, which is less: so it is enough for both.
    assert "BIC charges 3e+02 nats for all parameters and AIC 5e+01" in advice
    assert "tol=1e-07" in advice
    assert "accelerate=True" in advice
    assert "accelerate=True" not in gap_advice(1e-4, 2e-3, 50, 1e6, accelerated=True)


def test_the_advised_tolerance_is_enough(make_rows):
    rows = make_rows(100_000, 3, 4, spread=1.8, seed=1)
    stopped = fit(rows)
    iteration = stopped.history_.to_dicts()[-1]
    advice = gap_advice(
        iteration["gain"], iteration["remaining"], stopped._n_parameters(), len(rows), accelerated=False
    )
    tol = float(advice.split("tol=")[1].split()[0])
    better = fit(rows, tol=tol, max_iter=3000)
    assert better.history_.remaining < negligible_gap("aic", better._n_parameters(), len(rows))


@pytest.mark.parametrize("lazy", [False, True])
def test_a_fit_that_met_its_tolerance_warns_of_nothing(make_rows, caplog, lazy):
    rows = make_rows(100_000, 3, 4, spread=1.8, seed=1)
    rows = da.from_array(rows, chunks=(30_000, -1)) if lazy else rows
    with warnings.catch_warnings(), caplog.at_level(logging.INFO, logger="dask_gmm"):
        warnings.simplefilter("error")
        fit(rows)
    assert "nats a row are left to gain" in caplog.text


def test_no_convergence_is_told_in_scikit_learns_words_first(rows):
    with pytest.warns(ConvergenceWarning) as theirs:
        Reference(4, random_state=0, max_iter=8).fit(rows)
    with pytest.warns(ConvergenceWarning) as ours:
        fit(rows, max_iter=8)
    (ours,), (theirs,) = ours, theirs
    assert str(ours.message).startswith(str(theirs.message))
    assert "left to gain" in str(ours.message)
    assert ours.filename == __file__


def test_passes_left():
    assert passes_left([], np.nan, 1e-3, None) is None
    assert passes_left([np.inf, 1.0], np.nan, 1e-3, None) is None
    # Gains halve: 0.5 now, below 0.1 after three more.
    assert passes_left([1.0, 0.5], 0.5, 0.1, None) == 3
    assert passes_left([1.0, 0.05], 0.5, 0.1, None) == 0
    # What is left halves too, and must be below 0.01.
    assert passes_left([1.0, 0.5], 0.5, 0.1, 0.01) == 6
    assert passes_left([1.0, 0.05], np.nan, 0.1, 0.01) is None
    # Gains that grow, and a tolerance that is never met, say nothing.
    assert passes_left([0.1, 0.9], 1.0, 0.1, None) is None
    assert passes_left([1.0, 0.5], 0.5, 0.0, None) is None


# Of two iterations, pickled by an earlier release.
PICKLED = (
    "gASV/gAAAAAAAACMGGRhc2tfZ21tLmZpdHRpbmcuaGlzdG9yeZSMB0hpc3RvcnmUk5QpgZRdlChLAIwTZGFza19nbW0uZml0dGlu"
    "Zy5lbZSMCUl0ZXJhdGlvbpSTlCmBlF2UKEfAAAAAAAAAAEd/8AAAAAAAAEd/+AAAAAAAAIlLAIllYmgHKYGUXZQoR7/4AAAAAAAA"
    "Rz/gAAAAAAAARz/QAAAAAAAAiUsBiGVihpSFlIwXZGFza19nbW0uZml0dGluZy5wYXNzZXOUjApQYXNzUmVjb3JklJOUKYGUXZQo"
    "Rz/4AAAAAAAAS1BlYmgQKYGUXZQoRz/gAAAAAAAATmVihpRLAGViLg=="
)


def test_a_pickled_history_of_an_earlier_release_loads():
    history = pickle.loads(base64.b64decode(PICKLED))
    assert isinstance(history, History)
    assert history.to_frame().lower_bound.tolist() == [-2.0, -1.5]
    assert history.to_frame().leap.tolist() == [False, True]
    assert (history.seconds, history.n_bytes, history.remaining) == (2.0, None, 0.25)
