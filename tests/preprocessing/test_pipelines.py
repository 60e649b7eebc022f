"""A pipeline of scaling, components and mixture, over data of every kind."""

from __future__ import annotations

import dask.array as da
import numpy as np
import pandas as pd
import pytest
import sklearn.decomposition
import sklearn.mixture
import sklearn.preprocessing
import xarray as xr
import zarr
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer

from dask_gmm import GaussianMixture, ModelFileError, from_xarray, from_zarr, read_parquet, write_predictions
from dask_gmm.data.abilities import HasCoordinates, KeepsKeys
from dask_gmm.data.mapped import RowMapping, map_source
from dask_gmm.preprocessing import PCA, StandardScaler, load_pipeline, map_rows, save_pipeline, to_sklearn
from tests.data.source_contract import SourceContract
from tests.test_reads import CountingStore

N, D = 900, 4


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(4)
    centres = np.array([[0.0, 0, 0, 0], [30.0, 0.1, -5, 1]])
    noise = rng.normal(size=(N, D)) @ (np.eye(D) + 0.3 * rng.normal(size=(D, D)))
    return centres[rng.integers(2, size=N)] + noise * [10.0, 0.05, 2.0, 0.3]


@pytest.fixture(scope="module")
def expected(rows):
    steps = sklearn.preprocessing.StandardScaler(), sklearn.decomposition.PCA(2)
    return make_pipeline(*steps, sklearn.mixture.GaussianMixture(2, random_state=0)).fit(rows)


def pipeline():
    return make_pipeline(StandardScaler(), PCA(2), GaussianMixture(2, random_state=0))


def in_parquet(rows, folder):
    pd.DataFrame(rows, columns=list("abcd")).to_parquet(folder / "x.parquet", row_group_size=200)
    return read_parquet(folder / "x.parquet")


def in_zarr(rows, folder):
    zarr.create_array(folder / "x.zarr", data=rows, chunks=(170, 2))
    return zarr.open_array(folder / "x.zarr")


KINDS = {
    "numpy": lambda rows, folder: rows,
    "pandas": lambda rows, folder: pd.DataFrame(rows, columns=list("abcd")),
    "dask array": lambda rows, folder: da.from_array(rows, chunks=(170, 2)),
    "dask frame": lambda rows, folder: in_parquet(rows, folder).to_dask() if False else _frame(rows),
    "zarr": in_zarr,
    "parquet": in_parquet,
    "xarray": lambda rows, folder: xr.DataArray(rows.reshape(30, 30, D), dims=("y", "x", "f")),
}


def _frame(rows):
    import dask.dataframe as dd

    return dd.from_pandas(pd.DataFrame(rows, columns=list("abcd")), npartitions=3)


@pytest.mark.parametrize("kind", KINDS)
def test_the_model_of_scikit_learns_pipeline(rows, expected, kind, tmp_path):
    X = KINDS[kind](rows, tmp_path)
    fitted = pipeline().fit(X)
    assert_allclose(fitted[-1].means_, expected[-1].means_, rtol=1e-9, atol=1e-10)
    assert_allclose(fitted[-1].covariances_, expected[-1].covariances_, rtol=1e-9, atol=1e-10)
    labels = fitted.predict(X)
    assert_array_equal(np.asarray(labels).ravel(), expected.predict(rows))
    assert_allclose(np.asarray(fitted.score_samples(X)).ravel(), expected.score_samples(rows), rtol=1e-9)
    assert fitted.score(X) == pytest.approx(expected.score(rows), rel=1e-10)


def test_one_pass_each(rows, tmp_path):
    in_zarr(rows, tmp_path)
    store = CountingStore(zarr.storage.LocalStore(tmp_path / "x.zarr", read_only=True))
    array = zarr.open_array(store, mode="r")
    store.reads.clear()
    fitted = pipeline().fit(array)
    # Scaling, components, the start of the mixture, its iterations.
    assert set(store.reads.values()) == {1 + 1 + 1 + fitted[-1].n_iter_}


def test_labels_come_back_on_coordinates(rows):
    field = xr.DataArray(
        rows.reshape(30, 30, D), dims=("lat", "lon", "f"), coords={"lat": np.linspace(-10, 10, 30)}
    )
    fitted = pipeline().fit(field.chunk(lat=7))
    labels = fitted.predict(field.chunk(lat=7))
    assert labels.dims == ("lat", "lon")
    assert_array_equal(labels.lat, field.lat)
    assert labels.chunks is not None


def test_mapped_sources_can_what_their_source_can(rows, tmp_path):
    keyed = pd.DataFrame(rows, columns=list("abcd")).assign(key=np.arange(N), weight=np.ones(N))
    keyed.to_parquet(tmp_path / "x.parquet", row_group_size=200)
    source = read_parquet(tmp_path / "x.parquet", columns=list("abcd"))
    scaler = StandardScaler().fit(source)
    mapped = scaler.transform(source)
    assert isinstance(mapped, KeepsKeys)
    assert not isinstance(mapped, HasCoordinates)
    gm = GaussianMixture(2, random_state=0).fit(mapped, sample_weight="weight")
    written = tmp_path / "labels.parquet"
    write_predictions(gm, mapped, written, keep=["key"])
    found = pd.read_parquet(written)
    assert_array_equal(found["key"], np.arange(N))
    assert_array_equal(found["labels"], np.asarray(gm.predict(mapped)))


