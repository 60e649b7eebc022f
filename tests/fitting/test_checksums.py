"""Rows that change from pass to pass stop the fit, whatever stays the same in sum; rounding does not."""

from __future__ import annotations

import os

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import Client, LocalCluster

from dask_gmm import DataError, GaussianMixture, GaussianMixtureIC, from_zarr, read_parquet
from dask_gmm.checkpointing import Checkpoint
from dask_gmm.fitting.checksums import Checksums
from dask_gmm.fitting.passes import Passes
from dask_gmm.model.moments import Moments

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

CHANGED = "The data changed during the fit: "


def correlated(n, dtype=np.float64):
    rng = np.random.default_rng(0)
    a = rng.normal(size=n)
    return np.column_stack([a, 0.95 * a + 0.1 * rng.normal(size=n)]).astype(dtype)


def fit(source, **parameters):
    estimator = GaussianMixture(
        tol=0.0, max_iter=4, random_state=0, init_params="random_from_data", **parameters
    )
    return estimator.fit(source)


@pytest.fixture
def before_pass(monkeypatch):
    """Do something before a pass of a fit: ``before_pass(3, action)``."""

    def before_pass(number, action):
        run = Passes._run

        def counted(self, name, reductions):
            if len(self.records) == number - 1:
                action()
            return run(self, name, reductions)

        monkeypatch.setattr(Passes, "_run", counted)

    return before_pass


def second_column_reversed(rows):
    return np.column_stack([rows[:, 0], rows[::-1, 1]])


def one_chunk_mirrored(rows):
    changed = rows.copy()
    changed[500:600] = 2 * rows[500:600].mean(axis=0) - rows[500:600]
    return changed


def one_chunk_in_single_precision(rows):
    changed = rows.copy()
    changed[500:600] = rows[500:600].astype(np.float32)
    return changed


def one_bit(rows):
    changed = rows.copy()
    changed[555, 1] = np.nextafter(changed[555, 1], np.inf)
    return changed


CHANGES = [second_column_reversed, one_chunk_mirrored, one_chunk_in_single_precision, one_bit]


@pytest.mark.parametrize("change", CHANGES)
def test_a_zarr_array_that_is_written_to(tmp_path, before_pass, change):
    rows = correlated(2000)
    array = zarr.create_array(tmp_path / "x.zarr", data=rows, chunks=(100, 2))
    before_pass(3, lambda: array.set_basic_selection(..., change(rows)))
    with pytest.raises(DataError, match=f"{CHANGED}c/0/0 to c/19/0 held other rows in the first pass"):
        fit(from_zarr(tmp_path / "x.zarr"))


@pytest.mark.parametrize("change", CHANGES)
def test_a_parquet_file_that_is_replaced(tmp_path, before_pass, change):
    rows, path = correlated(1000), tmp_path / "x.parquet"

    def write(values):
        pd.DataFrame(values, columns=["a", "b"]).to_parquet(tmp_path / "new")
        os.replace(tmp_path / "new", path)

    write(rows)
    before_pass(3, lambda: write(change(rows)))
    with pytest.raises(DataError, match=rf"{CHANGED}.*x\.parquet, row group 0 held other rows"):
        fit(read_parquet(path))


@pytest.mark.parametrize("sweep", [False, True])
def test_shared_passes_notice_it_too(tmp_path, before_pass, sweep):
    rows = correlated(1000)
    array = zarr.create_array(tmp_path / "x.zarr", data=rows, chunks=(100, 2))
    before_pass(3, lambda: array.set_basic_selection(..., one_bit(rows)))
    source = from_zarr(tmp_path / "x.zarr")
    estimator = GaussianMixtureIC([1, 2]) if sweep else GaussianMixture(2, n_init=3)
    with dask.config.set({"dask-gmm.start-bytes": "1 kiB"}), pytest.raises(DataError, match=CHANGED):
        estimator.fit(source)


def unseeded(rows):
    return da.map_blocks(
        lambda block: block + np.random.default_rng().normal(scale=1e-3, size=block.shape),
        da.from_array(rows, chunks=(100, 2)),
        dtype=rows.dtype,
    )


