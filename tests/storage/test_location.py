from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from dask.base import tokenize

from dask_gmm.storage.location import Location

OPTIONS = {"key": "id-1", "secret": "s3cret", "anon": False}


@pytest.mark.parametrize(
    "text", [str, repr, "{}".format, pickle.dumps, tokenize, lambda location: location.child("x")]
)
def test_credentials_stay_where_they_were_given(text):
    location = Location.of("s3://me:s3cret@bucket/folder", OPTIONS)
    shown = text(location)
    assert "s3cret" not in str(shown)
    assert b"s3cret" not in pickle.dumps(shown)


def test_one_that_travelled_leads_to_the_same_place():
    travelled = pickle.loads(pickle.dumps(Location.of("s3://me:s3cret@bucket/folder", OPTIONS)))
    assert travelled == Location("s3://bucket/folder", {"anon": False})
    assert repr(travelled) == "Location('s3://bucket/folder')"


@pytest.mark.parametrize("place", ["R&D_key=3", "what?token=3"])
def test_a_path_that_looks_like_a_credential_stays(tmp_path, place):
    for url in (tmp_path / place, f"memory://folder/{place}"):
        location = Location.of(url)
        travelled = pickle.loads(pickle.dumps(location))
        assert travelled.open_filesystem() == location.open_filesystem()
        assert travelled.open_filesystem()[1].endswith(place)


def test_options_tell_locations_apart_but_not_their_tokens():
    plain, other = Location("memory://x"), Location("memory://x", {"object": object()})
    assert plain != other
    assert len({plain, other}) == 2
    assert tokenize(plain) == tokenize(other) != tokenize(Location("memory://y"))


@pytest.mark.parametrize("folder", ["memory://folder", "memory://folder/"])
def test_children_are_opened_with_the_same_options(folder):
    child = Location(folder, {"skip_instance_cache": True}).child("file")
    assert child == Location("memory://folder/file", {"skip_instance_cache": True})
    assert Path(child.open_filesystem()[1]).parent == Path("/folder")
