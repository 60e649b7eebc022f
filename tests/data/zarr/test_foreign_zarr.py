"""Zarr as other projects write it: read with the right numbers, or refused with the cause."""

from __future__ import annotations

import base64
import json
import warnings

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BytesCodec, Crc32cCodec, TransposeCodec, ZstdCodec
from zarr.codecs import numcodecs as v3
from zarr.storage import MemoryStore, ZipStore

from dask_gmm import GaussianMixture, from_zarr
from dask_gmm.data.dispatch import lazy_source
from dask_gmm.errors import DataError

pytestmark = pytest.mark.filterwarnings("ignore::zarr.errors.UnstableSpecificationWarning")

RNG = np.random.default_rng(0)
TABLE = RNG.normal(size=(24, 3)).round(2) + 1
IMAGE = RNG.integers(1, 4000, (2, 10, 12)).astype("u2")


def table(folder, values=TABLE, **options):
    """Write a table, and return where it is and its rows."""
    options = {"chunks": (10, 2), "overwrite": True, **options}
    made = zarr.create_array(folder / "x.zarr", shape=values.shape, dtype=values.dtype, **options)
    made[...] = values
    return {"url": folder / "x.zarr"}, zarr.open_array(folder / "x.zarr")[...]


def dataset(folder, zarr_format, **encoding):
    """Write variables as xarray does, and return two of them and what xarray reads."""
    xr = pytest.importorskip("xarray")
    times = np.datetime64("2000-01-01") + np.arange(6).astype("timedelta64[D]")
    variables = {name: (("time", "x"), 9 + 5 * RNG.normal(size=(6, 8))) for name in ("t", "s")}
    variables["t"][1][1:3] = np.nan
    with warnings.catch_warnings(action="ignore"):  # Of Zarr, about consolidated metadata.
        made = xr.Dataset(variables, {"time": times.astype("datetime64[ns]")})
        encoded = {name: {**encoding, "chunks": (4, 4)} for name in variables}
        made.to_zarr(folder / "d.zarr", zarr_format=zarr_format, encoding=encoded)
        read = xr.open_zarr(folder / "d.zarr", chunks=None).load()
    rows = np.stack([read.t, read.s], axis=-1).reshape(-1, 2)
    given = {"url": folder / "d.zarr", "component": ["t", "s"], "nan": "drop"}
    return given, rows[~np.isnan(rows).any(axis=1)]


PACKED = {"dtype": "i2", "scale_factor": 0.01, "add_offset": 4.0, "_FillValue": -32768}
UNSIGNED = {"dtype": "i1", "_Unsigned": "true", "scale_factor": 0.25, "add_offset": -10.0, "_FillValue": 255}


def times(folder):
    given, _ = dataset(folder, 3)
    return {**given, "component": ["time"]}, np.arange(6.0)[:, None]


def references(folder, inline=False):
    """Write what kerchunk does: references into a file of another format."""
    values = TABLE.astype("<f4")
    (folder / "old.bin").write_bytes(b"header" + values.tobytes())

    def chunk(index):
        first = 6 + 144 * index
        if not inline:
            return [str(folder / "old.bin"), first, 144]
        return "base64:" + base64.b64encode(values[12 * index : 12 * index + 12].tobytes()).decode()

    metadata = {"zarr_format": 2, "shape": [24, 3], "chunks": [12, 3], "dtype": "<f4", "order": "C"}
    metadata |= {"compressor": None, "filters": None, "fill_value": None}
    references = {
        ".zgroup": json.dumps({"zarr_format": 2}),
        "x/.zarray": json.dumps(metadata),
        "x/.zattrs": json.dumps({"_ARRAY_DIMENSIONS": ["n", "d"]}),
        **{f"x/{index}.0": chunk(index) for index in range(2)},
    }
    (folder / "refs.json").write_text(json.dumps({"version": 1, "refs": references}))
    options = {"fo": str(folder / "refs.json")}
    return {"url": "reference://", "component": "x", "storage_options": options}, values


