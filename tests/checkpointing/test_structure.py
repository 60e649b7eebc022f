"""Files whose checksum is right and whose structure is not: refused by name, never failing otherwise."""

from __future__ import annotations

import copy
import hashlib
import json
import random
import warnings

import dask.array as da
import numpy as np
import pytest

from dask_gmm import GaussianMixture
from dask_gmm.checkpointing import Checkpoint
from dask_gmm.errors import CheckpointError, CollapsedComponentError, DataError, ModelFileError

N_MUTATIONS = 200
TYPES = ("full", "tied", "diag", "spherical")
# What JSON, and our own codes in it, can hold in the place of something else.
HOSTILE = [
    None, True, False, 0, 1, -1, 2**31, 2**63, 2**64, 10**400, 0.5, 1e308, float("1e999"), "", "x", "full",
    "diag", "\ud800", "0x1p+99999", [], {}, [1], [[]], {"a": 1}, {"float": "nan"}, {"float": "inf"},
    {"float": "0x1p+99999"}, {"float": 3}, {"array": "a0"}, {"array": "a1"}, {"array": []}, {"tuple": []},
    {"tuple": [1]}, {"tuple": 5}, {"collapse": []}, {"collapse": [1, 2]}, {"collapse": ["x", None]},
    {"Run": {}}, {"Moments": []}, {"FitState": {}}, {"stream": "random_state"},
]  # fmt: skip


def parts(content):
    _, line, numbers = content.split(b"\n", 2)
    return json.loads(line), numbers


def sealed(header, numbers):
    body = json.dumps(header).encode() + b"\n" + numbers
    return f"dask-gmm-model 1 {hashlib.sha256(body).hexdigest()}\n".encode() + body


def places(value, path=()):
    """Yield the path of everything in a tree of JSON."""
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield (*path, key)
        yield from places(item, (*path, key))


