"""A threshold by a share of the rows, and what the rows of each component are like."""

from __future__ import annotations

import copy

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture, write_predictions
from dask_gmm.errors import DataError

RNG = np.random.default_rng(0)
ROWS = RNG.normal(size=(3000, 2)) * [1, 2] + 6.0 * RNG.integers(0, 3, size=(3000, 1))
FRAME = pd.DataFrame(ROWS, columns=["x", "y"])
WEIGHTS = RNG.integers(0, 3, size=3000).astype(float)


@pytest.fixture(scope="module")
def gm():
    return GaussianMixture(3, random_state=0).fit(FRAME)


@pytest.mark.parametrize("share", [0.005, 0.1, 0.5])
def test_that_share_of_the_rows_is_below(share):
    gm = GaussianMixture(3, random_state=0, contamination=share).fit(ROWS)
    assert (gm.score_samples(ROWS) < gm.threshold_).mean() == pytest.approx(share, abs=1 / 3000)


def test_many_rows():
    rows = RNG.normal(size=(200_000, 2))
    gm = GaussianMixture(1, contamination=0.005).fit(da.from_array(rows, chunks=(9000, 2)))
    assert (gm.score_samples(rows) < gm.threshold_).mean() == pytest.approx(0.005, abs=1e-4)


def test_the_fit_is_the_same_with_and_without():
    plain = GaussianMixture(3, random_state=0).fit(ROWS)
    found = GaussianMixture(3, random_state=0, contamination=0.01).fit(ROWS)
    assert found.means_.tobytes() == plain.means_.tobytes()
    assert found.n_iter_ == plain.n_iter_
    assert not hasattr(plain, "threshold_")
    assert not hasattr(found.set_params(contamination=None).fit(ROWS), "threshold_")


def test_the_same_bits_on_a_cluster():
    X = da.from_array(ROWS, chunks=(170, 2))
    expected = GaussianMixture(3, random_state=0, contamination=0.01).fit(X)
    table = expected.summarize(X).to_frame()
    with LocalCluster(n_workers=2, processes=False, dashboard_address=None) as cluster, Client(cluster):
        found = GaussianMixture(3, random_state=0, contamination=0.01).fit(X)
        assert found.threshold_ == expected.threshold_
        pd.testing.assert_frame_equal(found.summarize(X).to_frame(), table, check_exact=True)


def test_it_is_saved_and_used(tmp_path):
    gm = GaussianMixture(3, random_state=0, contamination=0.01).fit(FRAME)
    gm.save(tmp_path / "m.gmm")
    loaded = GaussianMixture.load(tmp_path / "m.gmm")
    assert loaded.threshold_ == gm.threshold_
    done = write_predictions(loaded, FRAME, tmp_path / "odd.parquet", only_anomalies=True)
    assert done.n_anomalies == (gm.score_samples(FRAME) < gm.threshold_).sum() == 30


@pytest.mark.parametrize("share", [0.0, 0.6, -0.1, "auto"])
def test_other_shares_are_refused(share):
    with pytest.raises(ValueError, match="contamination"):
        GaussianMixture(contamination=share).fit(ROWS)


def test_infinite_weights_leave_the_estimator_as_it_was(gm):
    gm, bad = copy.deepcopy(gm), WEIGHTS.copy()
    bad[5] = np.inf
    before = gm.means_.tobytes()
    with pytest.raises(ValueError, match=r"sample_weight|infinity"):
        gm.set_params(contamination=0.1).fit(ROWS, sample_weight=bad)
    assert gm.means_.tobytes() == before


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("kind", ["numpy", "pandas", "dask array", "dask frame"])
def test_against_pandas(gm, kind, weighted):
    X = {
        "numpy": ROWS,
        "pandas": FRAME,
        "dask array": da.from_array(ROWS, chunks=(700, 2)),
        "dask frame": dd.from_pandas(FRAME, npartitions=5),
    }[kind]
    model = GaussianMixture(3, random_state=0).fit(ROWS) if kind in ("numpy", "dask array") else gm
    shares = (0.01, 0.5, 0.99)
    found = model.summarize(X, shares, sample_weight=WEIGHTS if weighted else None)
    labels, densities = gm.predict(FRAME), gm.score_samples(FRAME)
    times = WEIGHTS.astype(int) if weighted else np.ones(3000, dtype=int)
    for component in range(3):
        here = labels == component
        rows = np.repeat(ROWS[here], times[here], axis=0)
        assert found.n_rows[component] == here.sum()
        assert found.weight[component] == len(rows)
        np.testing.assert_allclose(found.mean[component], rows.mean(axis=0), rtol=1e-9)
        np.testing.assert_allclose(found.std[component], rows.std(axis=0), rtol=1e-9)
        np.testing.assert_array_equal(found.min[component], rows.min(axis=0))
        np.testing.assert_array_equal(found.max[component], rows.max(axis=0))
        ranks = [(rows[:, j] < found.quantiles[component, j, :, np.newaxis]).mean(axis=1) for j in range(2)]
        np.testing.assert_allclose(ranks, [shares, shares], atol=0.01)
    below = [(np.repeat(densities, times) < level).mean() for level in found.log_density]
    np.testing.assert_allclose(below, shares, atol=0.002)
    names = found.to_frame().index.get_level_values("feature").unique()
    assert list(names) == (["x", "y"] if kind in ("pandas", "dask frame") else ["x0", "x1"])


def test_components_without_rows_have_nan(gm):
    found = gm.summarize(FRAME[gm.predict(FRAME) == 1])
    assert list(found.n_rows > 0) == [False, True, False]
    assert np.isnan(found.mean[0]).all()
    assert np.isnan(found.quantiles[2]).all()


def test_what_cannot_be_summarized(gm):
    with pytest.raises(ValueError, match="between 0 and 1"):
        gm.summarize(FRAME, [0.5, 1.5])
    with pytest.raises(DataError, match="positive weight"):
        gm.summarize(dd.from_pandas(FRAME, npartitions=2), sample_weight=np.zeros(3000))
