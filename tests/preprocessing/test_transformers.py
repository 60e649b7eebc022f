"""StandardScaler and PCA say what scikit-learn's say, of data of every kind."""

from __future__ import annotations

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.decomposition
import sklearn.preprocessing
import zarr
from distributed import Client
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.utils.estimator_checks import parametrize_with_checks

from dask_gmm import DataError, from_zarr, read_parquet
from dask_gmm.preprocessing import PCA, StandardScaler
from dask_gmm.preprocessing.feature_moments import FeatureSurvey
from tests.engine.reduction_contract import N_FEATURES, ReductionContract

SCALER = ("mean_", "var_", "scale_", "n_samples_seen_")
COMPONENTS = (
    *("mean_", "components_", "explained_variance_", "explained_variance_ratio_"),
    *("singular_values_", "noise_variance_", "n_components_", "n_samples_"),
)


# Fewer rows than features leave directions without variance, which rounding turns about.
_TURNED = "components beyond the rank of the rows are arbitrary"
EXPECTED = {
    "check_sample_weight_equivalence_on_dense_data": _TURNED,
    "check_sample_weight_equivalence_on_sparse_data": _TURNED,
}


@parametrize_with_checks(
    [StandardScaler(), PCA()],
    expected_failed_checks=lambda estimator: EXPECTED if isinstance(estimator, PCA) else {},
)
def test_scikit_learns_estimator_checks(estimator, check):
    check(estimator)


def correlated(n_rows=600, d=4, offset=0.0, seed=0):
    rng = np.random.default_rng(seed)
    return offset + rng.normal(size=(n_rows, d)) @ (np.eye(d) + 0.4 * rng.normal(size=(d, d)))


def assert_attributes(ours, theirs, names, rtol=1e-10):
    for name in names:
        found, expected = getattr(ours, name), getattr(theirs, name)
        if expected is None:
            assert found is None
            continue
        assert_allclose(found, expected, rtol=rtol, atol=1e-12, err_msg=name)
        assert np.asarray(found).dtype.kind == np.asarray(expected).dtype.kind, name


def as_dask(rows, folder):
    return da.from_array(rows, chunks=(170, 2))


def as_frame(rows, folder):
    return dd.from_pandas(pd.DataFrame(rows, columns=list("abcd")[: rows.shape[1]]), npartitions=4)


def as_zarr(rows, folder):
    zarr.create_array(folder / "x.zarr", data=rows, chunks=(170, 2))
    return folder / "x.zarr"


def as_parquet(rows, folder):
    pd.DataFrame(rows, columns=list("abcd")[: rows.shape[1]]).to_parquet(
        folder / "x.parquet", row_group_size=130
    )
    return read_parquet(folder / "x.parquet")


KINDS = pytest.mark.parametrize("kind", [as_dask, as_frame, as_zarr, as_parquet])


@KINDS
@pytest.mark.parametrize("parameters", [{}, {"with_mean": False}, {"with_std": False}])
def test_scaler(kind, parameters, tmp_path):
    rows = correlated()
    X = kind(rows, tmp_path)
    theirs = sklearn.preprocessing.StandardScaler(**parameters).fit(rows)
    ours = StandardScaler(**parameters).fit(X)
    assert_attributes(ours, theirs, SCALER)
    there = ours.transform(X)
    rows_there = there.to_dask() if hasattr(there, "to_dask") else there
    assert_allclose(np.asarray(rows_there.compute()), theirs.transform(rows), rtol=1e-10, atol=1e-12)
    back = ours.inverse_transform(there)
    rows_back = back.to_dask() if hasattr(back, "to_dask") else back
    assert_allclose(np.asarray(rows_back.compute()), rows, rtol=1e-10)


@KINDS
@pytest.mark.parametrize(
    "parameters", [{}, {"n_components": 2}, {"n_components": 0.8}, {"n_components": "mle"}, {"whiten": True}]
)
def test_pca(kind, parameters, tmp_path):
    rows = correlated()
    X = kind(rows, tmp_path)
    theirs, ours = sklearn.decomposition.PCA(**parameters).fit(rows), PCA(**parameters).fit(X)
    assert_attributes(ours, theirs, COMPONENTS)
    there = ours.transform(X)
    there = there.to_dask() if hasattr(there, "to_dask") else there
    assert_allclose(np.asarray(there.compute()), theirs.transform(rows), rtol=1e-9, atol=1e-10)
    assert ours.score(rows) == pytest.approx(theirs.score(rows), rel=1e-10)


@pytest.mark.parametrize("lazy", [False, True])
def test_an_offset_costs_no_digits(lazy):
    rows = np.round(correlated() * 2**20) / 2**20
    far = rows + 2.0**27
    X = da.from_array(far, chunks=(170, 4)) if lazy else far
    assert_allclose(StandardScaler().fit(X).var_, rows.var(axis=0), rtol=1e-8)
    ours, theirs = PCA().fit(X), sklearn.decomposition.PCA(svd_solver="full").fit(rows)
    assert_allclose(ours.explained_variance_, theirs.explained_variance_, rtol=1e-8)
    assert_allclose(ours.components_, theirs.components_, rtol=1e-7)
    there = ours.transform(X)
    # The mean itself is rounded at the offset's size.
    assert_allclose(np.asarray(there), theirs.transform(rows), atol=1e-7)


