"""What displays draw: the numbers of the artists, not their pixels."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import xarray as xr
from numpy.testing import assert_allclose, assert_array_equal

from dask_gmm import GaussianMixture, GaussianMixtureIC
from dask_gmm.model.covariance import covariance_types

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")

from matplotlib import pyplot  # noqa: E402

from dask_gmm.plotting import (  # noqa: E402
    ConvergenceDisplay,
    CovarianceDisplay,
    MixtureCornerDisplay,
    MixtureDisplay,
    ResponsibilityDisplay,
    SelectionDisplay,
)
from dask_gmm.plotting.sampled_rows import sampled_rows  # noqa: E402


@pytest.fixture(autouse=True)
def closed():
    yield
    pyplot.close("all")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    centres = np.array([[0.0, 0, 0], [4, 2, 0]])
    return rng.normal(size=(600, 3)) + np.repeat(centres, 300, axis=0)


@pytest.fixture(scope="module")
def gm(rows):
    return GaussianMixture(2, random_state=0).fit(pd.DataFrame(rows, columns=["t", "s", "o"]))


@pytest.mark.parametrize("covariance_type", covariance_types())
def test_ellipses_are_at_their_deviations(rows, covariance_type):
    gm = GaussianMixture(2, covariance_type=covariance_type, random_state=0).fit(rows)
    display = MixtureDisplay.from_estimator(gm, rows, features=(2, 0))
    assert len(display.lines_) == 4
    for number, line in enumerate(display.lines_):
        k, deviations = number // 2, 1.0 + number % 2
        outline = np.column_stack(line.get_data()) - gm.means_[k, [2, 0]]
        inverse = np.linalg.inv(display.covariances[k])
        assert_allclose(np.einsum("ij,jk,ik->i", outline, inverse, outline), deviations**2, rtol=1e-9)


def test_features_are_called_by_their_names(gm, rows):
    display = MixtureDisplay.from_estimator(gm, features=("s", "o"))
    assert (display.ax_.get_xlabel(), display.ax_.get_ylabel()) == ("s", "o")
    with pytest.raises(ValueError, match="no feature 'z'"):
        MixtureDisplay.from_estimator(gm, features=("z", "o"))
    with pytest.raises(ValueError, match="no feature 7"):
        MixtureDisplay.from_estimator(gm, features=(7, 0))


def test_they_draw_where_they_are_told(gm):
    figure, ax = pyplot.subplots()
    display = MixtureDisplay.from_estimator(gm, ax=ax)
    assert display.ax_ is ax
    assert display.figure_ is figure


def test_many_components_are_numbered(rows):
    gm = GaussianMixture(20, covariance_type="diag", random_state=0, max_iter=3, tol=10).fit(rows)
    display = MixtureDisplay.from_estimator(gm)
    assert [text.get_text() for text in display.ax_.texts] == [str(k) for k in range(20)]


def test_a_corner_has_every_pair(gm, rows):
    display = MixtureCornerDisplay.from_estimator(gm, pd.DataFrame(rows, columns=["t", "s", "o"]))
    assert display.ax_.shape == (3, 3)
    assert display.ax_[2, 1].get_xlabel() == "s"
    assert display.ax_[2, 0].get_ylabel() == "o"
    x, density = display.ax_[1, 1].lines[-1].get_data()
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=1e-3)
    assert not display.ax_[0, 2].axison


def test_convergence(gm):
    display = ConvergenceDisplay.from_estimator(gm)
    upper, lower = display.ax_
    assert_array_equal(upper.lines[0].get_ydata(), gm.lower_bounds_)
    gains = np.asarray(lower.lines[0].get_ydata())
    expected = np.array([step["gain"] for step in gm.history_.to_dicts()])
    assert_array_equal(gains[1:], expected[1:])
    with pytest.raises(ValueError, match="no history_"):
        ConvergenceDisplay.from_estimator(GaussianMixture.from_sklearn(gm.to_sklearn()))


def test_steps_are_marked():
    step = {"gain": 0.1, "remaining": 0.2, "lower_bound": -1.0}
    kinds = [(False, False), (True, False), (False, True)]
    display = ConvergenceDisplay(
        [
            {**step, "iteration": i + 1, "leap": leap, "rejected": undone}
            for i, (leap, undone) in enumerate(kinds)
        ]
    ).plot()
    labels = {line.get_label(): list(line.get_xdata()) for line in display.ax_[0].lines}
    assert labels["leap"] == [2]
    assert labels["undone step"] == [3]


def test_selection(rows):
    gmic = GaussianMixtureIC([1, 2, 3], covariance_type=("full", "diag"), random_state=0).fit(rows)
    display = SelectionDisplay.from_estimator(gmic)
    full, diag, chosen = display.ax_[0].lines
    assert_array_equal(full.get_xdata(), [1, 2, 3])
    table = pd.DataFrame(gmic.results_)
    assert_allclose(full.get_ydata(), table.query("covariance_type == 'full'")["bic"])
    assert_allclose(diag.get_ydata(), table.query("covariance_type == 'diag'")["bic"])
    assert chosen.get_xdata()[0] == gmic.n_components_


def test_correlations(gm):
    display = CovarianceDisplay.from_estimator(gm)
    for k in range(2):
        shown = np.asarray(display.ax_[k].images[0].get_array())
        deviations = np.sqrt(np.diag(gm.covariances_[k]))
        assert_allclose(shown, gm.covariances_[k] / np.outer(deviations, deviations), rtol=1e-10)
    assert CovarianceDisplay.from_estimator(gm, components=[1]).correlations.shape == (1, 3, 3)


def test_entropies(gm, rows):
    display = ResponsibilityDisplay.from_estimator(gm, rows)
    resp = gm.predict_proba(pd.DataFrame(rows, columns=["t", "s", "o"]))
    assert display.entropy.max() <= 1.0 + 1e-9
    assert_allclose(display.entropy.mean(), -(resp * np.log2(np.maximum(resp, 1e-300))).sum(axis=1).mean())
    grid = xr.Dataset({name: (("y", "x"), rows[:, j].reshape(20, 30)) for j, name in enumerate("tso")})
    mapped = ResponsibilityDisplay.from_estimator(gm, grid)
    assert mapped.entropy.shape == (20, 30)
    assert mapped.ax_.get_xlabel() == "x"


def test_rows_are_sampled_whatever_the_chunks(gm, rows):
    plain = GaussianMixture(2, random_state=0).fit(rows)
    expected = sampled_rows(plain, rows, 100)
    assert expected.shape == (100, 3)
    for size in (70, 600):
        assert_array_equal(sampled_rows(plain, da.from_array(rows, chunks=(size, 3)), 100), expected)
    assert len(sampled_rows(plain, rows, 10_000)) == 600
