"""Model files: the same bits back, and nothing but whole, unchanged files of our own."""

from __future__ import annotations

import hashlib
import json
import os

import fsspec
import numpy as np
import pandas as pd
import pytest
import sklearn.mixture
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from dask_gmm import GaussianMixture
from dask_gmm.errors import ModelFileError
from dask_gmm.mixture.fitted import attribute_shapes
from dask_gmm.mixture.history_file import history_arrays, loaded_history
from dask_gmm.mixture.model_file import FITTED
from dask_gmm.model.covariance import conjugate_types, covariance_types
from dask_gmm.storage.container import pack, unpack

COVARIANCE_TYPES = covariance_types()


@pytest.fixture
def rows():
    rng = np.random.default_rng(0)
    return np.concatenate([rng.normal(size=(150, 3)) * [1.0, 2.0, 0.5], rng.normal(5.0, size=(100, 3))])


@pytest.fixture
def fitted(rows):
    return GaussianMixture(n_components=2, random_state=0).fit(rows)


@pytest.fixture
def url():
    """Where a file may be written in this process's memory."""
    yield "memory://models/m.gmm"
    fsspec.filesystem("memory").store.clear()


def assert_identical(one, other):
    for name in (*FITTED, *attribute_shapes(one.covariance_type, one.means_)):
        assert hasattr(one, name) == hasattr(other, name), name
        if hasattr(one, name):
            assert_same_value(getattr(one, name), getattr(other, name), name)


def assert_same_value(one, other, name):
    one_array, other_array = np.asarray(one), np.asarray(other)
    assert one_array.dtype == other_array.dtype, name
    assert one_array.shape == other_array.shape, name
    assert one_array.flags.f_contiguous == other_array.flags.f_contiguous, name
    assert one_array.tolist() == other_array.tolist(), name


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("covariance_type", COVARIANCE_TYPES)
def test_a_loaded_model_is_the_same_to_the_last_bit(tmp_path, rows, covariance_type, dtype):
    rows = rows.astype(dtype)
    gm = GaussianMixture(
        2, covariance_type=covariance_type, tol=1e-4, means_init=[[0, 0, 0], [5, 5, 5]], random_state=3
    ).fit(rows)
    gm.save(tmp_path / "model.gmm")
    loaded = GaussianMixture.load(tmp_path / "model.gmm")

    assert type(loaded) is GaussianMixture
    assert_identical(gm, loaded)
    assert [type(bound) for bound in loaded.lower_bounds_] == [dtype] * gm.n_iter_
    np.testing.assert_array_equal(loaded.score_samples(rows), gm.score_samples(rows))
    for name, value in gm.get_params().items():
        np.testing.assert_array_equal(loaded.get_params()[name], value)
    # What was loaded is a model like any other: its arrays can be written to, it can be saved again.
    loaded.means_ += 0
    loaded.save(tmp_path / "again.gmm")
    assert (tmp_path / "again.gmm").read_bytes() == (tmp_path / "model.gmm").read_bytes()


def test_feature_names_and_an_unfinished_fit_are_kept(tmp_path, rows):
    table = pd.DataFrame(rows, columns=["a", "ü", "c c"])
    gm = GaussianMixture(2, max_iter=0, random_state=0).fit(table)
    gm.save(tmp_path / "model.gmm")
    loaded = GaussianMixture.load(tmp_path / "model.gmm")
    assert_identical(gm, loaded)
    assert loaded.feature_names_in_.dtype == object
    assert loaded.lower_bound_ == -np.inf
    assert loaded.lower_bounds_ == []
    np.testing.assert_array_equal(loaded.predict(table), gm.predict(table))


def test_numpy_parameters_come_back_as_numbers(url, rows):
    gm = GaussianMixture(
        np.int64(2), tol=np.float32(1e-3), warm_start=np.bool_(False), random_state=np.int64(1)
    )
    gm.fit(rows).save(url)
    loaded = GaussianMixture.load(url)
    assert loaded.get_params() == gm.get_params()
    assert type(loaded.n_components) is int
    assert type(loaded.warm_start) is bool


