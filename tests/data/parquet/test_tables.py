"""Folders that a log describes: Delta by its log, others refused; files that no longer count never do."""

from __future__ import annotations

import datetime
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from dask_gmm import DataError, GaussianMixture, read_parquet
from dask_gmm.cli import gmm
from dask_gmm.data.aligned import with_weights

LOCAL = ("--n-workers", "0", "--threads", "1")

deltalake = pytest.importorskip("deltalake")

pytestmark = pytest.mark.filterwarnings("ignore:X has feature names")


def rows_of(source: Any) -> Any:
    reader = source.reader(range(len(source.chunks)))
    return np.concatenate([reader.read(index).rows for index in range(len(source.chunks))])


def as_sets(rows: Any) -> set[tuple[float, ...]]:
    return set(map(tuple, rows.tolist()))


def numbers(first: int, n_rows: int = 20, year: int = 2020) -> pa.Table:
    values = np.arange(first, first + n_rows, dtype="f8")
    return pa.table({"a": values, "year": pa.array([year] * n_rows, pa.int32()), "b": values**2})


@pytest.fixture
def delta(tmp_path: Path) -> Path:
    """Of 80 rows in files, 20 count."""
    path = tmp_path / "table"
    deltalake.write_deltalake(path, numbers(100, 40))
    deltalake.write_deltalake(path, numbers(0, 30), mode="overwrite")
    deltalake.DeltaTable(path).delete("a >= 20")
    return path


@pytest.fixture
def partitioned(tmp_path: Path) -> Path:
    path = tmp_path / "table"
    for year in (2020, 2021):
        deltalake.write_deltalake(path, numbers(100, year=year), partition_by=["year"], mode="append")
    deltalake.write_deltalake(path, numbers(0, year=2021), mode="overwrite", predicate="year = 2021")
    return path


def expected(path: Path) -> Any:
    return deltalake.DeltaTable(path).to_pandas().to_numpy("f8")


def test_a_delta_table_has_the_rows_of_its_newest_version(delta: Path) -> None:
    source = read_parquet(delta)
    assert source.feature_names == ("a", "year", "b")
    assert source.sample_shape == (20,)
    assert as_sets(rows_of(source)) == as_sets(expected(delta))
    fitted = GaussianMixture(1, covariance_type="diag").fit(str(delta))
    np.testing.assert_allclose(fitted.means_[0], expected(delta).mean(axis=0))


def test_partitions_are_columns_of_the_type_that_the_table_says(partitioned: Path) -> None:
    source = read_parquet(partitioned)
    assert source.feature_names == ("a", "year", "b")
    assert as_sets(rows_of(source)) == as_sets(expected(partitioned))
    filtered = read_parquet(partitioned, ["b"], filters=[("year", "=", 2021)])
    assert sorted(rows_of(filtered)[:, 0]) == [float(n * n) for n in range(20)]
    weighted = with_weights(source, "year")
    assert weighted.feature_names == ("a", "b")


def test_partitions_of_texts_and_days(tmp_path: Path) -> None:
    table = pa.table(
        {
            "x": [1.0, 2.0, 3.0],
            "city": ["a b", "50%/x", None],
            "day": [datetime.date(2020, 1, n) for n in (1, 2, 3)],
        }
    )
    deltalake.write_deltalake(tmp_path, table, partition_by=["city", "day"])
    assert sorted(rows_of(read_parquet(tmp_path, "x"))[:, 0]) == [1, 2, 3]
    assert rows_of(read_parquet(tmp_path, "x", [("city", "=", "50%/x")])).tolist() == [[2]]
    assert rows_of(read_parquet(tmp_path, "x", [("day", ">", datetime.date(2020, 1, 2))])).tolist() == [[3]]
    with pytest.raises(TypeError, match=r"'city' \(string\)"):
        read_parquet(tmp_path)


def test_a_log_with_a_checkpoint_is_read_from_there(delta: Path) -> None:
    table = deltalake.DeltaTable(delta)
    table.create_checkpoint()
    deltalake.write_deltalake(delta, numbers(500, 5), mode="append")
    for old in (delta / "_delta_log").glob("0000000000000000000[01].json"):
        old.unlink()
    assert as_sets(rows_of(read_parquet(delta))) == as_sets(expected(delta))


@pytest.mark.parametrize("name", ["run [1]", "R&D_key=3", "a*b?", "50%", "ü"])
def test_a_table_may_have_any_path(delta: Path, tmp_path: Path, name: str) -> None:
    want = as_sets(expected(delta))
    shutil.move(delta, tmp_path / name)
    assert as_sets(rows_of(read_parquet(tmp_path / name))) == want


def test_a_table_may_lie_in_any_store(delta: Path) -> None:
    fsspec.filesystem("memory").put(str(delta), "/lake/table", recursive=True)
    assert as_sets(rows_of(read_parquet("memory://lake/table"))) == as_sets(expected(delta))


def test_the_shell_reads_by_the_log(delta: Path) -> None:
    model = delta.parent / "model.gmm"
    ran = CliRunner().invoke(
        gmm, ["fit", str(delta), "--column", "a", "--n-components", "1", "--out", str(model), *LOCAL]
    )
    assert ran.exit_code == 0, ran.output
    np.testing.assert_allclose(GaussianMixture.load(model).means_, [[9.5]])


def test_without_deltalake_the_table_is_refused(delta: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "deltalake", None)
    with pytest.raises(DataError, match=r"is a Delta table.*pip install 'dask-gmm\[delta\]'"):
        read_parquet(delta)


def test_a_file_that_is_gone_is_named(delta: Path) -> None:
    for file in delta.glob("*.parquet"):
        file.unlink()
    with pytest.raises(DataError, match=r"has the file part-.*which is not there"):
        read_parquet(delta)


