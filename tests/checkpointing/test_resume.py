"""A fit that goes on from any of its saved states ends with the bits of one that was never stopped."""

from __future__ import annotations

import dask
import dask.array as da
import fsspec
import numpy as np
import pandas as pd
import pytest
import zarr

import dask_gmm
from dask_gmm import GaussianMixture, from_zarr, read_parquet
from dask_gmm.checkpointing import Checkpoint, checkpoint
from dask_gmm.errors import CheckpointError, CollapsedComponentError, DataError
from dask_gmm.model.covariance import covariance_types

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

N_PIECES = 4
ATTRIBUTES = ("weights_", "means_", "covariances_", "precisions_", "precisions_cholesky_", "lower_bounds_")


@pytest.fixture
def make_known(make_rows, make_source):
    """Return a source whose rows are known without reading them, as those of a store are."""

    class Known(make_source):
        def fingerprint(self):
            return "these rows"

    return lambda: Known(np.array_split(make_rows(240), N_PIECES))


@pytest.fixture
def saved(monkeypatch):
    """The contents of the checkpoint after each save."""
    contents = []

    def write(location, content):
        contents.append(content)
        write_atomically(location, content)

    write_atomically = checkpoint.write_atomically
    monkeypatch.setattr(checkpoint, "write_atomically", write)
    return contents


def assert_same(one, other):
    for name in ATTRIBUTES:
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), err_msg=name)
    assert one.n_iter_ == other.n_iter_
    assert one.converged_ == other.converged_
    # By their text, which tells every bit but lets NaN equal NaN.
    assert repr(one.history_.restarts) == repr(other.history_.restarts)