def image(folder, version):
    """Write an image as OME-NGFF has it, in two resolutions."""
    axes = [{"name": "c", "type": "channel"}, {"name": "y", "type": "space"}, {"name": "x", "type": "space"}]
    multiscales = [{"version": version, "axes": axes, "datasets": [{"path": "0"}, {"path": "1"}]}]
    as_05 = version == "0.5"
    group = zarr.open_group(folder / "image.zarr", mode="w", zarr_format=3 if as_05 else 2)
    group.attrs.update(
        {"ome": {"version": version, "multiscales": multiscales}} if as_05 else {"multiscales": multiscales}
    )
    for level in range(2):
        step = 2**level
        values = IMAGE[:, ::step, ::step]
        group.create_array(str(level), shape=values.shape, chunks=(1, 5, 5), dtype="u2")[...] = values
    return {"url": folder / "image.zarr", "component": "0", "feature_axis": 0}, IMAGE.reshape(2, -1).T


def cells(folder):
    """Write a table as AnnData does, dense and sparse."""
    root = zarr.open_group(folder / "cells.zarr", mode="w", zarr_format=2)
    root.attrs.update({"encoding-type": "anndata", "encoding-version": "0.1.0"})
    root.create_array("X", shape=TABLE.shape, chunks=(10, 3), dtype="f4")[...] = TABLE
    sparse = root.create_group("layers/counts")
    sparse.attrs.update({"encoding-type": "csr_matrix", "shape": [24, 3]})
    for name in ("data", "indices", "indptr"):
        sparse.create_array(name, data=np.arange(1, 25))
    columns = root.create_group("obs")
    columns.attrs.update({"encoding-type": "dataframe", "column-order": ["size", "depth", "kind"]})
    columns.create_array("size", data=TABLE[:, 0], chunks=(24,))
    columns.create_array("depth", data=TABLE[:, 1], chunks=(7,))
    kind = columns.create_group("kind")
    kind.attrs.update({"encoding-type": "categorical"})
    kind.create_array("codes", data=np.arange(24) % 3)
    return folder / "cells.zarr"


def zipped(folder):
    with ZipStore(folder / "x.zarr.zip", mode="w") as store:
        group = zarr.open_group(store, mode="w")
        group.create_array("deep/in/it", data=TABLE, chunks=(10, 3))
    return {"url": folder / "x.zarr.zip", "component": "deep/in/it"}, TABLE


def grouped(folder, zarr_format, consolidated):
    group = zarr.open_group(folder / "g.zarr", mode="w", zarr_format=zarr_format)
    group.create_array("deep/in/it", data=TABLE, chunks=(10, 3))
    group.create_array("other", data=TABLE[:, 0])
    if consolidated:
        with warnings.catch_warnings(action="ignore"):
            zarr.consolidate_metadata(folder / "g.zarr")
    return {"url": folder / "g.zarr", "component": "deep/in/it"}, TABLE