@pytest.mark.parametrize("content", ["", "{", "[]\n", '{"add": {"path": "x"}}\n', "\x00"])
def test_a_broken_log_is_an_error_of_ours(delta: Path, content: str) -> None:
    for entry in (delta / "_delta_log").iterdir():
        entry.write_text(content)
    with pytest.raises(DataError, match=r"log of the Delta table .*table cannot be read"):
        read_parquet(delta)


def edit_log(path: Path, change: Callable[[dict[str, Any]], None]) -> None:
    for entry in (path / "_delta_log").glob("*.json"):
        lines = [json.loads(line) for line in entry.read_text().splitlines()]
        for line in lines:
            change(line)
        entry.write_text("\n".join(map(json.dumps, lines)))


def needs(*features: str) -> Callable[[dict[str, Any]], None]:
    def change(line: dict[str, Any]) -> None:
        if "protocol" in line:
            line["protocol"] = {
                "minReaderVersion": 3,
                "minWriterVersion": 7,
                "readerFeatures": list(features),
                "writerFeatures": list(features),
            }

    return change


def test_deletion_vectors_are_refused_where_there_are_some(delta: Path) -> None:
    edit_log(delta, needs("deletionVectors"))
    assert len(rows_of(read_parquet(delta))) == 20

    def delete(line: dict[str, Any]) -> None:
        if "add" in line:
            line["add"]["deletionVector"] = {
                "storageType": "u",
                "pathOrInlineDv": "ab^-aqEH.-t@S}K{vb[*k^",
                "offset": 4,
                "sizeInBytes": 40,
                "cardinality": 2,
            }

    edit_log(delta, delete)
    with pytest.raises(DataError, match=r"uses deletionVectors.*REORG TABLE"):
        read_parquet(delta)


def test_columns_under_other_names_are_refused(delta: Path) -> None:
    edit_log(delta, needs("columnMapping"))

    def mapped(line: dict[str, Any]) -> None:
        if "metaData" not in line:
            return
        schema = json.loads(line["metaData"]["schemaString"])
        for number, column in enumerate(schema["fields"], 1):
            column["metadata"] = {
                "delta.columnMapping.id": number,
                "delta.columnMapping.physicalName": f"col-{number}",
            }
        line["metaData"]["schemaString"] = json.dumps(schema)
        line["metaData"]["configuration"] = {
            "delta.columnMapping.mode": "name",
            "delta.columnMapping.maxColumnId": "3",
        }

    edit_log(delta, mapped)
    with pytest.raises(DataError, match="columnMapping"):
        read_parquet(delta)


# --- what is refused ---------------------------------------------------------------------------------


def iceberg(folder: Path) -> None:
    (folder / "data").mkdir(parents=True)
    (folder / "metadata").mkdir()
    (folder / "metadata" / "00001-3f1c.metadata.json").write_text("{}")
    (folder / "metadata" / "snap-1.avro").write_bytes(b"Obj\x01")
    for number in range(2):
        pq.write_table(numbers(0), folder / "data" / f"{number}.parquet")


def hudi(folder: Path) -> None:
    (folder / ".hoodie").mkdir(parents=True)
    (folder / ".hoodie" / "hoodie.properties").touch()
    (folder / "year=2020").mkdir()
    pq.write_table(numbers(0), folder / "year=2020" / "a_0-1-2_2020.parquet")


def stream(folder: Path) -> None:
    (folder / "_spark_metadata").mkdir(parents=True)
    (folder / "_spark_metadata" / "0").write_text('v1\n{"path": "a.parquet", "action": "add"}')
    pq.write_table(numbers(0), folder / "a.parquet")


TABLES = {"Iceberg": iceberg, "Hudi": hudi, "Spark streaming": stream}


@pytest.mark.parametrize("kind", TABLES)
def test_other_tables_are_refused_with_what_to_do(tmp_path: Path, kind: str) -> None:
    folder = tmp_path / "lake" / "table"
    TABLES[kind](folder)
    files = sorted(folder.rglob("*.parquet"))
    for url in (folder, folder.parent, files[0].parent, f"{files[0].parent}/*.parquet", f"{folder.parent}/*"):
        with pytest.raises(DataError, match=rf"lake/table is a {kind} table.*read_parquet"):
            read_parquet(url)
    with pytest.raises(DataError, match=f"is a {kind} table"):
        GaussianMixture(1).fit(str(folder))
    ran = CliRunner().invoke(
        gmm, ["fit", str(folder), "--n-components", "1", "--out", str(tmp_path / "m"), *LOCAL]
    )
    assert ran.exit_code == 3
    assert f"is a {kind} table" in ran.output
    # Whoever names files means them.
    assert len(rows_of(read_parquet(files, ["a"]))) == 20 * len(files)


def test_a_part_of_a_delta_table_is_refused(partitioned: Path) -> None:
    for url in (
        partitioned / "year=2021",
        f"{partitioned}/*.parquet",
        f"{partitioned}/year=2021/*",
        f"{partitioned}/*/*.parquet",
        partitioned.parent,
    ):
        with pytest.raises(DataError, match=r"is a Delta table.*give the folder of the table itself"):
            read_parquet(url)


def test_a_folder_that_is_called_like_a_log_is_none(tmp_path: Path) -> None:
    (tmp_path / "metadata").mkdir()
    (tmp_path / "metadata" / "notes.json").write_text("{}")
    pq.write_table(numbers(0), tmp_path / "x.parquet")
    assert read_parquet(tmp_path).sample_shape == (20,)
    assert read_parquet(f"{tmp_path}/*.parquet").sample_shape == (20,)
