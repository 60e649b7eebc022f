"""Every kind of bad input, in every kind of data: refused with a message that names it, without a trace."""

from __future__ import annotations

import copy
import functools
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import sklearn.mixture
import zarr

from dask_gmm import GaussianMixture, from_array, from_zarr, read_parquet

ROWS = np.random.default_rng(0).normal(size=(40, 3))
ONES = np.ones(40)
KINDS = ("numpy", "dask", "zarr", "parquet", "frame")

Make = Callable[[Path], Any]


def as_frame(rows: Any) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=[f"c{number}" for number in range(rows.shape[1])])


def as_dask(rows: Any, n: int = 10) -> da.Array:
    return da.from_array(rows, chunks=(n, *rows.shape[1:]))


def as_parquet(folder: Path, table: Any) -> Path:
    table = pa.Table.from_pandas(table) if isinstance(table, pd.DataFrame) else table
    pq.write_table(table, folder / "x.parquet", row_group_size=10, write_page_checksum=True)
    return folder / "x.parquet"


def as_zarr(folder: Path, rows: Any) -> Path:
    chunks = tuple(max(1, min(10, n)) for n in rows.shape[:1]) + rows.shape[1:]
    zarr.create_array(folder / "x.zarr", data=rows, chunks=tuple(max(1, n) for n in chunks))
    return folder / "x.zarr"


def as_kind(kind: str, rows: Any, folder: Path) -> Any:
    match kind:
        case "dask":
            return as_dask(rows)
        case "zarr":
            return as_zarr(folder, rows)
        case "parquet":
            return as_parquet(folder, as_frame(rows))
        case "frame":
            return dd.from_pandas(as_frame(rows), npartitions=4)
    return rows


def changed(rows: Any, value: Any, at: Any = (33, 1)) -> Any:
    rows = rows.copy()
    rows[at] = value
    return rows


NOT_NUMBERS = r"numeric|real numbers"
# For rows of each kind: what is wrong, the rows, and the message; a message of its own for some kinds.
BAD_ROWS: dict[str, tuple[Any, str, dict[str, str]]] = {
    "NaN in a late chunk": (
        changed(ROWS, np.nan),
        r"Input X contains NaN.*row 33 \(.*3.*1 of its 10 rows are bad",
        {
            "numpy": "Input X contains NaN",
            "parquet": r"x\.parquet, row group 3, column 'c1': there are null values",
            "frame": r"Input X contains NaN.*row 3 of its chunk \(partition 3 of the dask DataFrame\)",
        },
    ),
    "infinity in a late chunk": (
        changed(ROWS, -np.inf),
        r"contains infinity or a value too large for dtype\('float64'\).*row 33 \(.*of its \d0 rows are bad",
        {"numpy": "contains infinity", "frame": r"infinity.*row 3 of its chunk \(partition 3 of"},
    ),
    "float32 infinity": (
        changed(ROWS.astype("f4"), np.inf),
        r"infinity or a value too large for dtype\('float32'\)",
        {},
    ),
    "strings": (np.full((40, 3), "a"), NOT_NUMBERS, {"numpy": "could not convert string to float"}),
    "numbers as strings": (np.full((40, 3), "one"), NOT_NUMBERS, {"numpy": "could not convert string"}),
    "bytes": (np.full((40, 3), b"a"), NOT_NUMBERS, {"numpy": "could not convert string to float"}),
    "complex": (ROWS + 1j, "Complex data not supported", {"frame": "complex128", "parquet": ""}),
    "dates": (ROWS.astype("M8[s]"), NOT_NUMBERS, {"numpy": ""}),
    "durations": (ROWS.astype("m8[s]"), NOT_NUMBERS, {"numpy": ""}),
    "one row": (ROWS[:1], r"array with 1 sample\(s\).* while a minimum of 2 is required by GaussianM", {}),
    "no rows": (ROWS[:0], r"array with 0 sample\(s\).* while a minimum of 2 is required by GaussianM", {}),
    "fewer rows than components": (
        ROWS[:2],
        "Expected n_samples >= n_components but got n_components = 3, n_samples = 2",
        {},
    ),
    "no features": (
        ROWS[:, :0],
        r"0 feature\(s\).* while a minimum of 1 is required by Gaussian",
        {"parquet": ""},
    ),
    "one dimension": (ROWS[:, 0], "Expected 2D array, got 1D array instead", {"parquet": "", "frame": ""}),
}