def assert_resumes(make_estimator, make_source, saved, folder):
    """Fit once, and once more from every state that was saved on the way."""
    quiet = make_estimator(folder / "quiet").fit(source := make_source())
    n_passes, states = len(source.reads) // N_PIECES, list(saved)
    assert len(states) >= 3
    saved_passes = set()
    for number, state in enumerate(states):
        path = folder / f"state{number}"
        path.write_bytes(state)
        resumed = make_estimator(path).fit(source := make_source())
        assert_same(resumed, quiet)
        saved_passes.add(n_passes - len(source.reads) // N_PIECES)
        assert [file.name for file in folder.glob(f"*state{number}*")] == [path.name]
    # Each pass was saved, and none was made again.
    assert saved_passes | {0} == set(range(n_passes + 1))


@pytest.mark.parametrize("covariance_type", covariance_types())
@pytest.mark.parametrize(
    "parameters",
    [
        {"random_state": 0, "n_init": 2, "init_params": "random"},
        {"random_state": None},
        {"random_state": "stream", "init_params": "random_from_data"},
        {"random_state": 0, "means_init": "given", "reg_covar": 1e-4},
        {"random_state": 0, "tol": 1e-9, "max_iter": 16, "accelerate": True},
        {"random_state": 0, "init_params": "sample"},
    ],
    ids=["restarts", "no seed", "stream", "given", "accelerated", "sample"],
)
def test_from_every_state(make_known, saved, tmp_path, make_rows, covariance_type, parameters):
    def make_estimator(path):
        given = {"max_iter": 6, **parameters}
        if given["random_state"] == "stream":
            given["random_state"] = np.random.RandomState(5)
        if "means_init" in given:
            given["means_init"] = make_rows(3, seed=1)
        return GaussianMixture(3, covariance_type=covariance_type, checkpoint=path, **given)

    assert_resumes(make_estimator, make_known, saved, tmp_path)


def test_the_accelerated_fit_was_accelerated(make_known):
    fitted = GaussianMixture(3, tol=1e-9, max_iter=16, accelerate=True, random_state=0).fit(make_known())
    plain = GaussianMixture(3, tol=1e-9, max_iter=16, random_state=0).fit(make_known())
    assert not np.array_equal(fitted.means_, plain.means_)


@pytest.mark.parametrize("accelerate", [False, True])
@pytest.mark.parametrize("random_state", [0, None])
def test_a_start_on_a_sample_and_its_race(make_known, saved, tmp_path, random_state, accelerate):
    def make_estimator(path):
        return GaussianMixture(
            3,
            covariance_type="spherical",
            random_state=random_state,
            max_iter=6,
            tol=1e-6,
            accelerate=accelerate,
            checkpoint=path,
        )

    with dask.config.set({"dask-gmm.start-bytes": 150 * 3 * 8}):
        assert_resumes(make_estimator, make_known, saved, tmp_path)
        # The sample, which no checkpoint holds, decided over more than the start.
        restarts = make_estimator(None).set_params(random_state=0).fit(make_known()).history_.restarts
    n_leaps = sum(iteration.leap for restart in restarts for iteration in restart)
    assert (n_leaps > 1) if accelerate else (n_leaps == 1)


def test_a_warm_start(make_known, saved, tmp_path):
    def make_estimator(path):
        first = GaussianMixture(3, random_state=0, warm_start=True, max_iter=2).fit(make_known())
        return first.set_params(max_iter=6, tol=0.0, checkpoint=path)

    assert_resumes(make_estimator, make_known, saved, tmp_path)


def test_a_collapse_is_the_same_collapse(make_source, tmp_path):
    pieces = np.array_split(np.repeat([[0.0, 0.0], [0.0, 1.0], [5.0, 5.0]], 20, axis=0), N_PIECES)
    errors = []
    for _ in range(2):
        fit = GaussianMixture(3, reg_covar=0.0, random_state=0, checkpoint=tmp_path / "fit")
        with pytest.raises(CollapsedComponentError) as raised:
            fit.fit(make_source(pieces))
        errors.append((str(raised.value), raised.value.component))
    assert errors[0] == errors[1]


@pytest.mark.parametrize("at", range(0, 4 * N_PIECES, 3))
def test_after_an_interrupt(make_known, tmp_path, at):
    quiet = GaussianMixture(3, random_state=0).fit(make_known())
    source = make_known()
    source.seconds = lambda index: interrupt() if len(source.reads) == at else 0.0

    def interrupt():
        raise KeyboardInterrupt

    with dask.config.set(num_workers=1), pytest.raises(KeyboardInterrupt):
        GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(source)
    # One pass is the start's; with the first one nothing is saved yet.
    assert [path.name for path in tmp_path.iterdir()] == (["fit"] if at >= N_PIECES else [])
    resumed = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(source := make_known())
    assert_same(resumed, quiet)
    assert len(source.reads) == N_PIECES * (1 + quiet.n_iter_ - at // N_PIECES)


def test_in_an_object_store(make_known, tmp_path):
    quiet = GaussianMixture(3, random_state=0).fit(make_known())
    memory = fsspec.filesystem("memory")
    try:
        for damage in (False, True):
            source = make_known()
            source.seconds = lambda index, source=source: 1 / 0 if len(source.reads) == 3 * N_PIECES else 0
            fit = GaussianMixture(3, random_state=0, checkpoint="memory://checkpoints/fit")
            with dask.config.set(num_workers=1), pytest.raises(ZeroDivisionError):
                fit.fit(source)
            objects = memory.ls("/checkpoints/fit", detail=False)
            assert len(objects) == 2
            if damage:
                # The one before it counts.
                memory.pipe_file(max(objects), memory.cat_file(max(objects))[:-1])
            resumed = fit.fit(source := make_known())
            assert_same(resumed, quiet)
            assert len(source.reads) == N_PIECES * (quiet.n_iter_ - 2 + damage)
            assert all(path[-9:].isdigit() for path in memory.ls("/checkpoints/fit", detail=False))
            memory.rm("/checkpoints/fit", recursive=True)
    finally:
        memory.store.clear()


CHANGES = {
    "n_components": 4,
    "covariance_type": "diag",
    "tol": 1e-4,
    "reg_covar": 1e-5,
    "max_iter": 50,
    "n_init": 2,
    "init_params": "random",
    "means_init": np.zeros((3, 3)),
    "random_state": 1,
    "accelerate": True,
}


@pytest.mark.parametrize("name", CHANGES)
def test_another_parameter_is_refused(make_known, tmp_path, name):
    first = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make_known())
    before = (tmp_path / "fit").read_bytes()
    other = GaussianMixture(**{**first.get_params(), name: CHANGES[name]})
    with pytest.raises(CheckpointError, match=rf"belongs to another fit: {name} was .*, is ") as refused:
        other.fit(make_known())
    assert "checkpoint" not in vars(other) or not hasattr(other, "means_")
    assert str(refused.value).count(" was ") == 1
    assert (tmp_path / "fit").read_bytes() == before


def test_parameters_without_effect_may_change(make_known, tmp_path):
    first = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make_known())
    other = GaussianMixture(3, random_state=0, verbose=0, verbose_interval=3, cache=True)
    assert_same(other.set_params(checkpoint=f"file://{tmp_path}/fit").fit(make_known()), first)