@pytest.mark.parametrize("estimator", [StandardScaler(), PCA()])
def test_weights_are_repetitions(estimator):
    rows = correlated(200)
    weights = np.random.default_rng(1).integers(0, 4, size=200)
    repeated = np.repeat(rows, weights, axis=0)
    lazy = da.from_array(rows, chunks=(77, 4))
    names = SCALER if isinstance(estimator, StandardScaler) else COMPONENTS
    expected = estimator.fit(da.from_array(repeated, chunks=(100, 4)))
    expected = {name: getattr(expected, name) for name in names}
    for X, w in ((rows, weights), (lazy, weights), (lazy, da.from_array(weights, chunks=50))):
        found = estimator.fit(X, sample_weight=w)
        for name in names:
            assert_allclose(getattr(found, name), expected[name], rtol=1e-9, atol=1e-12, err_msg=name)


def test_a_nan_is_no_value_for_the_scaler():
    rows = correlated(300)
    rows[np.random.default_rng(2).random(rows.shape) < 0.2] = np.nan
    rows[:100, 0] = np.nan
    theirs = sklearn.preprocessing.StandardScaler().fit(rows)
    X = da.from_array(rows, chunks=(90, 4))
    ours = StandardScaler().fit(X)
    assert_attributes(ours, theirs, SCALER)
    assert_allclose(ours.transform(X).compute(), theirs.transform(rows), rtol=1e-10, atol=1e-12)


def test_pca_refuses_or_drops_a_nan():
    rows = correlated(300)
    rows[17, 1] = np.nan
    X = da.from_array(rows, chunks=(90, 4))
    with pytest.raises(DataError, match="row 17"):
        PCA().fit(X)
    ours = PCA(nan="drop").fit(X)
    assert_attributes(ours, sklearn.decomposition.PCA().fit(np.delete(rows, 17, axis=0)), COMPONENTS)
    assert np.isnan(ours.transform(X).compute()[17]).all()
    with pytest.raises(ValueError, match="'nan' parameter"):
        PCA(nan="fill").fit(X)


@pytest.mark.parametrize("estimator", [StandardScaler(), PCA()])
def test_infinity_is_an_error(estimator):
    rows = correlated(300)
    rows[250, 2] = np.inf
    with pytest.raises(DataError, match="row 250"):
        estimator.fit(da.from_array(rows, chunks=(90, 4)))


def test_partial_fits_add_up():
    rows = correlated(500)
    parts = [rows[:100], da.from_array(rows[100:350], chunks=(60, 4)), rows[350:]]
    scaler, pca = StandardScaler(), PCA(2)
    for part in parts:
        scaler.partial_fit(part)
        pca.partial_fit(part)
    assert_attributes(scaler, sklearn.preprocessing.StandardScaler().fit(rows), SCALER)
    assert_attributes(pca, sklearn.decomposition.PCA(2).fit(rows), COMPONENTS)
    with pytest.raises(ValueError, match="features"):
        pca.partial_fit(rows[:, :2])


def test_a_constant_feature_stays():
    rows = correlated(300)
    rows[:, 1] = 7.0
    theirs = sklearn.preprocessing.StandardScaler().fit(rows)
    assert_attributes(StandardScaler().fit(da.from_array(rows, chunks=(90, 4))), theirs, SCALER)


def test_too_many_components_are_refused():
    with pytest.raises(ValueError, match="n_components=5 must be between 0 and"):
        PCA(5).fit(da.from_array(correlated(), chunks=(170, 4)))


def test_float32_rows_stay_float32():
    rows = correlated().astype(np.float32)
    X = da.from_array(rows, chunks=(170, 4))
    ours, theirs = PCA(2).fit(X), sklearn.decomposition.PCA(2).fit(rows)
    assert ours.components_.dtype == ours.transform(X).dtype == theirs.components_.dtype == np.float32
    assert_allclose(np.abs(ours.components_), np.abs(theirs.components_), rtol=1e-3)
    assert StandardScaler().fit(X).transform(X).compute().dtype == np.float32


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(1, 200), min_size=1, max_size=6), st.booleans())
def test_any_chunking(sizes, holes):
    rows = correlated(sum(sizes) + 3, 3)
    if holes:
        rows[::3, 1] = np.nan
    X = da.from_array(rows, chunks=((*sizes, 3), (3,)))
    assert_attributes(StandardScaler().fit(X), sklearn.preprocessing.StandardScaler().fit(rows), SCALER)


@pytest.mark.parametrize("estimator", [StandardScaler(), PCA()])
def test_the_same_bits_on_a_cluster(estimator, tmp_path):
    X = from_zarr(as_zarr(correlated(2000), tmp_path))
    on_threads = estimator.fit(X)
    names = [name for name in (*SCALER, *COMPONENTS) if hasattr(on_threads, name)]
    bits = [np.asarray(getattr(on_threads, name)).tobytes() for name in names]
    with Client(
        processes=False, n_workers=2, threads_per_worker=1, dashboard_address=None, memory_limit=None
    ):
        on_cluster = estimator.fit(X)
        assert [np.asarray(getattr(on_cluster, name)).tobytes() for name in names] == bits


def test_a_failed_fit_changes_nothing():
    rows = correlated()
    scaler = StandardScaler().fit(da.from_array(rows, chunks=(170, 4)))
    before = scaler.mean_.copy()
    rows[3, 3] = np.inf
    with pytest.raises(DataError):
        scaler.fit(da.from_array(rows[:, 1:], chunks=(170, 3)))
    assert_array_equal(scaler.mean_, before)
    assert scaler.n_features_in_ == 4


class TestFeatureSurvey(ReductionContract):
    @pytest.fixture
    def reduction(self):
        return FeatureSurvey(N_FEATURES)