def lying(answer: Callable[[Any], Any]) -> da.Array:
    """Return a dask array whose chunks are not what they are said to be."""
    rows = as_dask(ROWS)
    return da.map_blocks(answer, rows, dtype=np.float64, chunks=rows.chunks, meta=np.empty((0, 3)))


def parts(*frames: pd.DataFrame) -> dd.DataFrame:
    delayed = [dask.delayed(frame) for frame in frames]
    return dd.from_delayed(delayed, meta=as_frame(ROWS[:0]), verify_meta=False)


def folder_of(folder: Path, *frames: pd.DataFrame) -> Path:
    for number, frame in enumerate(frames):
        frame.to_parquet(folder / f"{number}.parquet")
    return folder


def damaged(path: Path, change: Callable[[bytes], bytes]) -> None:
    path.write_bytes(change(path.read_bytes()))


def zarr_with(folder: Path, name: str, change: Callable[[bytes], bytes]) -> Path:
    path = as_zarr(folder, ROWS)
    damaged(path / name, change)
    return path


def parquet_with(folder: Path, change: Callable[[bytes], bytes]) -> Path:
    path = as_parquet(folder, as_frame(ROWS))
    damaged(path, change)
    return path


def without_chunk(folder: Path) -> Path:
    path = as_zarr(folder, ROWS)
    (path / "c" / "2" / "0").unlink()
    return path


def written(folder: Path, name: str) -> Path:
    (folder / name).write_text("nothing that anybody could read\n" * 10)
    return folder / name


def group(folder: Path) -> Path:
    zarr.open_group(folder / "x.zarr", mode="w").create_array("a", data=ROWS)
    return folder / "x.zarr"


def flipped(content: bytes) -> bytes:
    return content[:100] + bytes([content[100] ^ 1]) + content[101:]


def embedding(folder: Path, *rows: Any) -> Path:
    return as_parquet(folder, pa.table({"e": pa.array([[1.0, 2.0]] * 38 + list(rows))}))


FRAME = as_frame(ROWS)
RENAMED = FRAME.rename(columns={"c1": "other"})
TWICE = FRAME.set_axis(["a", "b", "a"], axis=1)

