"""Where obstore is installed it reads what fsspec's clients would read, with credentials found as they do."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from zarr.storage import FsspecStore, ObjectStore

from dask_gmm import from_zarr
from dask_gmm.data.zarr.stored_array import StoredArray

pytestmark = pytest.mark.long


@pytest.fixture(params=["s3", "azure"])
def stored(request: pytest.FixtureRequest, make_rows: Any) -> str:
    pytest.importorskip("obstore")
    url = f"{request.getfixturevalue(request.param)}/x.zarr"
    rows = make_rows()
    zarr.create_array(url, shape=rows.shape, chunks=(150, 3), dtype="f8", overwrite=True)[:] = rows
    return url


def _open(url: str, **options: Any) -> StoredArray:
    return StoredArray.open(url, None, options, False)


def test_obstore_reads(stored: str, make_rows: Any) -> None:
    source = from_zarr(stored)
    assert isinstance(_open(stored).chunk_reader.checked.store._store, ObjectStore)
    reader = pickle.loads(pickle.dumps(source)).reader(range(4))
    np.testing.assert_array_equal(np.concatenate([reader.read(i).rows for i in range(4)]), make_rows())


def test_options_are_fsspecs(stored: str) -> None:
    options = {"use_listings_cache": False}
    assert isinstance(_open(stored, **options).chunk_reader.checked.store._store, FsspecStore)


def test_what_is_missing_is_named(stored: str) -> None:
    with pytest.raises(FileNotFoundError, match=r"none\.zarr"):
        from_zarr(stored.replace("x.zarr", "none.zarr"))


def test_no_secret_travels(stored: str) -> None:
    source = from_zarr(stored)
    for secret in ("s3cret", "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uS"):
        assert secret.encode() not in pickle.dumps(source)
        assert secret not in repr(source)


def test_credentials_of_the_usual_files(
    s3: str, make_rows: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("obstore")
    rows = make_rows()
    zarr.create_array(f"{s3}/y.zarr", shape=rows.shape, chunks=(150, 3), dtype="f8", overwrite=True)[:] = rows
    credentials = tmp_path / "credentials"
    credentials.write_text("[mine]\naws_access_key_id = id\naws_secret_access_key = s3cret\n")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(credentials))
    monkeypatch.setenv("AWS_PROFILE", "mine")
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    array = _open(f"{s3}/y.zarr")
    assert isinstance(array.chunk_reader.checked.store._store, ObjectStore)
    np.testing.assert_array_equal(array.chunk_reader.checked[:], rows)