def test_features_are_taken_by_name(rows, tmp_path):
    source = in_parquet(rows, tmp_path)
    fitted = pipeline().fit(source)
    other = pd.DataFrame(rows, columns=list("abcd"))[list("dbca")]
    other.to_parquet(tmp_path / "other.parquet")
    assert_array_equal(fitted.predict(read_parquet(tmp_path / "other.parquet")), fitted.predict(source))


def test_dropped_rows_stay_dropped(rows, tmp_path):
    holes = rows.copy()
    holes[[3, 500], [1, 2]] = np.nan
    zarr.create_array(tmp_path / "x.zarr", data=holes, chunks=(170, 4))
    source = from_zarr(tmp_path / "x.zarr", nan="drop")
    labels = pipeline().fit(source).predict(source).compute()
    assert_array_equal(np.flatnonzero(labels == -1), [3, 500])


@pytest.mark.parametrize("kind", ["numpy", "zarr", "parquet"])
def test_one_model_file(rows, kind, tmp_path):
    X = KINDS[kind](rows, tmp_path)
    fitted = pipeline().fit(X)
    save_pipeline(fitted, tmp_path / "model.gmm")
    loaded = load_pipeline(tmp_path / "model.gmm")
    assert_array_equal(loaded.predict_proba(X), fitted.predict_proba(X))
    assert loaded[1].get_params() == fitted[1].get_params()
    with pytest.raises(ModelFileError, match="load_pipeline"):
        GaussianMixture.load(tmp_path / "model.gmm")
    fitted[-1].save(tmp_path / "alone.gmm")
    assert len(load_pipeline(tmp_path / "alone.gmm")) == 1


def test_other_steps_are_refused(rows, tmp_path):
    scaled = make_pipeline(sklearn.preprocessing.StandardScaler(), GaussianMixture(2)).fit(rows)
    with pytest.raises(TypeError, match="StandardScaler and PCA of dask_gmm"):
        save_pipeline(scaled, tmp_path / "model.gmm")
    with pytest.raises(TypeError, match="ends in a PCA"):
        save_pipeline(make_pipeline(PCA()), tmp_path / "model.gmm")
    assert not (tmp_path / "model.gmm").exists()


def test_to_sklearn(rows, expected):
    plain = to_sklearn(pipeline().fit(da.from_array(rows, chunks=(170, 4))))
    assert [type(step).__module__.partition(".")[0] for step in plain] == ["sklearn"] * 3
    assert_array_equal(plain.predict(rows), expected.predict(rows))


def test_any_fitted_transformer_stands_in_front(rows, tmp_path):
    normal = QuantileTransformer(n_quantiles=100, output_distribution="normal").fit(rows)
    mapped = map_rows(in_zarr(rows, tmp_path), normal)
    there = normal.transform(rows)
    assert_allclose(mapped.to_dask(), there)
    ours = GaussianMixture(2, random_state=0).fit(mapped)
    theirs = sklearn.mixture.GaussianMixture(2, random_state=0).fit(there)
    assert_allclose(ours.means_, theirs.means_, rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize(
    ("function", "error", "message"),
    [
        (lambda rows: rows[:1], ValueError, "where"),
        (lambda rows: rows.astype(str), TypeError, "real numbers"),
        (lambda rows: sklearn.preprocessing.OneHotEncoder().fit_transform(rows), TypeError, "sparse"),
    ],
)
def test_what_no_rows_come_out_of_is_refused(rows, function, error, message):
    with pytest.raises(error, match=message):
        map_rows(da.from_array(rows, chunks=(170, 4)), function)


def test_map_rows_is_for_lazy_data(rows):
    with pytest.raises(TypeError, match="ndarray"):
        map_rows(rows, StandardScaler().fit(rows))


def test_xarray_sources_remember_how_they_were_made(rows):
    data = xr.Dataset({"t": (("x", "z"), rows[:, :2]), "s": (("x", "z"), rows[:, 2:])})
    fitted = make_pipeline(StandardScaler(), GaussianMixture(2, random_state=0))
    fitted.fit(from_xarray(data, feature_dim="z"))
    assert fitted.predict(data).dims == ("x",)


def doubled(rows):
    return 2.0 * rows


def halved(rows):
    return 0.5 * rows


class TestMappedSource(SourceContract):
    """Doubling what was halved: the rows of the contract."""

    answers = da.Array
    fingerprinted = True

    def source(self, rows, folder):
        import shutil

        shutil.rmtree(folder / "x.zarr", ignore_errors=True)
        zarr.create_array(folder / "x.zarr", data=halved(rows), chunks=(17, 3))
        mapping = RowMapping(doubled, 3, np.dtype(np.float64), None, "doubled")
        return map_source(from_zarr(folder / "x.zarr"), mapping)
