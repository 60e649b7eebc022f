"""The same rows as every kind of data: the same model, and predictions of the right kind and shape."""

from __future__ import annotations

import re

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
import zarr
from numpy.testing import assert_allclose, assert_array_equal

from dask_gmm import GaussianMixture, from_array, from_zarr, read_parquet

SHAPE, D, K = (12, 30), 3, 3
N = SHAPE[0] * SHAPE[1]


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(5)
    centres = np.array([[0.0, 0.0, 0.0], [3.0, 1.0, -1.0], [-2.0, 3.0, 2.0]])
    return centres[rng.integers(K, size=N)] + rng.normal(size=(N, D))


@pytest.fixture(scope="module")
def expected(rows):
    return sklearn.mixture.GaussianMixture(K, random_state=2).fit(rows)


def zarr_array(path, values, chunks, **options):
    array = zarr.create_array(path, shape=values.shape, chunks=chunks, dtype=values.dtype, **options)
    array[...] = values
    return array


def frame(rows):
    return pd.DataFrame(rows, columns=["a", "b", "c"])


def as_variables(rows, folder):
    """One stored array for each feature, with NaN over land in between."""
    root = zarr.open_group(folder / "ocean.zarr", mode="w")
    grid = np.full((2 * SHAPE[0], SHAPE[1], D), np.nan)
    grid[1::2] = rows.reshape(*SHAPE, D)
    for number, name in enumerate(["temperature", "salinity", "oxygen"]):
        root.create_array(name, shape=grid.shape[:2], chunks=(7, 11), dtype="f8", fill_value=0.0)[...] = grid[
            ..., number
        ]
    return from_zarr(folder / "ocean.zarr", ["temperature", "salinity", "oxygen"], nan="drop")


def parquet(rows, folder):
    for number, part in enumerate(np.array_split(rows, 4)):
        frame(part).to_parquet(folder / f"part.{number}.parquet", row_group_size=30)
    return folder


def embedding(rows, folder):
    pd.DataFrame({"id": range(N), "vector": list(rows)}).to_parquet(
        folder / "vectors.parquet", row_group_size=70
    )
    return read_parquet(folder / "vectors.parquet", columns=["vector"])


KINDS = {
    "numpy": (lambda x, f: x, np.ndarray, (N,)),
    "numpy, Fortran order": (lambda x, f: np.asfortranarray(x), np.ndarray, (N,)),
    "list": (lambda x, f: x.tolist(), np.ndarray, (N,)),
    "pandas": (lambda x, f: frame(x), np.ndarray, (N,)),
    "dask array": (lambda x, f: da.from_array(x, chunks=(50, 2)), da.Array, (N,)),
    "dask array of unknown chunks": (
        lambda x, f: dd.from_pandas(frame(x), npartitions=5).to_dask_array(),
        da.Array,
        (np.nan,),
    ),
    "dask dataframe": (lambda x, f: dd.from_pandas(frame(x), npartitions=5), dd.Series, None),
    "Zarr 2": (lambda x, f: zarr_array(f / "2.zarr", x, (50, 3), zarr_format=2), da.Array, (N,)),
    "Zarr 2, big-endian": (
        lambda x, f: zarr_array(f / "b.zarr", x.astype(">f8"), (50, 2), zarr_format=2),
        da.Array,
        (N,),
    ),
    "Zarr 3, by path": (
        lambda x, f: zarr_array(f / "3.zarr", x, (50, 3)) and str(f / "3.zarr"),
        da.Array,
        (N,),
    ),
    "sharded Zarr": (
        lambda x, f: zarr_array(f / "s.zarr", x, (10, 3), shards=(50, 3)) and from_zarr(f / "s.zarr"),
        da.Array,
        (N,),
    ),
    "image, bands last": (
        lambda x, f: zarr_array(f / "i.zarr", x.reshape(*SHAPE, D), (5, 7, 3)),
        da.Array,
        SHAPE,
    ),
    "image, bands first": (
        lambda x, f: (
            zarr_array(f / "j.zarr", np.moveaxis(x.reshape(*SHAPE, D), -1, 0), (1, 5, 7))
            and from_zarr(f / "j.zarr", feature_axis=0)
        ),
        da.Array,
        SHAPE,
    ),
    "n-dimensional dask array": (
        lambda x, f: from_array(
            da.from_array(np.moveaxis(x.reshape(*SHAPE, D), -1, 1), chunks=5), feature_axis=1
        ),
        da.Array,
        SHAPE,
    ),
    "variables with NaN over land": (as_variables, da.Array, (2 * SHAPE[0], SHAPE[1])),
    "Parquet folder, by path": (lambda x, f: str(parquet(x, f)), da.Array, (N,)),
    "Parquet": (lambda x, f: read_parquet(parquet(x, f), columns=["a", "b", "c"]), da.Array, (N,)),
    "embedding": (embedding, da.Array, (N,)),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_model_and_the_right_kind_of_answer(kind, rows, expected, tmp_path):
    make, answer_type, shape = KINDS[kind]
    X = make(rows, tmp_path)
    model = GaussianMixture(K, random_state=2)
    labels = model.fit_predict(X)
    for name in ("weights_", "means_", "covariances_", "precisions_cholesky_"):
        assert_allclose(getattr(model, name), getattr(expected, name), rtol=1e-10, atol=1e-12)
    assert model.n_iter_ == expected.n_iter_
    assert isinstance(labels, answer_type)
    if shape is not None:
        assert_array_equal(labels.shape, shape)
    check_answers(model, X, labels, rows, expected, land=kind.startswith("variables"))


def check_answers(model, X, labels, rows, expected, *, land):
    found = computed(labels)
    probabilities, density = computed(model.predict_proba(X)), computed(model.score_samples(X))
    assert probabilities.shape == (*found.shape, K)
    if land:
        assert (found[::2] == -1).all()
        assert np.isnan(probabilities[::2]).all()
        assert np.isnan(density[::2]).all()
        found, probabilities, density = found[1::2], probabilities[1::2], density[1::2]
    assert_array_equal(found.reshape(-1), expected.predict(rows))
    assert_allclose(probabilities.reshape(-1, K), expected.predict_proba(rows), atol=1e-10)
    assert_allclose(density.reshape(-1), expected.score_samples(rows), rtol=1e-10)
    assert_allclose(model.score(X), expected.score(rows), rtol=1e-12)
    assert_allclose(model.bic(X), expected.bic(rows), rtol=1e-12)


def computed(answer):
    return np.asarray(answer.compute() if hasattr(answer, "compute") else answer)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.startswith("variables")])
@pytest.mark.parametrize("method", ["predict", "predict_proba", "score_samples", "score"])
@pytest.mark.parametrize(("bad", "words"), [(np.nan, "contains NaN"), (np.inf, "contains infinity")])
def test_no_answer_for_a_bad_row(kind, method, bad, words, rows, tmp_path):
    model = GaussianMixture(K, random_state=2).fit(
        frame(rows) if "dataframe" in kind or kind == "pandas" else rows
    )
    spoilt = rows.copy()
    spoilt[300, 1] = bad
    make = KINDS[kind][0]
    with pytest.raises(ValueError, match=f"{words}|null") as refused:  # pandas writes NaN as null to Parquet
        computed(getattr(model, method)(make(spoilt, tmp_path)))
    in_this_process = kind in ("list", "pandas") or kind.startswith("numpy")
    assert in_this_process or re.search("is in row|row group", str(refused.value))