def test_another_release_is_refused(make_known, tmp_path, monkeypatch):
    GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make_known())
    monkeypatch.setattr(dask_gmm, "__version__", "99.1")
    with pytest.raises(CheckpointError, match=r"release was .*, is '99\.1'"):
        GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make_known())


def test_another_stream_or_warm_start_is_refused(make_known, tmp_path):
    stream = np.random.RandomState(0)
    fit = GaussianMixture(3, random_state=stream, checkpoint=tmp_path / "fit").fit(make_known())
    with pytest.raises(CheckpointError, match="random_state was"):
        fit.fit(make_known())
    warm = GaussianMixture(3, random_state=0, warm_start=True, checkpoint=tmp_path / "warm")
    warm.fit(make_known())
    with pytest.raises(CheckpointError, match="warm_start was True, is 'numbers of digest"):
        warm.fit(make_known())


def stored_rows(kind, rows, folder):
    """Store the rows and return what makes a source of them."""
    match kind:
        case "zarr":
            zarr.create_array(folder / "x.zarr", data=rows, chunks=(60, 3), overwrite=True)
            return lambda: from_zarr(folder / "x.zarr")
        case "parquet":
            pd.DataFrame(rows, columns=list("abc")).to_parquet(folder / "x.parquet", row_group_size=60)
            return lambda: read_parquet(folder / "x.parquet")
        case "dask":
            return lambda: da.from_array(rows, chunks=(60, 3))
    return lambda: rows


@pytest.mark.parametrize("kind", ["zarr", "parquet", "dask", "numpy"])
def test_other_rows_are_refused(make_rows, tmp_path, kind):
    rows = make_rows(240)
    make = stored_rows(kind, rows, tmp_path)
    first = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make())
    assert_same(GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make()), first)
    changed = rows.copy()
    changed[100, 1] += 1.0
    make = stored_rows(kind, changed, tmp_path)
    message = "The data changed during the fit" if kind == "dask" else "data was '[0-9a-f]{16}', is '"
    kind_of_error = DataError if kind == "dask" else CheckpointError
    with pytest.raises(kind_of_error, match=message):
        GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make())


@pytest.mark.parametrize("kind", ["zarr", "parquet", "dask", "numpy"])
def test_other_weights_are_refused(make_rows, tmp_path, kind):
    make = stored_rows(kind, make_rows(240), tmp_path)
    weights = np.linspace(1.0, 2.0, 240)
    fit = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit")
    fit.fit(make(), sample_weight=weights)
    with pytest.raises((CheckpointError, DataError), match=r"data was|The data changed"):
        fit.fit(make(), sample_weight=weights[::-1])


def test_rows_of_another_shape_or_type_are_refused(make_rows, tmp_path):
    rows = make_rows(240)
    fit = GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(rows)
    for other, message in (
        (rows[:-1], r"shape of the samples was \[240\], is \[239\]"),
        (rows[:, :2], "features was 3, is 2"),
        (rows.astype(np.float32), "dtype was 'float64', is 'float32'"),
        (da.from_array(rows, chunks=(60, 3)), "chunks was '1 of digest"),
    ):
        with pytest.raises(CheckpointError, match=message):
            fit.fit(other)


def test_a_model_is_no_checkpoint(make_known, tmp_path):
    GaussianMixture(3, random_state=0).fit(make_known()).save(tmp_path / "model")
    with pytest.raises(CheckpointError, match="model is no checkpoint of a fit: use another name"):
        GaussianMixture(3, random_state=0, checkpoint=tmp_path / "model").fit(make_known())
    GaussianMixture.load(tmp_path / "model")


def test_a_checkpoint_holds_no_rows_and_no_pickle(make_known, tmp_path):
    GaussianMixture(3, random_state=0, checkpoint=tmp_path / "fit").fit(make_known())
    content = (tmp_path / "fit").read_bytes()
    assert len(content) < 10_000
    assert b"numpy" not in content
    with Checkpoint(tmp_path / "none", {}) as other:
        assert other.load() is None
