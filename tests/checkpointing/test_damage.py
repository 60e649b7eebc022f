"""Damaged files are refused; nothing in a file is ever run."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import random

import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.checkpointing import Checkpoint
from dask_gmm.errors import CheckpointError, ModelFileError
from dask_gmm.fitting.state import FitState

N_MUTATIONS = 1000


@pytest.fixture(scope="module")
def fitted(make_rows, tmp_path_factory):
    """An estimator whose checkpoint is the state of its whole fit."""
    path = tmp_path_factory.mktemp("fitted") / "fit"
    return GaussianMixture(2, random_state=0, checkpoint=path).fit(make_rows(60, 2, 2))


@pytest.fixture
def content(fitted):
    return fitted.checkpoint.read_bytes()


def identity_of(content):
    return json.loads(content.split(b"\n")[1])["identity"]


def load(path, identity):
    with Checkpoint(path, identity) as checkpoint:
        return checkpoint.load()


def mutated(content, rng):
    """Return the content with one thing changed somewhere."""
    place = rng.randrange(len(content))
    length = min(rng.choice([1, 1, 1, 2, 8, 64, 512]), len(content) - place)
    end = place + length
    match rng.choice(["flip", "noise", "zeros", "cut", "remove", "repeat", "swap", "append", "lines"]):
        case "flip":
            return content[:place] + bytes([content[place] ^ (1 << rng.randrange(8))]) + content[place + 1 :]
        case "noise":
            return content[:place] + rng.randbytes(length) + content[end:]
        case "zeros":
            return content[:place] + bytes(length) + content[end:]
        case "cut":
            return content[:place]
        case "remove":
            return content[:place] + content[end:]
        case "repeat":
            return content[:end] + content[place:]
        case "swap":
            return content[end:] + content[:end]
        case "append":
            return content + rng.randbytes(length)
        case "lines":
            return content.replace(b"\n", b"\r\n")


def test_mutated_checkpoints_are_refused_or_identical(content, tmp_path):
    rng, path, identity = random.Random(0), tmp_path / "fit", identity_of(content)
    whole = repr(load_from(path, content, identity))
    n_refused = 0
    for _ in range(N_MUTATIONS):
        try:
            assert repr(load_from(path, mutated(content, rng), identity)) == whole
        except CheckpointError:
            n_refused += 1
    assert n_refused > 0.9 * N_MUTATIONS


def load_from(path, content, identity):
    path.write_bytes(content)
    return load(path, identity)


def test_mutated_models_are_refused_or_identical(fitted, tmp_path):
    rng, path = random.Random(1), tmp_path / "model"
    fitted.save(path)
    content, n_refused = path.read_bytes(), 0
    for _ in range(N_MUTATIONS):
        path.write_bytes(mutated(content, rng))
        try:
            loaded = GaussianMixture.load(path)
        except ModelFileError:
            n_refused += 1
        else:
            np.testing.assert_array_equal(loaded.means_, fitted.means_)
            loaded.save(path)
            assert path.read_bytes() == content
    assert n_refused > 0.9 * N_MUTATIONS


def test_a_fit_says_that_its_checkpoint_is_damaged(fitted, content, make_rows, tmp_path):
    path = tmp_path / "fit"
    path.write_bytes(content[:-1])
    again = GaussianMixture(2, random_state=0, checkpoint=path)
    with pytest.raises(CheckpointError, match=r"fit cannot be used: .* cut off or damaged.* Delete it to"):
        again.fit(make_rows(60, 2, 2))
    assert not hasattr(again, "means_")
    # It stays for whoever wants to look at it, and nothing else is left.
    assert path.read_bytes() == content[:-1]
    assert list(tmp_path.iterdir()) == [path]


class Bomb:
    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def test_pickles_are_not_opened(tmp_path):
    bomb = pickle.dumps(Bomb(str(tmp_path / "exploded")))
    for around in (b"", b"dask-gmm-model 1 "):
        (tmp_path / "fit").write_bytes(around + bomb)
        with pytest.raises(CheckpointError):
            load(tmp_path / "fit", {})
    assert not (tmp_path / "exploded").exists()


def resealed(content, change):
    """Return the content with its header changed, under a checksum that is right again."""
    _, line, numbers = content.split(b"\n", 2)
    header = json.loads(line)
    change(header)
    body = json.dumps(header).encode() + b"\n" + numbers
    return f"dask-gmm-model 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body


def nested(depth):
    value = 0
    for _ in range(depth):
        value = {"tuple": [value]}
    return value


FORGERIES = {
    "no state": lambda header: header.pop("state"),
    "no identity": lambda header: header.pop("identity"),
    "no number": lambda header: header.pop("number"),
    "another class": lambda header: header.update(state={"os.system": {"command": "true"}}),
    "no class": lambda header: header.update(state=["FitState"]),
    "a number": lambda header: header.update(state=3),
    "another field": lambda header: header["state"]["FitState"].update(more=1),
    "a field less": lambda header: header["state"]["FitState"].pop("records"),
    "two kinds": lambda header: header["state"].update(tuple=[]),
    "no such array": lambda header: header["state"]["FitState"].update(moments={"array": "a999"}),
    "huge shape": lambda header: header["arrays"][0].update(shape=[2**60, 2**60]),
    "objects": lambda header: header["arrays"][0].update(dtype="|O"),
    "deep": lambda header: header.update(state=nested(400)),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused(content, tmp_path, name):
    identity = identity_of(content)
    assert isinstance(load_from(tmp_path / "fit", resealed(content, lambda header: None), identity), FitState)
    with pytest.raises(CheckpointError):
        load_from(tmp_path / "fit", resealed(content, FORGERIES[name]), identity)


def test_a_file_of_a_later_version_is_told(content, tmp_path):
    later = content.replace(b"dask-gmm-model 1 ", b"dask-gmm-model 7 ", 1)
    with pytest.raises(CheckpointError, match="format version 7; this release of dask_gmm reads version 1"):
        load_from(tmp_path / "fit", later, {})
    # Which release wrote a state is told before what it holds.
    unknown = resealed(content, lambda header: header.update(state={"Later": {}}))
    with pytest.raises(CheckpointError, match="release was"):
        load_from(tmp_path / "fit", unknown, {**identity_of(content), "release": "99"})
