"""The state of a fit between two passes: as plain JSON and back, also from what earlier releases wrote."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest

from dask_gmm.fitting.accelerate.lbfgs import Acceleration
from dask_gmm.fitting.em import Run
from dask_gmm.fitting.methods import Accelerated, BeforeSurrogateStep, PlainEM, SurrogateTrial
from dask_gmm.fitting.state import from_plain, to_plain
from dask_gmm.fitting.stopping import Stopping
from dask_gmm.model.parameters import Parameters

# Written when a run had flags: plain EM in a race, one that was outrun before a surrogate step, the trial of
# such a step, L-BFGS on trial.
STORED = json.loads((Path(__file__).parent / "earlier_restarts.json").read_text())
ARRAYS = {name: np.array(array) for name, array in STORED["arrays"].items()}


def spherical(mean):
    return Parameters.from_covariances("spherical", [1.0], [[mean]], [1.0])


def test_runs_of_an_earlier_release_have_methods():
    plain, before, trial, accelerated = from_plain(STORED["state"], ARRAYS)
    assert (plain.method, plain.racing, plain.ending) == (PlainEM(may_accelerate=True), True, None)
    assert (before.method, before.racing, before.ending) == (BeforeSurrogateStep(True), False, "outrun")
    assert isinstance(trial.method, SurrogateTrial)
    assert trial.method.may_accelerate
    assert (trial.parameters.means[0, 0], trial.method.em_step.means[0, 0]) == (0.5, 0.125)
    assert isinstance(accelerated.method, Accelerated)
    assert accelerated.method.on_trial
    assert [run.number for run in (plain, before, trial, accelerated)] == [0, 1, 2, 3]
    assert [run.lower_bound for run in (plain, before, trial, accelerated)] == [-2.0, -2.0, -2.0, -1.0]


@pytest.mark.parametrize(
    ("number", "changes", "told"),
    [
        (3, {"leaping": True}, "accelerated and makes a surrogate step"),
        (3, {"leapt_over": 1}, "accelerated and makes a surrogate step"),
        (1, {"leaping": 1}, "leaping is a int"),
    ],
)
def test_flags_that_contradict_each_other_are_refused(number, changes, told):
    state = copy.deepcopy(STORED["state"])
    state["tuple"][number]["Run"].update(changes)
    with pytest.raises(ValueError, match=told):
        from_plain(state, ARRAYS)


METHODS = {
    "plain": PlainEM(may_accelerate=True),
    "before a surrogate step": BeforeSurrogateStep(may_accelerate=False),
    "surrogate trial": SurrogateTrial(spherical(0.5), may_accelerate=True),
    "accelerated": Accelerated(Acceleration.begin(spherical(0.0), spherical(0.5))),
}


@pytest.mark.parametrize("name", METHODS)
def test_every_method_goes_through_json(name):
    run = Run(1, spherical(0.5), racing=True, method=METHODS[name])
    arrays = {}
    again = from_plain(json.loads(json.dumps(to_plain(run, arrays))), arrays)
    assert type(again.method) is type(run.method)
    assert (again.number, again.racing, again.method.on_trial) == (1, True, run.method.on_trial)
    # It goes on alike, to the last bit.
    one, other = (each.advance(-1.0, spherical(0.75), 0, Stopping(10, 1e-3)) for each in (run, again))
    assert one.parameters.means == other.parameters.means
    assert one.lower_bounds == other.lower_bounds


@pytest.mark.parametrize("method", [PlainEM(), BeforeSurrogateStep(may_accelerate=True)])
def test_only_a_trial_can_be_rejected(method):
    run = Run(0, spherical(0.0), method=method).advance(-2.0, spherical(0.5), 0, Stopping(10, 1e-3))
    assert not run.rejects(-5.0)
    with pytest.raises(TypeError, match="has tried nothing"):
        run.undo_trial(1, Stopping(10, 1e-3))
