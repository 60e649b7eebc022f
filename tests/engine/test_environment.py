"""Workers of another kind are noticed in the first pass: refused where results would be of two releases."""

from __future__ import annotations

import warnings

import dask.array as da
import numpy as np
import pytest
from distributed import Client, LocalCluster

from dask_gmm import GaussianMixture, WorkersDifferError
from dask_gmm.engine.environment import Environments, check_environments, environment
from tests.engine.reduction_contract import ReductionContract

ROWS = da.from_array(np.random.default_rng(0).normal(size=(400, 2)), chunks=(100, 2))


def another(name, value):
    return tuple((key, value if key == name else mine) for key, mine in environment())


@pytest.fixture
def client():
    with (
        LocalCluster(n_workers=2, threads_per_worker=1, processes=False, dashboard_address=None) as made,
        Client(made) as client,
    ):
        yield client


def test_equal_workers_are_no_matter():
    with warnings.catch_warnings(action="error"):
        assert not check_environments(frozenset([environment()]))


class TestEnvironments(ReductionContract):
    @pytest.fixture
    def reduction(self):
        return Environments()


def test_all_groups_are_united():
    reduction, other = Environments(), another("numba", "0.1")
    assert reduction.combine([frozenset([other]), reduction.zero()]) == {other, environment()}


@pytest.mark.parametrize("name", ["numpy", "numba", "processor", "BLAS"])
def test_what_bits_depend_on_is_told(name):
    with pytest.warns(UserWarning, match=f"last bits of a result depend on .*{name}: .*an older one") as told:
        assert check_environments(frozenset([environment(), another(name, "an older one")]))
    assert len(told) == 1


def test_another_release_is_refused():
    with pytest.raises(WorkersDifferError, match=r"Workers have dask_gmm 0\.0\.9, this process has"):
        check_environments(frozenset([another("dask_gmm", "0.0.9")]))


def test_a_fit_tells_it_once(client, monkeypatch):
    zero = Environments.zero

    def as_on_two_processors(self):
        return zero(self) | {another("processor", "haswell")}

    monkeypatch.setattr(Environments, "zero", as_on_two_processors)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        fitted = GaussianMixture(2, random_state=0, max_iter=3, tol=0).fit(ROWS)
    assert len(fitted.history_.passes) > 2
    assert sum("The workers differ" in str(one.message) for one in told) == 1


_PRELOAD = """
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "dask_gmm":
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Missing())
"""


@pytest.mark.long
@pytest.mark.parametrize(
    ("preload", "message"),
    [
        (_PRELOAD, r"dask_gmm is not installed on \d of \d workers, .*Install dask_gmm"),
        ("import dask_gmm; dask_gmm.__version__ = '0.0.9'", r"Workers have dask_gmm 0\.0\.9, this process"),
        (
            "import dask_gmm.engine; sys = __import__('sys'); dask_gmm.__version__ = '0.0.8'\n"
            "sys.modules['dask_gmm.engine.environment'] = None",
            r"Workers have dask_gmm 0\.0\.8, this process",
        ),
    ],
    ids=["missing", "another release", "one without this module"],
)
def test_workers_of_another_release(preload, message, tmp_path):
    (tmp_path / "preload.py").write_text(preload)
    with (
        LocalCluster(
            n_workers=1,
            threads_per_worker=1,
            dashboard_address=None,
            preload=[str(tmp_path / "preload.py")],
        ) as made,
        Client(made),
        pytest.raises(WorkersDifferError, match=message),
    ):
        GaussianMixture(2, random_state=0).fit(ROWS)
