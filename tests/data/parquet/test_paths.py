"""A path that exists is meant by its name, whatever characters it has; a glob is one where nothing has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import dask.array as da
import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zarr
from click.testing import CliRunner

from dask_gmm import GaussianMixture, from_zarr, read_parquet, write_predictions
from dask_gmm.cli import gmm

NAMES = [
    "run [1]",
    "[0]",
    "a{b}",
    "a*b",
    "what?",
    "R&D_key=3",
    "a#b",
    "x=1",
    "ünïcode-ж",
    "a:b",
    "~tilde",
    ".hidden",
    "_private",
]
ROWS = np.random.default_rng(0).normal(size=(60, 2))
TABLE = pa.table({"a": ROWS[:, 0], "b": ROWS[:, 1]})

pytestmark = pytest.mark.filterwarnings("ignore:X has feature names")


def means(X: Any) -> Any:
    return GaussianMixture(1).fit(X).means_


@pytest.fixture(params=NAMES)
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.mkdir()
    return path


def test_what_is_there_is_read(place: Path) -> None:
    file, array = place.with_name(f"{place.name}.parquet"), place.with_name(f"{place.name}.zarr")
    pq.write_table(TABLE, file)
    pq.write_table(TABLE, place / "part.0.parquet")
    zarr.create_array(array, data=ROWS, chunks=(25, 2))
    expected = means(ROWS)
    for X in (
        *(read_parquet(path) for path in (file, str(file), place, f"{place}/", place / "part.0.parquet")),
        *map(str, (file, place, array)),
        from_zarr(array),
        read_parquet(f"file://{file}"),
    ):
        np.testing.assert_allclose(means(X), expected, err_msg=str(X))


def test_what_is_asked_for_is_written(place: Path) -> None:
    fitted = GaussianMixture(2, random_state=0, checkpoint=f"{place}/fit.ckpt").fit(ROWS)
    assert (place / "fit.ckpt").is_file()
    fitted.save(place / "model.gmm")
    loaded = GaussianMixture.load(place / "model.gmm")
    X = da.from_array(ROWS, chunks=(25, 2))
    for name, read in (("p.zarr", lambda path: from_zarr(path, ["labels"])), ("p.parquet", read_parquet)):
        write_predictions(loaded, X, place / name)
        # Called again, it finds what it wrote.
        assert write_predictions(loaded, X, place / name).n_skipped == 3
        reader = read(place / name).reader(range(3))
        labels = np.concatenate([reader.read(index).rows[:, 0] for index in range(3)])
        np.testing.assert_array_equal(labels, fitted.predict(ROWS))


@pytest.mark.parametrize("name", ["run [1]", "a*b", "R&D_key=3", "what?"])
def test_commands_take_every_path(tmp_path: Path, name: str) -> None:
    source, model, target = (tmp_path / f"{name}{end}" for end in (".parquet", ".gmm", ".zarr"))
    pq.write_table(TABLE, source)
    local = ["--n-workers", "0", "--threads", "1"]
    for command in (
        ["fit", source, "--n-components", "1", "--out", model, "--checkpoint", f"{model}.ckpt", *local],
        ["predict", source, model, target, *local],
        ["score", source, model, *local],
        ["info", model],
    ):
        ran = CliRunner().invoke(gmm, list(map(str, command)))
        assert ran.exit_code == 0, (command, ran.output)
    np.testing.assert_allclose(GaussianMixture.load(model).means_, means(ROWS))
    assert zarr.open_group(target)["labels"].shape == (60,)


@pytest.mark.parametrize("scheme", ["", "memory://globbed"])
def test_a_name_that_is_there_goes_before_the_glob(tmp_path: Path, scheme: str) -> None:
    root = scheme or str(tmp_path)
    names = ["x1.parquet", "x2.parquet", "x[1].parquet", "y3.parquet"]
    for number, name in enumerate(names):
        with fsspec.open(f"{root}/{name.replace('[', '%5B') if not scheme else name}", "wb") as file:
            pq.write_table(pa.table({"a": [float(number)]}), file)
    if not scheme:
        (tmp_path / "x%5B1].parquet").rename(tmp_path / "x[1].parquet")

    def values(url: str) -> list[float]:
        reader = (source := read_parquet(f"{root}/{url}")).reader(range(len(source.chunks)))
        return [float(reader.read(index).rows[0, 0]) for index in range(len(source.chunks))]

    assert values("x[1].parquet") == [2]
    assert sorted(values("x[12].parquet")) == [0, 1]
    assert sorted(values("x*.parquet")) == [0, 1, 2]
    assert values("?3.parquet") == [3]