FILTERS = {
    "delta": [numcodecs.Delta("f8")],
    "fixed scale and offset": [numcodecs.FixedScaleOffset(offset=1, scale=100, dtype="f8", astype="i4")],
    "quantize": [numcodecs.Quantize(2, "f8")],
    "shuffle": [numcodecs.Shuffle(8)],
    "bit round": [numcodecs.BitRound(20)],
}
READ = {
    "packed by xarray, 2": lambda folder: dataset(folder, 2, **PACKED),
    "packed by xarray, 3": lambda folder: dataset(folder, 3, **PACKED),
    "unsigned, 2": lambda folder: dataset(folder, 2, **UNSIGNED),
    "unsigned, 3": lambda folder: dataset(folder, 3, **UNSIGNED),
    "times": times,
    "references": references,
    "references, inline": lambda folder: references(folder, inline=True),
    "OME-NGFF 0.4": lambda folder: image(folder, "0.4"),
    "OME-NGFF 0.5": lambda folder: image(folder, "0.5"),
    "AnnData, X": lambda folder: ({"url": cells(folder), "component": "X"}, TABLE.astype("f4")),
    "AnnData, columns": lambda folder: (
        {"url": cells(folder), "component": ["obs/size", "obs/depth"]},
        TABLE[:, :2],
    ),
    "zip": zipped,
    "2": lambda folder: grouped(folder, 2, consolidated=False),
    "2, consolidated": lambda folder: grouped(folder, 2, consolidated=True),
    "3": lambda folder: grouped(folder, 3, consolidated=False),
    "3, consolidated": lambda folder: grouped(folder, 3, consolidated=True),
    "sharded": lambda folder: table(folder, chunks=(5, 1), shards=(10, 3)),
    "big-endian, 2": lambda folder: table(folder, TABLE.astype(">f8"), zarr_format=2),
    "big-endian, 3": lambda folder: table(folder, serializer=BytesCodec(endian="big")),
    "float16": lambda folder: table(folder, TABLE.astype("f2")),
    "bool": lambda folder: table(folder, TABLE > 1),
    "int64": lambda folder: table(folder, (100 * TABLE).astype("i8")),
    "Fortran order, 2": lambda folder: table(folder, zarr_format=2, order="F"),
    "transposed": lambda folder: table(folder, filters=[TransposeCodec(order=(1, 0))]),
    "checksums": lambda folder: table(folder, compressors=[ZstdCodec(), Crc32cCodec()]),
    "nested keys, 2": lambda folder: table(
        folder, zarr_format=2, chunk_key_encoding={"name": "v2", "separator": "/"}
    ),
    "chunks beyond the array": lambda folder: table(folder, chunks=(100, 7)),
    "numcodecs, 3": lambda folder: table(
        folder,
        filters=[v3.FixedScaleOffset(offset=1, scale=100, dtype="<f8", astype="<i4")],
        compressors=[v3.Zlib(level=1)],
    ),
    **{
        f"{name}, 2": lambda folder, filters=filters: table(folder, zarr_format=2, filters=filters)
        for name, filters in FILTERS.items()
    },
}


@pytest.mark.filterwarnings("ignore:Numcodecs codecs are not in the Zarr version 3")
@pytest.mark.filterwarnings("ignore:.*is not part of the Zarr format 3 spec")
@pytest.mark.parametrize("make", READ.values(), ids=READ)
def test_numbers_are_those_of_who_wrote_them(tmp_path, make):
    given, rows = make(tmp_path)
    source = from_zarr(**given)
    fitted = GaussianMixture(1, reg_covar=0, tol=1e-12).fit(source)
    exact = np.float32 if source.dtype == np.float32 else np.float64
    rtol = 2e-5 if exact == np.float32 else 1e-10
    expected = np.asarray(rows, dtype=np.float64)
    np.testing.assert_allclose(fitted.means_[0], expected.mean(axis=0), rtol=rtol)
    covariance = np.atleast_2d(np.cov(expected.T, bias=True))
    np.testing.assert_allclose(fitted.covariances_[0], covariance, rtol=50 * rtol, atol=1e-12)
    reader = source.reader(range(len(source.chunks)))
    blocks = [reader.read(index) for index in range(len(source.chunks))]
    order = np.argsort(np.concatenate([block.numbers() for block in blocks]))
    read = np.concatenate([block.rows for block in blocks])[order]
    np.testing.assert_array_equal(read, np.asarray(rows, dtype=source.dtype))


def unknown(folder, change, zarr_format=3, group=False):
    """Write a table whose metadata name what nobody has."""
    root = folder / "x.zarr"
    if group:
        zarr.open_group(root, mode="w", zarr_format=zarr_format)
    path = root / "a" if group else root
    zarr.create_array(path, data=TABLE, chunks=(10, 3), zarr_format=zarr_format)
    document = path / ("zarr.json" if zarr_format == 3 else ".zarray")
    metadata = json.loads(document.read_text())
    change(metadata)
    document.write_text(json.dumps(metadata))
    return {"url": root, "component": "a" if group else None}