@pytest.mark.parametrize("kind", ["array", "frame"])
def test_what_is_computed_otherwise_each_time(kind):
    lazy = unseeded(correlated(1000))
    source = lazy if kind == "array" else lazy.to_dask_dataframe(columns=["a", "b"])
    with pytest.raises(
        DataError, match=r"values of feature [01] were others.*a seed, or keep the rows with cache"
    ):
        fit(source)


def test_what_is_computed_otherwise_is_fitted_where_it_stays():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster),
    ):
        with pytest.raises(DataError, match=CHANGED):
            fit(unseeded(correlated(1000)), cache=False)
        fit(unseeded(correlated(1000)), cache=True)


def test_rounding_of_computed_rows_is_no_change(before_pass):
    rows, seen = correlated(1000), []
    before_pass(3, lambda: seen.append(1))

    def rounded(block):
        return np.nextafter(block, np.inf) if seen else block

    fit(da.map_blocks(rounded, da.from_array(rows, chunks=(100, 2)), dtype=float, meta=np.empty((0, 0))))
    assert seen


@pytest.mark.parametrize("stored", [False, True])
def test_weights_in_another_order(make_source, before_pass, stored):
    source = make_source(np.split(correlated(1000), 2), [np.linspace(1, 2, 500), np.linspace(1, 2, 500)])
    source.stored = stored
    before_pass(3, lambda: source.weights.reverse() or source.weights.append(source.weights.pop()[::-1]))
    with pytest.raises(DataError, match=f"{CHANGED}the weights were others"):
        fit(source)


def test_a_checkpoint_remembers_what_was_read(tmp_path):
    rows = da.from_array(correlated(1000), chunks=(100, 2))
    turned = da.from_array(second_column_reversed(correlated(1000)), chunks=(100, 2))
    fit(rows, checkpoint=tmp_path / "fit")
    fit(rows, checkpoint=tmp_path / "fit")
    with pytest.raises(DataError, match=f"{CHANGED}the values of feature 1"):
        fit(turned, checkpoint=tmp_path / "fit")


def test_a_checkpoint_without_checksums_goes_on(tmp_path, monkeypatch):
    rows = da.from_array(correlated(1000), chunks=(100, 2))
    whole = fit(rows)
    save = Checkpoint.save

    def save_as_before(self, state):
        save(self, state)
        content = (tmp_path / "fit").read_bytes()
        assert b'"checksums"' in content
        if len(state.records) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(Checkpoint, "save", save_as_before)
    with pytest.raises(KeyboardInterrupt):
        fit(rows, checkpoint=tmp_path / "fit")
    load = Checkpoint._restored

    def restored(self, header, *others):
        del header["state"]["FitState"]["checksums"]
        return load(self, header, *others)

    monkeypatch.setattr(Checkpoint, "save", save)
    monkeypatch.setattr(Checkpoint, "_restored", restored)
    np.testing.assert_array_equal(fit(rows, checkpoint=tmp_path / "fit").means_, whole.means_)


def test_the_checksum_changes_no_bit(tmp_path, monkeypatch):
    zarr.create_array(tmp_path / "x.zarr", data=correlated(2000), chunks=(100, 2))
    source = from_zarr(tmp_path / "x.zarr")
    with_it = fit(source)
    monkeypatch.setattr("dask_gmm.mixture.fit_rows.Checksum", lambda *_: None)
    without = fit(source)
    for name in ("means_", "covariances_", "weights_", "lower_bounds_"):
        np.testing.assert_array_equal(getattr(with_it, name), getattr(without, name))


def test_sums_that_overflow_are_not_compared():
    moments = Moments.zero(2, scatter=False).with_rows(correlated(10), None)
    before = Checksums(np.zeros(1, np.uint64), np.array([np.inf, 1.0, 0.0]))
    later = Checksums(before.groups, np.array([np.nan, np.nan, 0.0]))
    assert before.moved(before, moments, np.dtype(float)).tolist() == []
    assert before.moved(later, moments, np.dtype(float)).tolist() == [1]
