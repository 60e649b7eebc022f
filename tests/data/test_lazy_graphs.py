"""Every kind of lazy collection that Dask can compute gives what its computed form gives."""

from __future__ import annotations

import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, ClassVar

import dask
import dask.array as da
import dask.bag as db
import dask.dataframe as dd
import numpy as np
import pandas as pd
import pytest
from dask.array import PerformanceWarning
from distributed import Client, LocalCluster, Lock, get_client, secede, wait, worker_client

from dask_gmm import GaussianMixture, GaussianMixtureIC, write_predictions
from dask_gmm.data.dask_dataframe import DaskFrameSource
from dask_gmm.data.dask_graphs import ChunkGraphs
from dask_gmm.errors import DataError

N_FILES, N_ROWS = 8, 30
COLUMNS = list("abcdefghij")
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight files of ten columns, of which Dask joins several where few columns are read."""
    folder = tmp_path_factory.mktemp("frames")
    rng = np.random.default_rng(0)
    for number in range(N_FILES):
        table = pd.DataFrame(rng.normal(size=(N_ROWS, len(COLUMNS))), columns=COLUMNS)
        table["k"] = rng.integers(0, 12, N_ROWS)
        table["n"] = number * N_ROWS + np.arange(N_ROWS)
        for kind in ("parquet", "csv"):
            (folder / kind).mkdir(exist_ok=True)
        table.to_parquet(folder / "parquet" / f"{number}.parquet", row_group_size=10)
        table.to_csv(folder / "csv" / f"{number}.csv", index=False)
    return folder


@pytest.fixture(scope="module")
def client():
    with (
        LocalCluster(
            n_workers=2,
            threads_per_worker=2,
            processes=False,
            dashboard_address=None,
            resources={"disk": 4},
        ) as cluster,
        Client(cluster) as client,
    ):
        yield client


@pytest.fixture(params=["threads", pytest.param("cluster", marks=pytest.mark.long)])
def scheduler(request):
    """The scheduler in use; shuffles as where there is no client, or as where there is one."""
    if request.param == "threads":
        with dask.config.set({"scheduler": "threads", "dataframe.shuffle.method": "disk"}):
            yield None
    else:
        yield request.getfixturevalue("client")


def read(folder: Path, columns: Any = ("a", "b"), **options: Any) -> dd.DataFrame:
    return dd.read_parquet(str(folder / "parquet"), **options)[list(columns)]


def table(folder: Path) -> pd.DataFrame:
    return pd.read_parquet(folder / "parquet")


def where(frame: dd.DataFrame, column: str, limit: float) -> dd.DataFrame:
    return frame[frame[column] > limit][["a", "b"]]


def among(frame: dd.DataFrame) -> dd.DataFrame:
    return frame[frame.k.isin([1, 2, 3])][["a", "b"]]


def part(number: int, columns: Any = None) -> pd.DataFrame:
    rng = np.random.default_rng(number)
    made = pd.DataFrame(rng.normal(size=(20, 10)), columns=COLUMNS)
    return made if columns is None else made[columns]


def small(number: int) -> pd.DataFrame:
    return part(number, ["a", "b"])


def rows(number: int, n_rows: int = 10) -> Any:
    return np.random.default_rng(number).normal(size=(n_rows, 2))


def shifted(frame: pd.DataFrame, by: Any) -> pd.DataFrame:
    return frame + by


def demeaned(frame: pd.DataFrame) -> pd.DataFrame:
    return frame - frame.mean()


def smoothed(frame: pd.DataFrame) -> pd.DataFrame:
    return frame.rolling(3, min_periods=1).mean()


def by_partition(frame: pd.DataFrame, partition_info: Any = None) -> pd.DataFrame:
    return frame + (0 if partition_info is None else partition_info["number"])


FRAMES = {
    "columns": lambda f: read(f),
    "columns and arithmetic": lambda f: read(f) + 1,
    "dropna": lambda f: read(f).dropna(),
    "astype": lambda f: read(f).astype("f4"),
    "ufunc": lambda f: np.log(read(f).abs() + 1),
    "query": lambda f: read(f).query("a > 0"),
    "mask of another column": lambda f: where(read(f, "abc"), "c", 0) * 2,
    "assign": lambda f: read(f).assign(z=lambda d: d.a * d.b),
    "filters": lambda f: read(f, filters=[("a", ">", 0.0)]) + 1,
    "row groups": lambda f: read(f, split_row_groups=True) + 1,
    "row groups by twos": lambda f: read(f, split_row_groups=2) + 1,
    "aggregated files": lambda f: read(f, split_row_groups=4, aggregate_files=True) + 1,
    "blocksize": lambda f: read(f, blocksize="6 kB") + 1,
    "arrow file system": lambda f: read(f, filesystem="arrow") + 1,
    "arrow file system, filters": lambda f: read(f, filesystem="arrow", filters=[("a", ">", 0.0)]) + 1,
    "fsspec file system": lambda f: read(f, filesystem="fsspec") + 1,
    "read_csv": lambda f: dd.read_csv(str(f / "csv" / "*.csv"), blocksize=3000)[["a", "b"]] + 1,
    "from_map": lambda f: dd.from_map(part, range(6))[["a", "b"]] + 1,
    "from_map without columns": lambda f: dd.from_map(small, range(6)) * 2,
    "from_pandas": lambda f: dd.from_pandas(table(f), npartitions=7)[["a", "b"]] + 1,
    "from_delayed": lambda f: dd.from_delayed([dask.delayed(small)(i) for i in range(5)]) + 1,
    "from_dask_array": lambda f: dd.from_dask_array(
        da.from_array(rows(0, 90), chunks=20), columns=["a", "b"]
    ),
    "from_array": lambda f: dd.from_array(rows(0, 90), chunksize=20, columns=["a", "b"]) + 1,
    "bag": lambda f: db.from_sequence(
        [{"a": float(i % 7), "b": float(i % 5)} for i in range(60)], npartitions=6
    ).to_dataframe(),
    "concat": lambda f: dd.concat([read(f) + 1, read(f, "cd").rename(columns={"c": "a", "d": "b"})]),
    "concat of columns": lambda f: dd.concat([read(f) + 1, read(f, "cd")], axis=1),
    "sum of two reads": lambda f: read(f) + read(f, "ab", split_row_groups=False) * 2,
    "fewer partitions": lambda f: (read(f) + 1).repartition(npartitions=3),
    "more partitions": lambda f: (read(f) + 1).repartition(npartitions=13),
    "partitions by size": lambda f: (read(f) + 1).repartition(partition_size="1 kB"),
    "divisions": lambda f: dd.from_pandas(table(f), npartitions=5).repartition(divisions=[0, 50, 239])[
        ["a", "b"]
    ],
    "some partitions": lambda f: (read(f) + 1).partitions[2:5],
    "head": lambda f: (read(f) + 1).head(40, npartitions=3, compute=False),
    "tail": lambda f: (read(f) + 1).tail(20, compute=False),
    "loc": lambda f: dd.from_pandas(table(f), npartitions=5).loc[20:150, ["a", "b"]],
    "sample": lambda f: read(f).sample(frac=0.5, random_state=0),
    "empty partitions": lambda f: where(read(f, "abn"), "n", 100),
    "map_partitions": lambda f: read(f).map_partitions(demeaned),
    "map_partitions with a delayed": lambda f: read(f).map_partitions(
        shifted, dask.delayed(float)(3), meta=small(0).iloc[:0]
    ),
    "map_partitions with a reduction": lambda f: read(f) - read(f).mean(),
    "partition_info": lambda f: dd.from_map(small, range(5)).map_partitions(by_partition),
    "map_overlap": lambda f: dd.from_pandas(table(f), npartitions=5)[["a", "b"]].map_overlap(smoothed, 2, 0),
    "rolling": lambda f: dd.from_pandas(table(f), npartitions=5)[["a", "b"]].rolling(3, min_periods=1).mean(),
    "cumsum": lambda f: (read(f) + 1).cumsum(),
    "ffill": lambda f: read(f).where(read(f) > -1.5).ffill().fillna(0),
    "optimized": lambda f: (read(f) + 1).optimize(),
    "optimized without fusing": lambda f: (read(f) + 1).optimize(fuse=False),
    "set_index": lambda f: read(f, "abn").set_index("n") + 1,
    "set_index with divisions": lambda f: read(f, "abn").set_index("n", divisions=[0, 99, 239]) + 1,
    "sorted index": lambda f: read(f, "abn").set_index("n", sorted=True) + 1,
    "sort_values": lambda f: read(f, "abn").sort_values("a")[["a", "b"]] + 1,
    "shuffle": lambda f: read(f, "abk").shuffle("k")[["a", "b"]] + 1,
    "shuffle by tasks": lambda f: read(f, "abk").shuffle("k", shuffle_method="tasks")[["a", "b"]] + 1,
    "merge": lambda f: read(f, "an").merge(read(f, "bn"), on="n")[["a", "b"]] + 1,
    "merge with a small one": lambda f: read(f, "ak").merge(
        pd.DataFrame({"k": range(12), "z": np.arange(12.0) % 5}), on="k"
    )[["a", "z"]],
    "merge on the index": lambda f: read(f, "an").set_index("n").join(read(f, "bn").set_index("n")),
    "groupby": lambda f: read(f, "abk").groupby("k").mean(),
    "groupby split": lambda f: read(f, "abk").groupby("k").mean(split_out=3),
    "groupby transform": lambda f: (
        read(f, "abk").groupby("k")[["a", "b"]].transform("mean", meta=small(0).iloc[:0])
    ),
    "drop_duplicates": lambda f: read(f, "abk").drop_duplicates("k", split_out=2)[["a", "b"]],
    "isin": lambda f: among(read(f, "abk")) + 1,
    "one column": lambda f: (read(f, "a").a * 2).to_frame(),
    "timeseries": lambda f: dask.datasets.timeseries(
        "2000-01-01", "2000-01-05", freq="1h", partition_freq="1D", seed=0
    )[["x", "y"]],
    "persisted": lambda f: (read(f) + 1).persist(),
    "persisted and more": lambda f: np.log(read(f, "abc").abs().persist()[["a", "b"]] + 1),
}


def with_client(number: int) -> Any:
    with worker_client() as client:
        return client.submit(rows, number).result()


def seceding(number: int) -> Any:
    return _from_client(number)


def _from_client(number: int) -> Any:
    client = get_client()
    secede()
    return client.submit(rows, number).result()


def computing(number: int) -> Any:
    return dask.delayed(rows)(number).compute()


class Shift:
    def __init__(self) -> None:
        self.by = 3.0

    def shift(self, x: Any) -> Any:
        return x + self.by


def by_actor(x: Any, actor: Any) -> Any:
    return actor.shift(x).result()


def locked(x: Any, lock: Any) -> Any:
    with lock:
        return x + 1


def base(chunks: Any = (10, 2)) -> da.Array:
    return da.from_array(rows(0, 80), chunks=chunks)


def delayed_rows(function: Any) -> da.Array:
    return da.concatenate([da.from_delayed(dask.delayed(function)(i), (10, 2), dtype="f8") for i in range(6)])


def restricted() -> da.Array:
    with dask.annotate(resources={"disk": 1}):
        return base().map_blocks(np.exp)


ARRAYS = {
    "arithmetic": lambda f: base() * 2 + 1,
    "centred": lambda f: base() - base().mean(axis=0),
    "rechunked by tasks": lambda f: base((40, 1)).rechunk((7, 2), method="tasks"),
    "rechunked as Dask likes": lambda f: base((80, 1)).rechunk((5, 2)),
    "mask": lambda f: base()[base()[:, 0] > 0],
    "permuted": lambda f: base()[np.random.default_rng(0).permutation(80)],
    "permuted, many chunks": lambda f: base((2, 2))[np.random.default_rng(0).permutation(80)],
    "overlap": lambda f: base().map_overlap(np.cumsum, depth={0: 2}, axis=0, trim=True, dtype="f8"),
    "windows": lambda f: da.lib.stride_tricks.sliding_window_view(base()[:, 0], 3),
    "stacked": lambda f: da.stack([base()[:, 0], base()[:, 1] * 2], axis=1),
    "concatenated": lambda f: da.concatenate([base(), base()[:15] + 1]),
    "transposed": lambda f: base((10, 1)).T.T,
    "reshaped": lambda f: base().reshape(16, 5, 2).reshape(80, 2),
    "product": lambda f: base((10, 1)) @ da.ones((2, 3), chunks=1),
    "einsum": lambda f: da.einsum("ij,ij->ij", base(), base()),
    "gufunc": lambda f: da.apply_gufunc(np.sort, "(i)->(i)", base(), output_dtypes="f8"),
    "along an axis": lambda f: da.apply_along_axis(np.cumsum, 1, base(), dtype="f8", shape=(2,)),
    "random": lambda f: da.random.default_rng(0).normal(size=(80, 3), chunks=(10, 3)),
    "delayed": lambda f: delayed_rows(rows),
    "shared delayed": lambda f: da.from_delayed(dask.delayed(rows)(1, 80), (80, 2), dtype="f8").rechunk(
        (10, 2)
    ),
    "map_blocks with a delayed": lambda f: base().map_blocks(np.add, dask.delayed(float)(2), dtype="f8"),
    "block_info": lambda f: base().map_blocks(
        lambda x, block_info=None: x + (block_info[0]["chunk-location"][0] if block_info else 0), dtype="f8"
    ),
    "qr": lambda f: da.linalg.qr(base())[0],
    "cumsum": lambda f: base().cumsum(axis=0),
    "topk": lambda f: da.topk(base(), 20, axis=0),
    "of a frame": lambda f: (read(f) + 1).to_dask_array(),
    "of a shuffled frame": lambda f: read(f, "abk").shuffle("k")[["a", "b"]].values,
    "computing inside": lambda f: delayed_rows(computing),
    "lazily stored": lambda f: da.from_npy_stack(stack(f)),
    "restricted to resources": lambda f: restricted(),
    "persisted": lambda f: base().persist(),
    "persisted and centred": lambda f: (x := (base() + 1).persist()) - x.mean(axis=0),
}


def stack(folder: Path) -> str:
    path = folder / "stack"
    if not path.exists():
        with dask.config.set(scheduler="sync"):
            da.to_npy_stack(str(path), base(), axis=0)
    return str(path)


# Only where there is a cluster.
ON_A_CLUSTER = {
    "set_index, peer to peer": lambda c, f: read(f, "abn").set_index("n", shuffle_method="p2p") + 1,
    "shuffled, peer to peer": lambda c, f: read(f, "abk").shuffle("k", shuffle_method="p2p")[["a", "b"]],
    "merged, peer to peer": lambda c, f: read(f, "an").merge(read(f, "bn"), on="n", shuffle_method="p2p")[
        ["a", "b"]
    ],
    "joined partitions": lambda c, f: read(f) + 1,
    "persisted, then shuffled": lambda c, f: (read(f, "abk") + 1).persist().shuffle("k")[["a", "b"]],
    "rechunked peer to peer": lambda c, f: base((40, 1)).rechunk((5, 2), method="p2p"),
    "persisted, then rechunked": lambda c, f: base((40, 1)).persist().rechunk((5, 2), method="p2p") + 1,
    "worker_client": lambda c, f: delayed_rows(with_client),
    "get_client": lambda c, f: delayed_rows(seceding),
    "future as an argument": lambda c, f: base().map_blocks(np.add, c.submit(float, 5), dtype="f8"),
    "scattered": lambda c, f: base().map_blocks(np.add, c.scatter(np.arange(2.0)), dtype="f8"),
    "future in a list": lambda c, f: da.from_delayed(
        dask.delayed(sum)([rows(0), c.submit(float, 5)]), (10, 2), dtype="f8"
    ),
    "future of an array": lambda c, f: da.concatenate(
        [da.from_delayed(c.submit(rows, i), (10, 2), dtype="f8") for i in range(4)]
    ),
    "futures of partitions": lambda c, f: dd.from_delayed([c.submit(small, i) for i in range(4)]) + 1,
    "future beside a frame": lambda c, f: read(f).map_partitions(
        shifted, c.submit(float, 5), meta=small(0).iloc[:0]
    ),
    "actor": lambda c, f: base().map_blocks(by_actor, c.submit(Shift, actor=True).result(), dtype="f8"),
    "lock": lambda c, f: base().map_blocks(locked, Lock("rows"), dtype="f8"),
    "persisted through the client": lambda c, f: c.persist(base() + 1) * 2,
    "frame persisted through the client": lambda c, f: c.persist((read(f) + 1).optimize()) * 2,
}


def assert_fits_as_computed(lazy: Any) -> None:
    computed = lazy.compute()
    expected = GaussianMixture(reg_covar=1e-3).fit(np.asarray(computed))
    fitted = GaussianMixture(reg_covar=1e-3).fit(lazy)
    rtol, atol = (1e-4, 1e-6) if fitted.means_.dtype == np.float32 else (1e-9, 1e-12)
    np.testing.assert_allclose(fitted.means_, expected.means_, rtol=rtol, atol=atol)
    np.testing.assert_allclose(fitted.covariances_, expected.covariances_, rtol=rtol, atol=atol)
    answer = fitted.score_samples(lazy).compute()
    assert len(answer) == len(computed)
    assert fitted.score(lazy) == pytest.approx(float(np.mean(answer)), rel=10 * rtol)


@pytest.mark.parametrize("make", FRAMES.values(), ids=FRAMES)
def test_frames(request, scheduler, folder, make):
    if "cluster-partitions by size" in request.node.name and sys.version_info < (3, 12):
        pytest.skip("Dask waits for itself: it computes sizes while it holds the lock of a cached property")
    assert_fits_as_computed(make(folder))


@pytest.mark.parametrize("make", ARRAYS.values(), ids=ARRAYS)
def test_arrays(scheduler, folder, make):
    assert_fits_as_computed(make(folder))


@pytest.mark.parametrize("make", ON_A_CLUSTER.values(), ids=ON_A_CLUSTER)
def test_on_a_cluster(client, folder, make):
    assert_fits_as_computed(make(client, folder))


# --- weights -------------------------------------------------------------------------------------------

SAME_ROWS = {
    "columns": lambda d: d,
    "arithmetic": lambda d: d + 1,
    "by partition": lambda d: d.map_partitions(demeaned),
    "fewer partitions": lambda d: (d + 1).repartition(npartitions=3),
    "optimized": lambda d: (d + 1).optimize(),
    "array": lambda d: (d + 1).to_dask_array(),
    "persisted": lambda d: (d + 1).persist(),
}
WEIGHTS = {
    "series": lambda d: d.c.abs() + 0.1,
    "series of other partitions": lambda d: (d.c.abs() + 0.1).repartition(npartitions=5),
    "array": lambda d: (d.c.abs() + 0.1).to_dask_array(),
    "array of known chunks": lambda d: da.from_array(np.asarray(d.c.compute().abs() + 0.1), chunks=37),
    "in memory": lambda d: d.c.compute().abs() + 0.1,
    "source": lambda d: DaskFrameSource((d[["c"]].abs() + 0.1).repartition(npartitions=4)),
}


@pytest.mark.parametrize("make", SAME_ROWS.values(), ids=SAME_ROWS)
@pytest.mark.parametrize("weigh", WEIGHTS.values(), ids=WEIGHTS)
def test_weights_stay_with_their_rows(folder, make, weigh):
    whole = dd.read_parquet(str(folder / "parquet"))
    with dask.config.set(scheduler="threads"):
        lazy, weights = make(whole[["a", "b"]]), weigh(whole)
        positive = whole.c.compute().abs() + 0.1
        expected = GaussianMixture().fit(np.asarray(lazy.compute()), sample_weight=positive)
        fitted = GaussianMixture().fit(lazy, sample_weight=weights)
    np.testing.assert_allclose(fitted.means_, expected.means_, rtol=1e-9)
    np.testing.assert_allclose(fitted.covariances_, expected.covariances_, rtol=1e-9)


def test_weights_beside_joined_partitions_of_two_frames(folder):
    whole = dd.read_parquet(str(folder / "parquet"))
    lazy = dd.concat([whole[["a", "b"]] + 1, whole[["a", "b"]] * 2])
    weights = dd.concat([whole.c.abs(), whole.d.abs()])
    fitted = GaussianMixture().fit(lazy, sample_weight=weights)
    expected = np.average(lazy.compute(), axis=0, weights=weights.compute())
    np.testing.assert_allclose(fitted.means_[0], expected, rtol=1e-9)


def test_weights_of_another_length_are_refused_beside_joined_partitions(folder):
    whole = dd.read_parquet(str(folder / "parquet"))
    for wrong in (whole.c.partitions[:7], whole.c[whole.c > 0]):
        with pytest.raises(DataError, match=r"sample_weight has \d+ values"):
            GaussianMixture().fit(whole[["a", "b"]] + 1, sample_weight=wrong.abs())


# --- everything else that counts partitions ------------------------------------------------------------


def test_answers_and_files_of_joined_partitions(folder, tmp_path):
    lazy = read(folder) + 1
    assert lazy.optimize().npartitions < lazy.npartitions
    model = GaussianMixture(2, random_state=0).fit(lazy)
    computed = lazy.compute()
    labels = model.predict(np.asarray(computed))
    assert model.bic(lazy) == pytest.approx(model.bic(np.asarray(computed)))
    chosen = GaussianMixtureIC([1, 2], random_state=0).fit(lazy)
    assert chosen.n_components_ in (1, 2)
    np.testing.assert_array_equal(model.predict(lazy), labels)
    np.testing.assert_array_equal(lazy.assign(label=model.predict(lazy)).compute().label, labels)
    whole = dd.read_parquet(str(folder / "parquet"))
    whole.assign(label=model.predict(whole[["a", "b"]] + 1)).to_parquet(tmp_path / "labelled")
    np.testing.assert_array_equal(dd.read_parquet(tmp_path / "labelled").label, labels)
    for target in ("labels.parquet", "labels.zarr"):
        assert write_predictions(model, lazy, tmp_path / target).n_rows == len(labels)
    np.testing.assert_array_equal(dd.read_parquet(tmp_path / "labels.parquet").labels, labels)
    np.testing.assert_array_equal(da.from_zarr(str(tmp_path / "labels.zarr"), component="labels"), labels)


# --- what only a cluster can compute -------------------------------------------------------------------


def test_shuffled_rows_are_computed_once_and_released_after_the_fit(client):
    lazy = base((40, 1)).map_blocks(np.copy).rechunk((5, 2), method="p2p")
    with pytest.warns(PerformanceWarning, match=r"between workers.* 16 chunks once.*until the fit"):
        GaussianMixture(2, random_state=0, max_iter=5, tol=0).fit(lazy)
    log = client.run_on_scheduler(lambda dask_scheduler: [e[0] for e in dask_scheduler.transition_log])
    keys = set(map(str, ChunkGraphs(lazy).keys))
    assert sum(str(key) in keys for key in log) > 0
    wait_until_forgotten(client, keys)


def wait_until_forgotten(client: Client, keys: set[str]) -> None:
    def held(dask_scheduler: Any) -> int:
        return sum(str(key) in keys for key in dask_scheduler.tasks)

    for _ in range(200):
        if not client.run_on_scheduler(held):
            return
        time.sleep(0.05)
    raise AssertionError("chunks stayed on the cluster")


def test_rows_shuffled_by_tasks_are_computed_once_by_a_cluster(client):
    reads = Counter()

    def counted(x: Any) -> Any:
        reads["all"] += 1
        return x

    stored = da.from_array(rows(0, 2000), chunks=(100, 2))
    lazy = stored.map_blocks(Locally(counted), dtype="f8", meta=np.empty((0, 0)))
    order = np.random.default_rng(0).permutation(2000)
    with pytest.warns(PerformanceWarning, match=r"most depend on the same 20 tasks: .* 20 chunks once"):
        GaussianMixture(2, random_state=0, max_iter=5, tol=0).fit(lazy[order])
    assert reads["all"] == 20


class Locally:
    """A function of this process, which the workers of the test share, by name."""

    known: ClassVar[dict[int, Any]] = {}

    def __init__(self, function: Any) -> None:
        self.number = id(function)
        self.known[self.number] = function

    def __call__(self, x: Any) -> Any:
        return self.known[self.number](x)


def test_shuffles_between_workers_without_a_cluster_say_what_to_do(client):
    lazy = base((40, 1)).rechunk((5, 2), method="p2p")
    with (
        dask.config.set(scheduler="threads"),
        pytest.raises(DataError, match=r"peer to peer.*Use a distributed.Client.*method='tasks'"),
    ):
        GaussianMixture().fit(lazy)


def test_lost_and_foreign_futures_say_so(client):
    with (
        LocalCluster(n_workers=1, processes=False, dashboard_address=None) as cluster,
        Client(cluster, set_as_default=False) as other,
    ):
        lost = other.persist(base())
        frame = other.persist(dd.from_pandas(small(0), npartitions=2))
        for data in (lost, lost - lost.mean(axis=0), frame):
            with pytest.raises(DataError, match="persisted on another client's cluster"):
                GaussianMixture().fit(data)
        with other.as_current():
            np.testing.assert_allclose(GaussianMixture().fit(lost).means_[0], rows(0, 80).mean(axis=0))
    for data in (lost, lost - lost.mean(axis=0), frame):
        with pytest.raises(DataError, match="persisted through a client that was closed"):
            GaussianMixture().fit(data)
        with (
            dask.config.set(scheduler="threads"),
            pytest.raises(DataError, match="persisted through a client that was closed"),
        ):
            GaussianMixture().fit(data)


def test_another_client_of_the_same_cluster_serves(client):
    with Client(client.scheduler.address, set_as_default=False) as other:
        lazy = other.persist(base())
        wait(lazy)
        np.testing.assert_allclose(GaussianMixture().fit(lazy).means_[0], rows(0, 80).mean(axis=0))


def test_graphs_that_dask_cannot_compute_either_are_refused(client, folder):
    persisted = client.persist(read(folder) + 1) * 2
    array = read(folder).to_dask_array(lengths=[N_ROWS] * N_FILES)
    for broken in (persisted, array):
        with pytest.raises(DataError, match="X cannot be computed, by Dask neither"):
            GaussianMixture().fit(broken)
