from __future__ import annotations

import os
import stat

import fsspec
import pytest

from dask_gmm.storage.atomic import read_whole, write_atomically
from dask_gmm.storage.location import Location


def test_a_file_replaces_another_and_leaves_nothing_beside_it(tmp_path):
    path = tmp_path / "file"
    write_atomically(Location.of(path), b"old")
    write_atomically(Location.of(f"file://{path}"), b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_permissions_follow_the_umask(tmp_path):
    umask = os.umask(0o027)
    try:
        write_atomically(Location.of(tmp_path / "file"), b"")
    finally:
        os.umask(umask)
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o640


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, monkeypatch, step):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full_disk(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, step, full_disk)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(Location.of(path), b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_content_is_on_the_disk_before_it_gets_its_name(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    names_at_sync = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: names_at_sync.append(path.read_bytes()))
    write_atomically(Location.of(path), b"new")
    # First the content, then the folder with the name.
    assert names_at_sync == [b"old", b"new"]


def test_links_stay_links(tmp_path):
    (tmp_path / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("real")
    write_atomically(Location.of(tmp_path / "link"), b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "real").read_bytes() == b"new"


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"There is no folder .*/none to write file to"):
        write_atomically(Location.of(tmp_path / "none" / "file"), b"")


def test_other_file_systems_get_one_put(monkeypatch):
    memory = fsspec.filesystem("memory")
    puts = []
    monkeypatch.setattr(type(memory), "pipe_file", lambda self, path, value: puts.append((path, value)))
    write_atomically(Location.of("memory://folder/file"), b"content")
    assert puts == [("/folder/file", b"content")]


def test_a_file_of_another_kind_is_not_read_to_its_end(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"other" + bytes(100))
    assert read_whole(Location.of(path), prefix=b"right") == b"other"
    assert len(read_whole(Location.of(path), prefix=b"oth")) == 105
    assert len(read_whole(Location.of(path))) == 105