def test_a_random_state_instance_goes_on_from_the_same_place(url, rows):
    gm = GaussianMixture(2, random_state=np.random.RandomState(5)).fit(rows)
    gm.random_state.standard_normal()  # leaves the second of a pair of normals in the state
    gm.save(url)
    loaded = GaussianMixture.load(url)
    for _ in range(2):
        expected, labels = gm.sample(7)
        drawn, drawn_labels = loaded.sample(7)
        np.testing.assert_array_equal(drawn, expected)
        np.testing.assert_array_equal(drawn_labels, labels)


def test_warm_start_goes_on_from_a_loaded_model(url, rows):
    gm = GaussianMixture(2, max_iter=2, tol=0, init_params="random", warm_start=True, random_state=0)
    with pytest.warns(ConvergenceWarning):
        gm.fit(rows)
    gm.save(url)
    loaded = GaussianMixture.load(url)
    with pytest.warns(ConvergenceWarning):
        assert_identical(loaded.fit(rows), gm.fit(rows))


def test_nothing_is_saved_that_could_not_be_loaded(tmp_path, rows, fitted):
    target = tmp_path / "model.gmm"
    with pytest.raises(NotFittedError, match="GaussianMixture instance is not fitted yet"):
        GaussianMixture().save(target)
    with pytest.raises(ValueError, match=r"covariance_type is 'diag', but .* fitted with 'full'"):
        GaussianMixture(2).fit(rows).set_params(covariance_type="diag").save(target)
    with pytest.raises(TypeError, match="'means_init' parameter of GaussianMixture must be an array-like"):
        GaussianMixture(2).fit(rows).set_params(means_init=object()).save(target)
    pcg = np.random.RandomState(np.random.PCG64(0))
    with pytest.raises(TypeError, match="RandomState on PCG64"):
        fitted.set_params(random_state=pcg).save(target)
    assert list(tmp_path.iterdir()) == []


def test_every_changed_byte_and_every_cut_is_refused(tmp_path):
    path = tmp_path / "model.gmm"
    GaussianMixture(random_state=0).fit(np.array([[0.0], [1.0], [3.0]])).save(path)
    content = path.read_bytes()
    damaged = [content[:length] for length in range(len(content))]
    damaged += [content + b"\0"]
    damaged += [
        content[:place] + bytes([content[place] ^ flip]) + content[place + 1 :]
        for place in range(len(content))
        for flip in (0x01, 0x20, 0x80, 0xFF)
    ]
    for changed in damaged:
        with pytest.raises(ModelFileError):
            unpack(changed, "file")
    path.write_bytes(content[:-1])
    with pytest.raises(ModelFileError, match=r"model.gmm is cut off or damaged: .*Copy or save"):
        GaussianMixture.load(path)


@pytest.mark.parametrize(
    "content", [b"", b"\x80\x04\x95.", b"PK\x03\x04", b"dask-gmm-model ", b"{}", os.urandom(1000)]
)
def test_other_files_are_refused(tmp_path, content):
    path = tmp_path / "other"
    path.write_bytes(content)
    with pytest.raises(ModelFileError, match="other is not a model file of dask_gmm"):
        GaussianMixture.load(path)


def test_other_versions_are_refused(tmp_path, fitted):
    path = tmp_path / "model.gmm"
    fitted.save(path)
    path.write_bytes(path.read_bytes().replace(b"dask-gmm-model 1 ", b"dask-gmm-model 12 ", 1))
    with pytest.raises(ModelFileError, match="format version 12; this release of dask_gmm reads version 1"):
        GaussianMixture.load(path)


def resealed(content, change):
    """Return a file whose JSON line was changed, under a checksum that is right again."""
    _, header, numbers = content.split(b"\n", 2)
    values = json.loads(header)
    change(values)
    body = json.dumps(values).encode() + b"\n" + numbers
    return f"dask-gmm-model 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body


def entry(header, name):
    return next(entry for entry in header["arrays"] if entry["name"] == name)


