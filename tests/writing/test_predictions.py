"""Written predictions are what the estimator predicts, for every kind of source, complete after a stop."""

from __future__ import annotations

import pickle
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import dask.array as da
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
import zarr
from distributed import Client, LocalCluster

from dask_gmm import DataError, GaussianMixture, from_array, from_zarr, read_parquet, write_predictions
from dask_gmm.storage.location import Location
from dask_gmm.writing.parquet_target import ParquetTarget
from dask_gmm.writing.zarr_target import ZarrTarget

ALL = ("labels", "probabilities", "log_density", "anomaly")
THRESHOLD = -6.0

pytestmark = pytest.mark.filterwarnings("ignore:X has feature names")


@pytest.fixture(scope="module")
def rows(make_rows: Any) -> Any:
    return make_rows()


@pytest.fixture(scope="module")
def gm(rows: Any) -> GaussianMixture:
    return GaussianMixture(3, random_state=0).fit(rows)


@pytest.fixture
def stored(rows: Any, tmp_path: Path) -> Path:
    path = tmp_path / "x.zarr"
    zarr.create_array(path, shape=rows.shape, chunks=(130, 3), dtype="f8")[:] = rows
    return path


@pytest.fixture
def client() -> Iterator[Client]:
    with (
        LocalCluster(
            n_workers=2, threads_per_worker=1, processes=False, dashboard_address=":0", memory_limit="2GiB"
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


def _assert_zarr(path: Path, gm: GaussianMixture, rows: Any, shape: tuple[int, ...]) -> None:
    group = zarr.open_group(path, mode="r")
    density = gm.score_samples(rows)
    np.testing.assert_array_equal(group["labels"][:], gm.predict(rows).reshape(shape))
    np.testing.assert_array_equal(group["probabilities"][:], gm.predict_proba(rows).reshape(*shape, -1))
    np.testing.assert_array_equal(group["log_density"][:], density.reshape(shape))
    np.testing.assert_array_equal(group["anomaly"][:], (density < THRESHOLD).reshape(shape))
    assert 0 < (density < THRESHOLD).sum() < len(rows)


def _assert_parquet(path: Path, gm: GaussianMixture, rows: Any) -> None:
    frame = pd.read_parquet(path)
    density = gm.score_samples(rows)
    probabilities = frame[[f"probabilities_{k}" for k in range(3)]].to_numpy()
    np.testing.assert_array_equal(frame["labels"], gm.predict(rows))
    np.testing.assert_array_equal(probabilities, gm.predict_proba(rows))
    np.testing.assert_array_equal(frame["log_density"], density)
    np.testing.assert_array_equal(frame["anomaly"], density < THRESHOLD)


def _sources(rows: Any, folder: Path) -> dict[str, Any]:
    frame = pd.DataFrame(rows, columns=["a", "b", "c"])
    (folder / "files").mkdir()
    for number, (first, stop) in enumerate([(0, 250), (250, 290), (290, 600)]):
        frame[first:stop].to_parquet(folder / "files" / f"part.{number}.parquet")
    array = zarr.create_array(folder / "x.zarr", shape=rows.shape, chunks=(130, 3), dtype="f8")
    array[:] = rows
    return {
        "numpy": rows,
        "zarr": array,
        "dask array": da.from_array(rows, chunks=(200, 3)),
        "dask array, uneven": da.from_array(rows, chunks=((100, 40, 300, 160), (2, 1))),
        "dask frame": dd.from_pandas(frame, npartitions=4),
        "parquet, uneven": read_parquet(folder / "files"),
        "parquet, filtered": read_parquet(folder / "files", ["a", "b", "c"], [("a", ">", -1e9)]),
    }


KINDS = (
    "numpy",
    "zarr",
    "dask array",
    "dask array, uneven",
    "dask frame",
    "parquet, uneven",
    "parquet, filtered",
)


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_of_source(kind: str, rows: Any, gm: GaussianMixture, tmp_path: Path) -> None:
    X = _sources(rows, tmp_path)[kind]
    to_zarr = write_predictions(gm, X, tmp_path / "p.zarr", ALL, threshold=THRESHOLD)
    to_parquet = write_predictions(gm, X, tmp_path / "p.parquet", ALL, threshold=THRESHOLD)
    _assert_zarr(tmp_path / "p.zarr", gm, rows, (600,))
    _assert_parquet(tmp_path / "p.parquet", gm, rows)
    assert to_zarr.n_rows == to_parquet.n_rows == 600
    assert to_zarr.n_anomalies == (gm.score_samples(rows) < THRESHOLD).sum()


@pytest.mark.parametrize("kind", ["zarr", "dask frame", "parquet, uneven"])
def test_on_a_cluster(kind: str, rows: Any, gm: GaussianMixture, tmp_path: Path, client: Client) -> None:
    X = _sources(rows, tmp_path)[kind]
    write_predictions(gm, X, tmp_path / "p.zarr", ALL, threshold=THRESHOLD)
    _assert_zarr(tmp_path / "p.zarr", gm, rows, (600,))


def test_chunks_are_those_of_the_samples(stored: Path, gm: GaussianMixture, tmp_path: Path) -> None:
    write_predictions(gm, stored, tmp_path / "p.zarr", ["labels", "probabilities"])
    group = zarr.open_group(tmp_path / "p.zarr", mode="r")
    assert group["labels"].chunks == (130,)
    assert group["probabilities"].chunks == (130, 3)
    assert group["labels"].dtype == np.int8


@pytest.mark.parametrize("name", ALL)
def test_a_flipped_bit_is_noticed(name: str, stored: Path, gm: GaussianMixture, tmp_path: Path) -> None:
    write_predictions(gm, stored, tmp_path / "p.zarr", ALL, threshold=THRESHOLD)
    (chunk, *_) = sorted(path for path in (tmp_path / "p.zarr" / name / "c").rglob("*") if path.is_file())
    content = bytearray(chunk.read_bytes())
    content[len(content) // 2] ^= 1
    chunk.write_bytes(content)
    with pytest.raises(ValueError, match="checksum"):
        zarr.open_array(tmp_path / "p.zarr", path=name, mode="r")[:]


def test_images_with_nan(rows: Any, gm: GaussianMixture, tmp_path: Path) -> None:
    image = rows.reshape(20, 30, 3).copy()
    image[3, 4, 1] = np.nan
    X = from_array(da.from_array(image, chunks=(8, 30, 3)), nan="drop")
    written = write_predictions(gm, X, tmp_path / "p.zarr", ["labels", "anomaly"], threshold=THRESHOLD)
    group = zarr.open_group(tmp_path / "p.zarr", mode="r")
    expected = gm.predict(rows).reshape(20, 30)
    expected[3, 4] = -1
    np.testing.assert_array_equal(group["labels"][:], expected)
    assert not group["anomaly"][3, 4]
    assert written.n_rows == 599
    with pytest.raises(ValueError, match="Parquet holds tables"):
        write_predictions(gm, X, tmp_path / "p.parquet")


def test_bad_rows_are_refused(stored: Path, gm: GaussianMixture, tmp_path: Path) -> None:
    zarr.open_array(stored)[140, 1] = np.nan
    with pytest.raises(DataError, match=r"row 140 \(c/1/0\)"):
        write_predictions(gm, stored, tmp_path / "p.zarr")


def test_no_rows(rows: Any, gm: GaussianMixture, tmp_path: Path) -> None:
    zarr.create_array(tmp_path / "x.zarr", shape=(0, 3), chunks=(10, 3), dtype="f8")
    written = write_predictions(gm, tmp_path / "x.zarr", tmp_path / "p.zarr")
    assert written.n_rows == 0
    assert zarr.open_group(tmp_path / "p.zarr", mode="r")["labels"].shape == (0,)


def _files(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {
        str(path.relative_to(folder)): (path.stat().st_mtime_ns, path.read_bytes())
        for path in folder.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize(("target", "kind"), [("p.zarr", ZarrTarget), ("p.parquet", ParquetTarget)])
def test_what_is_finished_is_not_written_again(
    target: str,
    kind: Any,
    rows: Any,
    stored: Path,
    gm: GaussianMixture,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Killed(BaseException):
        pass

    place, write, n_written = tmp_path / target, kind.write, 0

    def write_two(self: Any, index: int, values: Any, keys: Any) -> None:
        nonlocal n_written
        if n_written == 2:
            raise Killed
        n_written += 1
        write(self, index, values, keys)

    monkeypatch.setattr(kind, "write", write_two)
    with pytest.raises(Killed):
        write_predictions(gm, stored, place, ["labels", "log_density"])
    monkeypatch.setattr(kind, "write", write)
    before = _files(place)
    resumed = write_predictions(gm, stored, place, ["labels", "log_density"])
    after = _files(place)
    assert (resumed.n_skipped, resumed.n_chunks) == (2, 3)
    assert {name: after[name] for name in before} == before
    again = write_predictions(gm, stored, place, ["labels", "log_density"])
    assert (again.n_skipped, again.n_chunks, again.n_rows) == (5, 0, 0)
    assert _files(place) == after

    fresh = place.with_name(f"fresh-{target}")
    write_predictions(gm, stored, fresh, ["labels", "log_density"])
    assert {n: c for n, (_, c) in _files(fresh).items()} == {n: c for n, (_, c) in after.items()}


@pytest.mark.parametrize("target", ["p.zarr", "p.parquet"])
def test_other_predictions_are_kept_unless_told(
    target: str, rows: Any, stored: Path, gm: GaussianMixture, tmp_path: Path
) -> None:
    place = tmp_path / target
    write_predictions(gm, stored, place, ["labels", "log_density"])
    other = GaussianMixture(2, random_state=0).fit(rows)
    with pytest.raises(FileExistsError, match="different are: model"):
        write_predictions(other, stored, place, ["labels", "log_density"])
    (place / "mine.txt").write_text("mine")
    write_predictions(other, stored, place, ["labels"], overwrite=True)
    labels = (
        zarr.open_group(place, mode="r")["labels"][:]
        if target == "p.zarr"
        else pd.concat(map(pd.read_parquet, sorted(place.glob("part*"))))["labels"]
    )
    np.testing.assert_array_equal(labels, other.predict(rows))
    assert not (place / "log_density").exists()
    assert (place / "mine.txt").read_text() == "mine"


def test_the_rows_themselves_are_never_replaced(stored: Path, gm: GaussianMixture, tmp_path: Path) -> None:
    before = _files(stored)
    for overwrite in (False, True):
        with pytest.raises(FileExistsError, match="no predictions"):
            write_predictions(gm, from_zarr(stored), stored, overwrite=overwrite)
    (tmp_path / "files.parquet").mkdir()
    (tmp_path / "files.parquet" / "part.0.parquet").write_bytes(b"mine")
    with pytest.raises(FileExistsError, match="no predictions"):
        write_predictions(gm, stored, tmp_path / "files.parquet", overwrite=True)
    assert _files(stored) == before


def test_arguments(rows: Any, gm: GaussianMixture, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"outputs must be a list of some of .* got \['label'\]"):
        write_predictions(gm, rows, tmp_path / "p.zarr", ["label"])
    with pytest.raises(ValueError, match="go together"):
        write_predictions(gm, rows, tmp_path / "p.zarr", ["anomaly"])
    with pytest.raises(ValueError, match="give format="):
        write_predictions(gm, rows, tmp_path / "p")
    X = da.from_array(rows, chunks=(200, 3))
    with pytest.raises(ValueError, match="compute_chunk_sizes"):
        write_predictions(gm, X[X[:, 0] > -1e9], tmp_path / "p.zarr")
    assert list(tmp_path.iterdir()) == []


def test_targets_travel_without_secrets(gm: GaussianMixture) -> None:
    options = {"key": "id-1", "secret": "s3cret", "anon": False}
    for target in (
        ParquetTarget(Location("s3://me:s3cret@b/p.parquet", options), 1, ()),
        ZarrTarget(Location("s3://me:s3cret@b/p.zarr", options), None, ()),  # type: ignore[arg-type]
    ):
        travelled = pickle.dumps(target)
        assert b"s3cret" not in travelled
        assert pickle.loads(travelled).location.storage_options == {"anon": False}


def test_a_path_that_looks_like_a_credential_is_written_to(
    gm: GaussianMixture, rows: Any, tmp_path: Path, client: Client
) -> None:
    X = da.from_array(rows, chunks=(200, 3))
    for place in ("R&D_key=3", "what?token=3"):
        for url in (f"{tmp_path}/{place}", f"memory://written/{place}"):
            write_predictions(gm, X, f"{url}/p.parquet")
            write_predictions(gm, X, f"{url}/p.zarr")
            for source in (read_parquet(f"{url}/p.parquet"), from_zarr(f"{url}/p.zarr", ["labels"])):
                # Every task is sent, and opens what its address leads to.
                found = np.concatenate([b.rows[:, 0] for b in _read_elsewhere(source)])
                np.testing.assert_array_equal(found, gm.predict(rows))


def _read_elsewhere(source: Any) -> list[Any]:
    reader = pickle.loads(pickle.dumps(source.reader(range(len(source.chunks)))))
    return [reader.read(index) for index in range(len(source.chunks))]


def test_progress(stored: Path, gm: GaussianMixture, tmp_path: Path) -> None:
    shares: list[float] = []
    write_predictions(gm, stored, tmp_path / "p.zarr", share_done=shares.append)
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