def mutated(content, rng):
    """Return the content with one or two things of its structure changed, under a checksum that is right."""
    header, numbers = parts(content)
    for _ in range(rng.choice([1, 1, 2])):
        path = rng.choice(list(places(header)))
        holder = header
        for key in path[:-1]:
            holder = holder[key]
        key = path[-1]
        match rng.choice(["replace", "replace", "replace", "remove", "copy", "rename", "scale", "numbers"]):
            case "replace":
                holder[key] = copy.deepcopy(rng.choice(HOSTILE))
            case "remove":
                del holder[key]
            case "copy":
                other = header
                for step in rng.choice(list(places(header))):
                    other = other[step]
                holder[key] = copy.deepcopy(other)
            case "rename" if isinstance(holder, dict):
                holder[rng.choice(["x", "Run", "float", "\ud800"])] = holder.pop(key)
            case "scale" if isinstance(holder[key], int):
                holder[key] = rng.choice([-holder[key], holder[key] + 1, holder[key] * 1000])
            case "numbers" if len(numbers) >= 8:
                place = 8 * rng.randrange(len(numbers) // 8)
                number = np.float64(rng.choice([np.nan, np.inf, -1.0, 0.0, 1e300])).tobytes()
                numbers = numbers[:place] + number + numbers[place + 8 :]
    return sealed(header, numbers)


@pytest.fixture(scope="module", params=[*TYPES, "sampled"])
def stopped(request, make_rows, tmp_path_factory):
    """A fit and its state half-way: with an acceleration in it, or with a surrogate step and a race to go."""
    rows = make_rows(400, 2, 3, spread=1.0)
    sampled = request.param == "sampled"
    data = da.from_array(rows, chunks=(200, 2)) if sampled else rows
    parameters = {"covariance_type": "full" if sampled else request.param, "accelerate": True, "tol": 1e-10}
    parameters |= {"init_params": "sample" if sampled else "random", "random_state": 0, "max_iter": 60}
    path = tmp_path_factory.mktemp("stopped") / "fit"
    states = []
    save = Checkpoint.save

    def note(self, state):
        save(self, state)
        states.append(path.read_bytes())

    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        patch.setattr(Checkpoint, "save", note)
        GaussianMixture(3, checkpoint=path, **parameters).fit(data)
    wanted = b'"SurrogateTrial": {' if sampled else b'"trial": true'
    (content, *_) = [state for state in states if wanted in state]
    return parameters, data, content


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("n_mutations", [20, pytest.param(500, marks=pytest.mark.long)])
def test_a_fit_goes_on_from_a_checkpoint_or_says_what_is_wrong_with_it(stopped, n_mutations, tmp_path):
    parameters, data, content = stopped
    rng, path = random.Random(0), tmp_path / "fit"
    path.write_bytes(content)
    expected = GaussianMixture(3, checkpoint=path, **parameters).fit(data)
    messages = []
    for _ in range(n_mutations):
        path.write_bytes(mutated(content, rng))
        gm = GaussianMixture(3, checkpoint=path, **parameters)
        try:
            gm.fit(data)
        except CheckpointError as error:
            messages.append(str(error))
            assert not hasattr(gm, "means_")
        except (DataError, CollapsedComponentError):
            # Numbers that could have been of other data, or of another way there.
            assert not hasattr(gm, "means_")
        else:
            assert gm.means_.shape == expected.means_.shape
            assert np.isfinite(gm.means_).all()
    assert len(messages) > 0.5 * n_mutations
    assert all(str(path) in message for message in messages)


@pytest.mark.parametrize("covariance_type", TYPES)
def test_a_model_is_loaded_or_refused_by_name(covariance_type, make_rows, tmp_path):
    rows, path, rng = make_rows(60, 2, 2), tmp_path / "model", random.Random(1)
    stream = np.random.RandomState(0)
    GaussianMixture(2, covariance_type=covariance_type, random_state=stream).fit(rows).save(path)
    content, messages = path.read_bytes(), []
    for _ in range(N_MUTATIONS):
        path.write_bytes(mutated(content, rng))
        try:
            loaded = GaussianMixture.load(path)
        except ModelFileError as error:
            messages.append(str(error))
        else:
            # What is loaded can be used and saved.
            assert np.isfinite(loaded.score(rows))
            loaded.save(path)
    assert len(messages) > 0.5 * N_MUTATIONS
    assert all(str(path) in message for message in messages)


def changed(content, *path, value):
    header, numbers = parts(content)
    holder = header
    for key in path[:-1]:
        holder = holder[key]
    holder[path[-1]] = value
    return sealed(header, numbers)


RUN = ("state", "FitState", "restarts", "tuple", 0, "tuple", 0, "Run")
WRONG = {
    "a lone surrogate": ((*RUN, "parameters", "Parameters", "covariance_type"), "\ud800", "covariance type"),
    "another covariance type": (
        (*RUN, "parameters", "Parameters", "covariance_type"),
        "x",
        "covariance type",
    ),
    "a float out of range": ((*RUN, "previous_bound"), {"float": "0x1p+99999"}, "too large"),
    "a number for a truth value": ((*RUN, "racing"), 1, "racing is a int"),
    "an unknown ending": ((*RUN, "ending"), "tired", "ending is a str"),
    "another number": ((*RUN, "number"), 7, "restart 0 has another number"),
    "no restarts": ((*RUN[:-2],), [], "a mixture has no restarts"),
    "a pass that was never made": (
        (*RUN, "iterations", "tuple", 0, "Iteration", "pass_number"),
        99,
        "never made",
    ),
    "arrays that are none": ((*RUN, "parameters", "Parameters", "means"), None, "means is a NoneType"),
    "a list as header number": (("number",), [], "no identity or number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong_is_told(name, stopped, tmp_path):
    parameters, data, content = stopped
    place, value, told = WRONG[name]
    (tmp_path / "fit").write_bytes(changed(content, *place, value=value))
    with pytest.raises(CheckpointError, match=f"fit is no checkpoint that this fit can go on from: .*{told}"):
        GaussianMixture(3, checkpoint=tmp_path / "fit", **parameters).fit(data)


MODEL_WRONG = {
    "iterations without end": (("attributes", "n_iter_"), float("1e999"), "n_iter_ is inf"),
    "a word for a truth value": (("attributes", "converged_"), "false", "converged_ is 'false'"),
    "no names": (("attributes", "feature_names_in_"), [1, 2], "no list of names"),
    "a parameter out of range": (("parameters", "tol"), -1, "'tol' parameter"),
    "a lone surrogate": (("parameters", "covariance_type"), "\ud800", "covariance type is"),
    "a header of its own": (("attributes",), 3, "TypeError"),
}


@pytest.mark.parametrize("name", MODEL_WRONG)
def test_what_is_wrong_with_a_model_is_told(name, make_rows, tmp_path):
    place, value, told = MODEL_WRONG[name]
    GaussianMixture(2, random_state=0).fit(make_rows(60, 2, 2)).save(tmp_path / "model")
    content = (tmp_path / "model").read_bytes()
    (tmp_path / "model").write_bytes(changed(content, *place, value=value))
    with pytest.raises(ModelFileError, match=f"model, written by dask_gmm .* can use: .*{told}"):
        GaussianMixture.load(tmp_path / "model")