# What only one kind of data can have.
BAD_DATA: dict[str, tuple[Make, str]] = {
    "nothing": (lambda _: None, "Expected 2D array, got scalar array instead|NoneType"),
    "a number": (lambda _: 5, "Expected 2D array, got scalar array"),
    "a set": (lambda _: {1, 2}, "not 'set'"),
    "objects": (lambda _: np.array([[object()] * 3] * 9), "must be a string or a real number, not 'object'"),
    "ragged": (lambda _: [[1.0, 2.0], [3.0]], "inhomogeneous shape"),
    "three dimensions": (
        lambda _: ROWS.reshape(10, 4, 3),
        "Found array with dim 3, while dim <= 2 is required",
    ),
    "a pandas Series": (lambda _: FRAME["c0"], "Expected a 2-dimensional container but got"),
    "a dask Series": (lambda _: dd.from_pandas(FRAME, 2)["c0"], "X is a dask Series; give a two-dim"),
    "a bag": (lambda _: db.from_sequence([1, 2]), "X is a dask Bag; give a two-dimensional dask array"),
    "a Delayed": (lambda _: dask.delayed(ROWS), "X is a dask Delayed.*; give a two-dimensional dask array"),
    "masked": (
        lambda _: da.ma.masked_greater(as_dask(ROWS), 1),
        "Input X contains NaN.*Values behind a mask count as NaN",
    ),
    "unknown features": (
        lambda _: as_dask(ROWS)[:, as_dask(ROWS)[0] > 0],
        "number of features is not known; call x.compute_chunk_sizes",
    ),
    "no such axis": (lambda _: from_array(as_dask(ROWS), feature_axis=2), "feature_axis=2 does not exist"),
    "chunks of another length": (
        lambda _: lying(lambda chunk: chunk[:-1]),
        r"chunk 0 of the dask array has shape \(9, 3\), but \(10, 3\) was announced",
    ),
    "chunks with fewer features": (
        lambda _: lying(lambda chunk: chunk[:, :2]),
        r"chunk 0 of the dask array has shape \(10, 2\), but \(10, 3\) was announced",
    ),
    "chunks of strings": (
        lambda _: lying(lambda chunk: chunk.astype(str)),
        "chunk 0 of .* has dtype <U32, but",
    ),
    "complex chunks": (lambda _: lying(lambda chunk: chunk + 1j), "chunk 0 of .* has dtype complex128, but"),
    "all rows filtered out": (
        lambda _: as_dask(ROWS)[as_dask(ROWS)[:, 0] > 99],
        r"Found array with 0 sample\(s\).* while a minimum of 2",
    ),
    "most rows filtered out": (
        lambda _: as_dask(ROWS)[as_dask(ROWS)[:, 0] >= np.sort(ROWS[:, 0])[-2]],
        "got n_components = 3, n_samples = 2",
    ),
    "a partition with a column less": (
        lambda _: parts(FRAME, FRAME[["c0", "c1"]]),
        r"partition 1 of the dask DataFrame has columns \['c0', 'c1'\], but \['c0', 'c1', 'c2'\] were announ",
    ),
    "a partition with another column": (
        lambda _: parts(FRAME, RENAMED),
        r"partition 1 of the dask DataFrame has columns \['c0', 'other', 'c2'\]",
    ),
    "two columns of one name": (
        lambda _: dd.from_pandas(TWICE, 2),
        r"Expected unique column names, got:.*'a' 2 times",
    ),
    "two stored columns of one name": (
        lambda f: as_parquet(f, pa.table([ONES, ONES], names=["a", "a"])),
        r"columns=\['a', 'a'\] must name at least one feature, and none twice",
    ),
    "no such column": (
        lambda f: read_parquet(as_parquet(f, FRAME), columns=["c0", "c9"]),
        r"x\.parquet has no column .*named 'c9'; it has 'c0', 'c1', 'c2'",
    ),
    "a column twice": (
        lambda f: read_parquet(as_parquet(f, FRAME), columns=["c0", "c0"]),
        r"columns=\['c0', 'c0'\] must name at least one feature, and none twice",
    ),
    "categories": (
        lambda f: as_parquet(f, FRAME.assign(c1=pd.Categorical(["u", "v"] * 20))),
        r"Columns that are not numeric: 'c1' \(dictionary",
    ),
    "whole numbers with null": (
        lambda f: as_parquet(f, pa.table({"a": pa.array([1] * 33 + [None] * 7), "b": ONES})),
        r"x\.parquet, row group 3, column 'a': there are null values",
    ),
    "lists of different lengths": (lambda f: embedding(f, [1.0], [1.0]), "'e': not every list has 2 values"),
    "a list that is null": (lambda f: embedding(f, None, [1.0, 2.0]), "column 'e': there are null values"),
    "a file with a column less": (
        lambda f: folder_of(f, FRAME, FRAME[["c0", "c1"]]),
        r"1\.parquet has no column 'c2', which the first file has",
    ),
    "a file with another type": (
        lambda f: folder_of(f, FRAME, FRAME.astype({"c1": str})),
        r"1\.parquet: column 'c1' has type .*string, in the first file double",
    ),
    "no such Zarr": (lambda f: f / "none.zarr", r"none\.zarr cannot be opened: FileNotFoundError"),
    "no such Parquet": (lambda f: f / "none.parquet", r"There is no Parquet file at '.*none\.parquet'"),
    "no such file": (lambda f: f / "none", "none cannot be opened: FileNotFoundError"),
    "an empty folder": (lambda f: f, "cannot be opened: FileNotFoundError: there is no Zarr array or group"),
    "another kind of file": (lambda f: written(f, "x.txt"), r"x\.txt cannot be opened: FileNotFoundError"),
    "no Parquet inside": (lambda f: written(f, "x.parquet"), r"x\.parquet: cannot be read as Parquet"),
    "no protocol": (lambda _: "nosuch://bucket/x.zarr", "Protocol not known: nosuch"),
    "a group": (group, r"x\.zarr is a Zarr group\. Name an array with component=.*; its arrays: 'a'"),
    "no such array": (
        lambda f: from_zarr(group(f), component="b"),
        r"x\.zarr has no array 'b'\. Name an array with component=.*; its arrays: 'a'",
    ),
    "metadata cut off": (
        lambda f: zarr_with(f, "zarr.json", lambda content: content[:50]),
        r"The Zarr metadata of .*x\.zarr cannot be read: JSONDecodeError",
    ),
    "metadata without a shape": (
        lambda f: zarr_with(f, "zarr.json", lambda content: content.replace(b'"shape"', b'"form"')),
        r"The Zarr metadata of .*x\.zarr cannot be read",
    ),
    "a chunk cut off": (
        lambda f: zarr_with(f, "c/2/0", lambda content: content[:-5]),
        r"Zarr chunk c/2/0 of .*x\.zarr cannot be decoded.*write it again",
    ),
    "a chunk emptied": (lambda f: zarr_with(f, "c/2/0", lambda _: b""), r"Zarr chunk c/2/0 of .*x\.zarr"),
    "a chunk missing": (without_chunk, r"Zarr chunk c/2/0 is missing from .*x\.zarr.*missing_chunks=.fill."),
    "Parquet cut off": (
        lambda f: parquet_with(f, lambda content: content[: len(content) // 2]),
        r"x\.parquet: cannot be read as Parquet\. The file is damaged, cut short",
    ),
    "a bit flipped in Parquet": (
        lambda f: parquet_with(f, flipped),
        r"x\.parquet, row groups 0 to 3: cannot be read as Parquet.*CRC checksum verification failed|damaged",
    ),
}

BAD_WEIGHTS: dict[str, tuple[Any, str]] = {
    "too few": (ONES[:-1], r"39.*40|40.*39"),
    "too many": (np.ones(41), r"41.*40|40.*41"),
    "negative": (changed(ONES, -1.0, 33), "Negative values in data passed to `sample_weight`"),
    "NaN": (changed(ONES, np.nan, 33), "NaN"),
    "infinite": (changed(ONES, np.inf, 33), "infinity"),
    "all zero": (0 * ONES, "zero"),
    "two dimensions": (np.ones((40, 2)), r"1D|shape|dimension|80 values, X has 40 rows"),
    "strings": (np.full(40, "a"), r"could not convert string|real numbers"),
    "complex": (ONES + 1j, "[Cc]omplex"),
}

BAD_STARTS: dict[str, tuple[dict[str, Any], str]] = {
    "means of other features": (
        {"means_init": np.zeros((3, 4))},
        r"'means' should have the shape of \(3, 3\), but got \(3, 4\)",
    ),
    "means of fewer components": (
        {"means_init": np.zeros((2, 3))},
        r"'means' should have the shape of \(3, 3\)",
    ),
    "weights that sum to more": ({"weights_init": [0.5, 0.5, 0.5]}, "'weights' should be normalized"),
    "one precision for all": (
        {"precisions_init": np.eye(3)},
        r"'full precision' should have the shape of \(3, 3, 3\)",
    ),
    "negative precisions": (
        {"precisions_init": -np.stack([np.eye(3)] * 3)},
        "should be symmetric, positive-definite",
    ),
    "components as text": ({"n_components": "3"}, "The 'n_components' parameter of GaussianMixture must be"),
}


@functools.cache
def fitted() -> GaussianMixture:
    return GaussianMixture(3, random_state=0).fit(FRAME)


def assert_refused(
    make: Callable[[], Any], message: str, parameters: Any = None, sample_weight: Any = None
) -> None:
    """Fit a fresh estimator and one that was fitted before: both stay as they are."""
    given = {"n_components": 3, "random_state": 0, "max_iter": 3, **(parameters or {})}
    for estimator in (GaussianMixture(**given), copy.copy(fitted()).set_params(**given)):
        attributes = dict(vars(estimator))
        with pytest.raises((ValueError, TypeError, OSError)) as told:
            estimator.fit(make(), sample_weight=sample_weight)
        assert re.search(message, str(told.value), re.DOTALL), f"{told.value!r} does not say {message!r}"
        assert vars(estimator).keys() == attributes.keys()
        assert all(vars(estimator)[name] is value for name, value in attributes.items())


CASES = [
    *(
        pytest.param("rows", (kind, name), id=f"{kind}-{name}")
        for name, (_, message, others) in BAD_ROWS.items()
        for kind in KINDS
        if others.get(kind, message)
    ),
    *(pytest.param("data", name, id=name) for name in BAD_DATA),
    *(
        pytest.param("weights", (kind, name), id=f"{kind}-weights {name}")
        for name in BAD_WEIGHTS
        for kind in KINDS
    ),
    *(pytest.param("start", (kind, name), id=f"{kind}-{name}") for name in BAD_STARTS for kind in KINDS),
]


@pytest.mark.parametrize(("what", "name"), CASES)
@pytest.mark.filterwarnings("ignore")
def test_bad_input(tmp_path: Path, what: str, name: Any) -> None:
    match what:
        case "rows":
            kind, wrong = name
            rows, message, others = BAD_ROWS[wrong]
            data = as_kind(kind, rows, tmp_path)
            assert_refused(lambda: data, others.get(kind, message))
        case "data":
            make, message = BAD_DATA[name]
            # What is refused when it is made must not be there already the second time.
            folders = (tmp_path / name for name in ("first", "second"))

            def made() -> Any:
                folder = next(folders)
                folder.mkdir()
                return make(folder)

            assert_refused(made, message)
        case "weights":
            kind, wrong = name
            weights, message = BAD_WEIGHTS[wrong]
            data = as_kind(kind, ROWS, tmp_path)
            assert_refused(lambda: data, message, sample_weight=weights)
        case "start":
            kind, wrong = name
            parameters, message = BAD_STARTS[wrong]
            data = as_kind(kind, ROWS, tmp_path)
            assert_refused(lambda: data, message, parameters)


@pytest.mark.parametrize("dtype", ["datetime64[s]", "timedelta64[s]"])
@pytest.mark.parametrize("wrap", [np.asarray, pd.DataFrame])
def test_predictions_refuse_times_as_scikit_learn_does(dtype, wrap):
    rows = np.random.default_rng(0).normal(size=(50, 2))
    times = wrap((1e6 * rows).astype("int64").astype(dtype))
    for estimator in (GaussianMixture(2), sklearn.mixture.GaussianMixture(2)):
        fitted = estimator.fit(rows)
        with pytest.raises(TypeError):
            fitted.predict(times)


def test_no_features_has_the_words_of_scikit_learn():
    with pytest.raises(ValueError, match="feature") as expected:
        sklearn.mixture.GaussianMixture().fit(np.ones((12, 0)))
    with pytest.raises(ValueError, match="feature") as told:
        GaussianMixture().fit(da.ones((12, 0)))
    assert str(told.value) == str(expected.value)