def codec_3(name):
    return lambda metadata: metadata["codecs"].append({"name": name, "configuration": {}})


def entry(**changed):
    return lambda metadata: metadata.update(changed)


def typed(dtype, **options):
    def make(folder):
        values = np.zeros((4, 2), dtype=dtype) if dtype is not str else np.full((4, 2), "a")
        made = zarr.create_array(folder / "x.zarr", shape=(4, 2), chunks=(2, 2), dtype=dtype, **options)
        made[...] = values
        return {"url": folder / "x.zarr"}

    return make


def lost_reference(folder):
    given, _ = references(folder)
    (folder / "old.bin").rename(folder / "new.bin")
    return given


REFUSED = {
    "unknown codec, 3": (
        lambda folder: unknown(folder, codec_3("example.squeeze")),
        r"x\.zarr is encoded with the codec 'example\.squeeze', which is not installed\. Install the package",
    ),
    "unknown codec of a member": (
        lambda folder: unknown(folder, codec_3("example.squeeze"), group=True),
        r"x\.zarr/a is encoded with the codec 'example\.squeeze'",
    ),
    "unknown compressor, 2": (
        lambda folder: unknown(folder, entry(compressor={"id": "imagecodecs_jpegxl"}), 2),
        r"x\.zarr is encoded with the codec 'imagecodecs_jpegxl', .*Install imagecodecs ",
    ),
    "unknown filter, 2": (
        lambda folder: unknown(folder, entry(filters=[{"id": "wavpack"}]), 2, group=True),
        r"x\.zarr/a is encoded with the codec 'wavpack', .*Install wavpack-numcodecs ",
    ),
    "codec of an extra": (
        lambda folder: unknown(folder, entry(codecs=[{"name": "numcodecs.pcodec", "configuration": {}}])),
        r"x\.zarr is encoded with the codec 'pcodec', .*Install numcodecs\[pcodec\] ",
    ),
    "unknown data type, 3": (
        lambda folder: unknown(folder, entry(data_type="bfloat16")),
        r"x\.zarr cannot be read by Zarr .*data type.*'bfloat16'",
    ),
    "objects, 2": (
        lambda folder: unknown(folder, entry(dtype="|O", filters=[{"id": "pickle"}], fill_value=None), 2),
        r"x\.zarr cannot be read by Zarr .*data type.*'\|O'",
    ),
    "unknown grid": (
        lambda folder: unknown(folder, entry(chunk_grid={"name": "wild", "configuration": {}})),
        r"x\.zarr cannot be read by Zarr .*Unknown chunk grid",
    ),
    "text": (typed("U3"), r"x\.zarr has dtype <U3; GaussianMixture needs real numbers"),
    "text of any length, 2": (typed(str, zarr_format=2), r"x\.zarr has dtype StringDType.*real numbers"),
    "text of any length, 3": (typed(str), r"x\.zarr has dtype StringDType.*real numbers"),
    "fields": (typed([("a", "f8"), ("b", "i4")]), r"x\.zarr has dtype \[\('a', .*real numbers"),
    "complex": (typed("c16"), r"Complex data not supported: .*x\.zarr has dtype complex128"),
    "times": (typed("M8[ns]"), r"x\.zarr has dtype datetime64\[ns\]; .*real numbers"),
    "scalar": (
        lambda folder: table(folder, np.float64(3.0), chunks=())[0],
        r"Expected 2D array, got 0D array instead: .*x\.zarr needs one axis of features",
    ),
    "scalar variable": (
        lambda folder: {**table(folder, np.float64(3.0), chunks=())[0], "component": [""]},
        r"Found array with 1 sample\(s\)",
    ),
    "no rows": (
        lambda folder: {**table(folder, np.zeros((0, 3)))[0]},
        r"Found array with 0 sample\(s\)",
    ),
    "no features": (
        lambda folder: {**table(folder, np.zeros((3, 0)))[0]},
        r"Found array with 0 feature\(s\)",
    ),
    "AnnData": (
        lambda folder: {"url": cells(folder)},
        r"cells\.zarr is a Zarr group\. .*its arrays: 'X', .*'obs/size'",
    ),
    "AnnData, sparse": (
        lambda folder: {"url": cells(folder), "component": "layers/counts"},
        r"counts is not an array, but a sparse matrix, .*write it as a dense array.*csr_matrix",
    ),
    "AnnData, categories": (
        lambda folder: {"url": cells(folder), "component": ["obs/size", "obs/kind"]},
        r"obs/kind is not an array, but a column of categories",
    ),
    "OME-NGFF": (
        lambda folder: {"url": image(folder, "0.5")[0]["url"]},
        r"is a Zarr group\. .*OME-NGFF image of axes \(c, y, x\): component='0', feature_axis=0 reads it",
    ),
    "lost reference": (lost_reference, r"old\.bin"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_fitted_is_refused_with_the_cause(tmp_path, make, message):
    with pytest.raises((ValueError, TypeError, OSError), match=f"(?s){message}") as told:
        GaussianMixture(1).fit(from_zarr(**make(tmp_path)))
    assert "damaged" not in str(told.value)


def test_a_group_that_is_open_lists_its_arrays(tmp_path):
    group = zarr.open_group(cells(tmp_path), mode="r")
    for act in (lazy_source, GaussianMixture(1).fit):
        with pytest.raises(ValueError, match=r"is a Zarr group\. .*component=.*'X', .*'obs/depth'"):
            act(group)


@pytest.mark.parametrize("consolidated", [False, True])
def test_arrays_beside_one_that_cannot_be_read_are_read_and_listed(tmp_path, consolidated):
    given = unknown(tmp_path, codec_3("example.squeeze"), group=True)
    good = zarr.create_array(given["url"] / "b", data=TABLE, chunks=(10, 3))
    if consolidated:
        root = given["url"] / "zarr.json"
        metadata = {name: json.loads((given["url"] / name / "zarr.json").read_text()) for name in ("a", "b")}
        document = {**json.loads(root.read_text())}
        document["consolidated_metadata"] = {
            "kind": "inline", "must_understand": False, "metadata": metadata
        }  # fmt: skip
        root.write_text(json.dumps(document))
    np.testing.assert_array_equal(from_zarr(given["url"], "b").reader([0]).read(0).rows, good[:10])
    with pytest.raises(ValueError, match=r"is a Zarr group.*its arrays: 'a', 'b'"):
        from_zarr(given["url"])
    with pytest.raises(ValueError, match=r"has no array 'c'.*its arrays: 'a', 'b'"):
        from_zarr(given["url"], "c")


def test_a_codec_that_only_workers_lack_is_no_damage(tmp_path, monkeypatch):
    table(tmp_path, zarr_format=2, filters=[numcodecs.Delta("f8")])
    source = from_zarr(tmp_path / "x.zarr")

    def decode(self, *args):
        raise ModuleNotFoundError("No module named 'example'")

    monkeypatch.setattr(numcodecs.Delta, "decode", decode)
    with pytest.raises(DataError, match=r"x\.zarr cannot be decoded here: .*'example'.*on workers, too"):
        source.reader([0]).read(0)


def test_a_long_list_of_arrays_is_cut():
    group = zarr.open_group(MemoryStore(), mode="w")
    for index in range(45):
        group.create_array(f"a{index:02}", shape=(2, 2), dtype="f8")
    with pytest.raises(ValueError, match=r"'a39', and 5 more\."):
        from_zarr(group)