FORGERIES = {
    "huge shape": lambda h: entry(h, "means_").update(shape=[2**60, 2**60]),
    "empty but huge": lambda h: entry(h, "means_").update(shape=[0, 2**62]),
    "negative length": lambda h: entry(h, "means_").update(shape=[-2, -3]),
    "too few bytes": lambda h: entry(h, "means_").update(shape=[2, 4]),
    "objects": lambda h: entry(h, "means_").update(dtype="|O"),
    "strings": lambda h: entry(h, "means_").update(dtype="<U2"),
    "integers": lambda h: entry(h, "means_").update(dtype="<i8"),
    "other order": lambda h: entry(h, "means_").update(order="Z"),
    "transposed": lambda h: entry(h, "means_").update(shape=[3, 2]),
    "missing array": lambda h: entry(h, "weights_").update(name="other"),
    "no list of arrays": lambda h: h.pop("arrays"),
    "arrays are numbers": lambda h: h.update(arrays=[1, 2]),
    "no attributes": lambda h: h.pop("attributes"),
    "features differ": lambda h: h["attributes"].update(n_features_in_=4),
    "too few names": lambda h: h["attributes"].update(feature_names_in_=["a"]),
    "covariance type differs": lambda h: h["parameters"].update(covariance_type="diag"),
    "unknown covariance type": lambda h: h["parameters"].update(covariance_type="banana"),
    "parameter of a later release": lambda h: h["parameters"].update(n_moons=3),
    "another estimator": lambda h: h.update(estimator="BayesianGaussianMixture"),
    "stream out of range": lambda h: h["parameters"]["random_state"].update(pos=10**6),
    "stream without a key": lambda h: h["parameters"]["random_state"].update(stream="means_"),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_files_made_by_other_means_are_refused(tmp_path, fitted, forgery):
    path = tmp_path / "model.gmm"
    fitted.set_params(random_state=np.random.RandomState(0)).save(path)
    content = path.read_bytes()
    path.write_bytes(resealed(content, lambda header: None))
    assert_identical(GaussianMixture.load(path), fitted)
    path.write_bytes(resealed(content, FORGERIES[forgery]))
    with pytest.raises(ModelFileError, match=r"model\.gmm"):
        GaussianMixture.load(path)


def test_a_file_cannot_replace_methods(tmp_path, fitted):
    path = tmp_path / "model.gmm"
    fitted.save(path)
    path.write_bytes(resealed(path.read_bytes(), lambda header: header["attributes"].update(predict="no")))
    assert callable(GaussianMixture.load(path).predict)


def test_deeply_nested_headers_are_refused():
    body = b"[" * 100_000 + b"\n"
    content = f"dask-gmm-model 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body
    with pytest.raises(ModelFileError):
        unpack(content, "file")


@pytest.mark.parametrize("dtype", ["?", "i2", "u8", "e", "f4", "f8", ">f8", ">i4"])
def test_arrays_of_all_number_types_and_orders_survive(dtype):
    array = np.array([[0, 1, 2], [3, 4, 5]]).astype(dtype)
    for packed in (array, np.asfortranarray(array), array[:, ::2], array[0, 0], array[:0]):
        header, arrays = unpack(pack({"n": 1}, {"first": np.zeros(3), "a": packed}), "file")
        assert header == {"n": 1}
        assert arrays["a"].dtype == np.dtype(dtype).newbyteorder("=")
        assert arrays["a"].shape == packed.shape
        np.testing.assert_array_equal(arrays["a"], packed)


def test_special_values_keep_their_bits():
    bits = np.array([0x7FF8_0000_0000_1234, 0x8000_0000_0000_0000, 0xFFF0_0000_0000_0000, 1], dtype=np.uint64)
    _, arrays = unpack(pack({}, {"a": bits.view(np.float64)}), "file")
    np.testing.assert_array_equal(arrays["a"].view(np.uint64), bits)


def test_the_checksum_is_what_the_docs_say(tmp_path, fitted):
    fitted.save(tmp_path / "model.gmm")
    first, rest = (tmp_path / "model.gmm").read_bytes().split(b"\n", 1)
    assert first.decode() == f"dask-gmm-model 1 {hashlib.sha256(rest).hexdigest()}"


def test_a_file_holds_no_pickle_and_no_rows(tmp_path, rows, fitted):
    fitted.save(tmp_path / "model.gmm")
    content = (tmp_path / "model.gmm").read_bytes()
    assert b"numpy" not in content
    assert b"sklearn" not in content
    # Two components in three features, and the sums over the rows, whatever the number of rows; and what
    # each iteration and pass went through.
    history = fitted.history_
    told = 400 + 56 * sum(map(len, history.restarts)) + 16 * len(history.passes)
    assert len(content) < 3500 + told
    fitted.save(tmp_path / "model.gmm", with_statistics=False)
    assert (tmp_path / "model.gmm").stat().st_size < 2500 + told


def test_the_history_is_kept(tmp_path, rows):
    fitted = GaussianMixture(2, n_init=3, random_state=0).fit(rows)
    fitted.save(tmp_path / "model.gmm")
    kept = GaussianMixture.load(tmp_path / "model.gmm").history_
    pd.testing.assert_frame_equal(
        kept.to_frame(all_restarts=True), fitted.history_.to_frame(all_restarts=True)
    )
    assert repr(kept) == repr(fitted.history_)


@pytest.mark.parametrize(
    ("name", "place", "value"),
    [
        ("history_iterations", (0, 0), 1.0),
        ("history_iterations", (0, 5), 1e9),
        ("history_iterations", (0, 5), 0.5),
        ("history_iterations", (0, 5), np.nan),
        ("history_counts", (0,), 1),
        ("history_counts", (1,), 10**12),
    ],
)
def test_a_history_that_no_fit_has_is_refused(fitted, name, place, value):
    arrays = history_arrays(fitted.history_)
    arrays[name][place] = value
    with pytest.raises(ValueError, match="restarts or passes that it does not have"):
        loaded_history(arrays)


def test_the_place_of_a_checkpoint_stays_out_of_the_file(tmp_path, fitted):
    fitted.set_params(checkpoint="s3://me:secret@bucket/checkpoint").save(tmp_path / "model.gmm")
    assert b"secret" not in (tmp_path / "model.gmm").read_bytes()
    assert GaussianMixture.load(tmp_path / "model.gmm").checkpoint is None


def test_urls_are_named_without_credentials(tmp_path):
    with pytest.raises(FileNotFoundError) as missing:
        GaussianMixture.load("memory://u:secret@models/none.gmm")
    assert "secret" not in str(missing.value)
    assert missing.value.__suppress_context__
    with fsspec.open("memory://u:secret@models/bad.gmm", "wb") as file:
        file.write(b"no")
    with pytest.raises(ModelFileError, match=r"^memory://models/bad\.gmm is not") as bad:
        GaussianMixture.load("memory://u:secret@models/bad.gmm")
    assert "secret" not in str(bad.value)


@pytest.mark.parametrize("covariance_type", conjugate_types())
def test_to_and_from_scikit_learn_keep_every_bit(rows, covariance_type):
    table = pd.DataFrame(rows, columns=list("abc"))
    gm = GaussianMixture(2, covariance_type=covariance_type, tol=1e-5, random_state=0).fit(table)
    model = gm.to_sklearn()
    assert type(model) is sklearn.mixture.GaussianMixture
    assert model.get_params() == {name: gm.get_params()[name] for name in model.get_params()}
    assert_identical(gm, model)
    np.testing.assert_array_equal(model.predict(table), gm.predict(table))
    np.testing.assert_allclose(model.score_samples(table), gm.score_samples(table), rtol=1e-12)

    back = GaussianMixture.from_sklearn(model)
    assert type(back) is GaussianMixture
    assert back.get_params() == gm.get_params()
    assert_identical(gm, back)
    np.testing.assert_array_equal(back.score_samples(table), gm.score_samples(table))


def test_conversions_copy(rows, fitted):
    model = fitted.to_sklearn()
    before = model.means_.copy()
    fitted.means_ += 1
    np.testing.assert_array_equal(model.means_, before)


def test_only_fitted_mixtures_are_converted(rows):
    with pytest.raises(NotFittedError):
        GaussianMixture().to_sklearn()
    with pytest.raises(NotFittedError):
        GaussianMixture.from_sklearn(sklearn.mixture.GaussianMixture())
    bayesian = sklearn.mixture.BayesianGaussianMixture(random_state=0).fit(rows)
    with pytest.raises(TypeError, match=r"model is a BayesianGaussianMixture"):
        GaussianMixture.from_sklearn(bayesian)
